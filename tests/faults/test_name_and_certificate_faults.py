"""A store that cannot be found, or cannot prove who it is: nothing is sent to it, and clients hear of it in time."""

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.fault_proxy import FaultProxy
from tests.faults.under_fault import DECIDED, codes, mirror_failures, own_faults, recovered, story, tell
from tests.integration.scenes import Scene, scene, wait_until
from tests.standins.billio import billio_table
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

UNAVAILABLE = {"ServiceUnavailableException"}
ENVIRONMENT = {
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": "1",
    "CROSSFADE_MIRROR__ALONE": "true",
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": "1",
    "CROSSFADE_MIRROR__BREAKER__RESET_SECONDS": "0.3",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What only itself vouches for: its file, and the server's side of it."""

    file: Path
    context: ssl.SSLContext


def certificate(folder: Path, name: str) -> Certificate:
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"), "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return Certificate(folder / "certificate.pem", context)


@dataclass(frozen=True, slots=True)
class Ground:
    """The proxy with TLS to both stores; `good` is what it trusts."""

    here: Scene
    before_dynamodb: FaultProxy
    before_dsql: FaultProxy
    good: Certificate
    bad: dict[str, ssl.SSLContext | None]


@pytest.fixture(scope="module")
def ground(ministack_of_its_own: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("certificates")
    good = certificate(folder / "good", "localhost")
    trusted = folder / "trusted.pem"  # the second one is trusted too, but it is of another name
    other = certificate(folder / "other", "elsewhere.example")
    trusted.write_bytes(good.file.read_bytes() + other.file.read_bytes())
    bad = {
        "nobody vouches": certificate(folder / "stranger", "localhost").context,
        "another name": other.context,
        "no TLS": None,
    }
    port = int(ministack_of_its_own.rpartition(":")[2])
    rows = postgres.create_database()
    database = rows.rpartition("/")[2]
    with (
        FaultProxy(port, tls=good.context) as before_dynamodb,
        FaultProxy(postgres.port, tls=good.context, sql=True) as before_dsql,
    ):
        dsn = f"postgresql://postgres@localhost:{before_dsql.port}/{database}?sslmode=verify-full&sslrootcert={trusted}"
        endpoint = f"https://localhost:{before_dynamodb.port}"
        environment = ENVIRONMENT | {"AWS_CA_BUNDLE": str(trusted)}
        with scene(endpoint, dsn, rows=rows, environment=environment) as through:
            here = Scene(through.proxy, ministack_of_its_own, rows)
            assert codes(tell(here.client(), story(1, 10), at_once=4)).keys() <= DECIDED
            recovered(here)
            yield Ground(here, before_dynamodb, before_dsql, good, bad)
    postgres.drop_database(rows)


@pytest.fixture(scope="module")
def ministack_of_its_own() -> Iterator[str]:
    with Ministack() as ministack:
        billio_table(ministack.endpoint)
        yield ministack.endpoint


def test_dynamodb_s_certificate_does_not_hold(ground: Ground) -> None:
    for seed, (name, shown) in enumerate(ground.bad.items(), 100):
        print(f"seed {seed}")
        ground.before_dynamodb.show(shown)
        answers = tell(ground.here.client(), story(seed, 10), at_once=8)
        assert codes(answers).keys() == UNAVAILABLE, name
        assert not ground.here.proxy.ready()
    ground.before_dynamodb.show(ground.good.context)
    wait_until(ground.here.proxy.ready, 120, "DynamoDB to be reached again")
    assert codes(tell(ground.here.client(), story(110, 10), at_once=4)).keys() <= DECIDED
    recovered(ground.here)
    assert own_faults(ground.here) == []


def test_dsql_s_certificate_does_not_hold(ground: Ground) -> None:
    for seed, (name, shown) in enumerate(ground.bad.items(), 200):
        print(f"seed {seed}")
        before = mirror_failures(ground.here)
        ground.before_dsql.show(shown)
        answers = tell(ground.here.client(), story(seed, 10), at_once=8)
        assert codes(answers).keys() <= DECIDED, name
        wait_until(lambda n=before: mirror_failures(ground.here) > n, 120, "the proxy to notice")  # type: ignore[misc]
        assert ground.here.proxy.status()["journal"]["keys"] > 0
    ground.before_dsql.show(ground.good.context)
    recovered(ground.here)
    assert own_faults(ground.here) == []


NOWHERE = "nowhere.invalid"  # RFC 6761: no resolver knows it


def test_names_that_lead_nowhere(dynamodb: str, database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, database, environment=ENVIRONMENT) as here:
        here.proxy.restart({"CROSSFADE_DSQL__DSN": f"postgresql://postgres@{NOWHERE}:5432/postgres"})
        answers = tell(here.client(), story(300, 10), at_once=8)
        assert codes(answers).keys() <= DECIDED
        wait_until(lambda: mirror_failures(here) > 0, 120, "the proxy to notice")
        assert own_faults(here) == []
        here.proxy.restart({"CROSSFADE_DYNAMODB__ENDPOINT_URL": f"http://{NOWHERE}:8000"}, ready=False)
        answers = tell(here.client(), story(301, 10), at_once=8)
        assert codes(answers).keys() == UNAVAILABLE
        assert not here.proxy.ready()
        assert own_faults(here) == []
        here.proxy.restart({"CROSSFADE_DYNAMODB__ENDPOINT_URL": dynamodb, "CROSSFADE_DSQL__DSN": database})
        recovered(here)
