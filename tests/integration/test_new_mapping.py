"""A new mapping, by the procedure of docs/operating.md: three proxies, one after another, while clients are served."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.integration.scenes import CONFIG, SETTLE_SECONDS, billio_rows, insist, run_sql, swept, wait_until
from tests.integration.test_stage_moves import EASY, STAGES
from tests.integration.test_stages import BOOKS, item
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, billio_table, dynamodb_client
from tests.standins.processes import StandinError

PAGE = (CONFIG.parent / "docs" / "operating.md").read_text("utf-8")
OLD = (CONFIG / "billio.toml").read_text("utf-8")
NEW = OLD.replace('notes = { type = "text" }\n', 'notes = { type = "text" }\nauthor = { type = "text" }\n')
QUICK = {f"CROSSFADE_{store}__SETTLE_SECONDS": str(SETTLE_SECONDS) for store in ("DYNAMODB", "DSQL")}
AUTHOR = {"author": {"S": "Ursula K. Le Guin"}}


class Three:
    """Three proxies, each with a mapping file of its own."""

    def __init__(self, folder: Path, dynamodb: str, dsql: str) -> None:
        self.files = [folder / f"mapping{n}.toml" for n in range(3)]
        for file in self.files:
            file.write_text(OLD)
        self.proxies = [
            ProxyProcess(
                dynamodb=dynamodb, dsql=dsql, mappings=[file], environment=QUICK, extra=STAGES.format(4.0) + EASY
            )
            for file in self.files
        ]

    def restart(self, n: int, mapping: str, *, ready: bool = True) -> ProxyProcess:
        self.files[n].write_text(mapping)
        self.proxies[n].restart(ready=ready)
        return self.proxies[n]

    def run(self, *words: str, code: int = 0) -> str:
        """A command of the page's, with the settings of the proxy that was restarted last."""
        asked = " ".join(("crossfade", *words)).replace(TABLE, "TABLE")
        assert asked.split(" --force")[0] in PAGE, f"{asked} is not in docs/operating.md"
        ran = insist(lambda: self.proxies[-1].run(*words), lambda ran: ran.returncode == code)
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran.stdout + ran.stderr

    def serve(self) -> None:
        """Clients are served by those that are ready, and their writes arrive."""
        for proxy in filter(ProxyProcess.ready, self.proxies):
            client = dynamodb_client(proxy.data, attempts=10)
            client.put_item(TableName=TABLE, Item=item(BOOKS[0]) | AUTHOR)
            assert client.get_item(TableName=TABLE, Key=BOOKS[0], ConsistentRead=True)["Item"]["author"]


@pytest.fixture
def three(tmp_path: Path, dynamodb: str, dsql_database: str) -> Iterator[Three]:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    swept(dsql_database)
    made = Three(tmp_path, dynamodb, dsql_database)
    with contextlib.ExitStack() as stack:
        for proxy in made.proxies:
            stack.enter_context(proxy)
        yield made


def readiness(proxy: ProxyProcess) -> str:
    try:
        return proxy._get("/readyz")
    except StandinError as error:
        return str(error)


def notices_of(proxy: ProxyProcess) -> list[str]:
    return list(json.loads(readiness(proxy)).get("notices", []))


def in_force(proxy: ProxyProcess) -> str:
    (scope,) = proxy.status()["authority"]["scopes"]
    return str(scope["mapping"])


def test_a_new_mapping_is_rolled_out(three: Three, database: str) -> None:
    client = dynamodb_client(three.proxies[0].data, attempts=10)
    for key in BOOKS:
        client.put_item(TableName=TABLE, Item=item(key) | AUTHOR)
    for proxy in three.proxies:
        proxy.settle()
    three.run("stage", TABLE, "live", "--force", "--because", "a test")
    wait_until(lambda: bool(in_force(three.proxies[0])), 60, "the flip to be recorded")
    old = in_force(three.proxies[0])

    # In `live` a rolling deployment stops at its first proxy.
    odd = three.restart(0, NEW, ready=False)
    said = insist(lambda: readiness(odd), lambda said: "in force" in said, 60)
    assert f"{old[:12]} in force" in said
    assert "answered 503" in said
    with pytest.raises(ClientError) as caught:
        dynamodb_client(odd.data).get_item(TableName=TABLE, Key=BOOKS[0])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert '"A new mapping"' in caught.value.response["Error"]["Message"]
    assert three.proxies[1].ready()
    three.serve()

    three.run("stage", TABLE, "shadow", "--force", "--because", "a new mapping")
    asyncio.run(run_sql(database, "ALTER TABLE items ADD COLUMN author text"))
    wait_until(odd.ready, 60, "the first, which is odd no more than any")
    for n in (0, 1):
        three.restart(n, NEW)
        notices = insist(partial(notices_of, three.proxies[n]), bool, 60)
        assert f"{old[:12]} in force" in " ".join(notices), "the odd one says so, and is ready"
        assert not notices_of(three.proxies[2]), "and no other"
        assert "mapping" in three.proxies[2].run("stage", TABLE).stdout
        three.serve()
    three.restart(2, NEW)
    wait_until(lambda: len({in_force(proxy) for proxy in three.proxies} - {old}) == 1, 60, "the new one in force")
    new = in_force(three.proxies[0])
    assert all(in_force(proxy) == new for proxy in three.proxies)
    for proxy in three.proxies:
        assert not proxy.status()["authority"]["notices"]
        proxy.settle()

    assert "all were repaired" in three.run("verify", "--table", TABLE, "--repair")
    assert "The two stores are equal" in three.run("verify", "--table", TABLE)
    rows = asyncio.run(run_sql(database, "SELECT author FROM items"))
    assert [row["author"] for row in rows] == [AUTHOR["author"]["S"]] * len(BOOKS)
    three.serve()
    three.run("stage", TABLE, "live", "--force", "--because", "a test")
    three.serve()
    wait_until(lambda: in_force(three.proxies[1]) == new, 60, "the flip to be recorded")
