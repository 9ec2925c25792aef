"""The data port as a stranger finds it: TLS, and keys that every real client signs with, for `crossfade serve`."""

import contextlib
import datetime
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import aioboto3
import boto3
import botocore
import pytest
from botocore import auth
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.certificates import Authority
from tests.integration.test_dynamoose import session
from tests.node_clients import dynamoose, sdk_smoke
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, billio_table, dynamodb_client
from tests.standins.dynamodb import REGION, Ministack

KEY, SECRET = "CATALOGUE", "known-to-the-catalogue-only"
OTHER, OTHER_SECRET = "REPORTS", "known-to-the-reports-only"
KEYS = {"CLIENT_KEY": KEY, "CLIENT_SECRET": SECRET}


@dataclass(frozen=True, slots=True)
class Ground:
    """A proxy that wants signatures and shows a certificate; ministack, behind it, wants neither."""

    proxy: ProxyProcess
    authority: Authority
    cert: Path
    key: Path
    direct: str

    def client(self, key: str = KEY, secret: str = SECRET, **more: Any) -> Any:
        more = {"region_name": REGION, "verify": str(self.authority.file), **more}
        config = Config(retries={"total_max_attempts": 1}).merge(more.pop("config", Config()))
        given = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        return boto3.client("dynamodb", endpoint_url=self.proxy.data, config=config, **given, **more)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.proxy.data)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def serial(self) -> str:
        """The number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=self.authority.file)
        with (
            socket.create_connection(self.address, timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as shown,
        ):
            certificate = shown.getpeercert()
            assert certificate is not None
            return str(certificate["serialNumber"])


@pytest.fixture(scope="module")
def ground(ministack: Ministack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("access")
    cert, key, secret = folder / "cert.pem", folder / "key.pem", folder / "reports.secret"
    authority = Authority(folder / "authority")
    authority.issue(cert, key)
    secret.write_text(f"{OTHER_SECRET}\n", encoding="ascii")
    ministack.reset()
    environment = {
        "CROSSFADE_TLS_CERT": str(cert),
        "CROSSFADE_TLS_KEY": str(key),
        "CROSSFADE_AUTH__MODE": "sigv4",
        f"CROSSFADE_AUTH__KEYS__{KEY}__SECRET_ACCESS_KEY": SECRET,
        f"CROSSFADE_AUTH__KEYS__{OTHER}__SECRET_ACCESS_KEY_FILE": str(secret),
    }
    dsql = "postgresql://nobody@127.0.0.1:1/none"  # nothing is mirrored in `off`
    with ProxyProcess(
        dynamodb=ministack.endpoint, dsql=dsql, mappings=[], stage="off", environment=environment
    ) as proxy:
        yield Ground(proxy, authority, cert, key, ministack.endpoint)


@pytest.fixture(autouse=True)
def empty(ground: Ground, ministack: Ministack) -> None:
    ministack.reset()
    billio_table(ground.direct)


ITEM = {"type:id": {"S": "Book:é 日本"}, "title": {"S": "a  b\tc"}, "B": {"B": bytes(range(256))}}


@pytest.mark.parametrize(("key", "secret"), [(KEY, SECRET), (OTHER, OTHER_SECRET)])
def test_boto3(ground: Ground, key: str, secret: str) -> None:
    client = ground.client(key, secret)
    client.put_item(TableName=TABLE, Item=ITEM)
    assert client.get_item(TableName=TABLE, Key={"type:id": ITEM["type:id"]})["Item"] == ITEM
    big = {"type:id": {"S": "big"}, "text": {"S": "x" * 390_000}}
    client.put_item(TableName=TABLE, Item=big)
    assert client.scan(TableName=TABLE)["Count"] == 2
    assert client.describe_table(TableName=TABLE)["Table"]["TableName"] == TABLE
    assert TABLE in client.list_tables()["TableNames"]
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        client.put_item(
            TableName=TABLE,
            Item=ITEM,
            ConditionExpression="attribute_not_exists(#k)",
            ExpressionAttributeNames={"#k": "type:id"},
        )


async def test_aioboto3(ground: Ground) -> None:
    made = aioboto3.Session(KEY, SECRET, region_name=REGION)
    async with made.resource("dynamodb", endpoint_url=ground.proxy.data, verify=str(ground.authority.file)) as resource:
        table = await resource.Table(TABLE)
        await table.put_item(Item={"type:id": "Book:1"})
        assert (await table.get_item(Key={"type:id": "Book:1"}))["Item"] == {"type:id": "Book:1"}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_the_sdks_for_javascript(ground: Ground, ministack: Ministack, version: str) -> None:
    """The same answers as from ministack without the proxy."""
    trusted = {"NODE_EXTRA_CA_CERTS": str(ground.authority.file)}
    answers = sdk_smoke(ground.proxy.data, TABLE, version, trusted | KEYS)
    ministack.reset()
    billio_table(ground.direct)
    assert answers == sdk_smoke(ground.direct, TABLE, version)
    refused = sdk_smoke(ground.proxy.data, TABLE, version, trusted)
    assert {answer.get("error") for _, answer in refused} == {"UnrecognizedClientException"}
    refused = sdk_smoke(ground.proxy.data, TABLE, version, trusted | KEYS | {"CLIENT_SECRET": "guessed"})
    assert {answer.get("error") for _, answer in refused} == {"InvalidSignatureException"}


def test_dynamoose(ground: Ground, ministack: Ministack) -> None:
    environment = {"NODE_EXTRA_CA_CERTS": str(ground.authority.file), **KEYS}
    answers = dynamoose(ground.proxy.data, TABLE, session(), environment)
    ministack.reset()
    billio_table(ground.direct)
    assert answers == dynamoose(ground.direct, TABLE, session())


def refusal(client: Any, table: str = TABLE) -> tuple[str, str]:
    """The code and the message of what boto3 raises."""
    with pytest.raises(ClientError) as caught:
        client.put_item(TableName=table, Item=ITEM)
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error["ResponseMetadata"]["RequestId"]
    return error["Error"]["Code"], error["Error"]["Message"]


def test_strangers_are_refused_and_nothing_is_written(ground: Ground) -> None:
    assert refusal(ground.client(secret="guessed")) == (
        "InvalidSignatureException",
        (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        ),
    )
    assert refusal(ground.client(secret=OTHER_SECRET))[0] == "InvalidSignatureException"
    assert refusal(ground.client("NOBODY")) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
    assert refusal(ground.client(aws_session_token="temporary"))[0] == "UnrecognizedClientException"
    code, said = refusal(ground.client(region_name="eu-west-1"))
    assert (code, "a valid region, not 'eu-west-1'" in said) == ("InvalidSignatureException", True)
    unsigned = ground.client(config=Config(signature_version=botocore.UNSIGNED))
    assert refusal(unsigned) == ("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    for minutes, said in ((-6, "Signature expired"), (6, "Signature not yet current")):
        moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(minutes=minutes)
        with mock.patch.object(auth, "get_current_datetime", return_value=moment):
            code, message = refusal(ground.client())
        assert (code, message.startswith(said)) == ("InvalidSignatureException", True)
    assert dynamodb_client(ground.direct).scan(TableName=TABLE)["Count"] == 0
    samples = ground.proxy.metrics()["crossfade_refused_requests_total"]
    assert {labels["code"] for labels, _ in samples} >= {
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }


def test_a_client_that_does_not_trust_the_authority_asks_nothing(ground: Ground) -> None:
    with pytest.raises(botocore.exceptions.SSLError):
        ground.client(verify=True).list_tables()
    with socket.create_connection(ground.address, timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(100).startswith(b"HTTP")


def test_a_hangup_renews_the_certificate_and_ends_nothing(ground: Ground) -> None:
    client, before = ground.client(), ground.serial()
    client.list_tables()
    ground.authority.issue(ground.cert, ground.key)
    ground.proxy.child.signal(signal.SIGHUP)
    until = time.monotonic() + 120
    while ground.serial() == before:
        assert time.monotonic() < until
        time.sleep(0.05)
    client.list_tables()
    assert ground.client().list_tables()["TableNames"] == [TABLE]
    assert ground.proxy.child.running


def test_no_secret_is_said(ground: Ground) -> None:
    told = ground.proxy.log_file.read_text() + json.dumps(ground.proxy.status())
    for secret in (SECRET, OTHER_SECRET):
        assert secret not in told


@pytest.mark.parametrize("command", ["check", "serve"])
def test_files_that_are_not_there_are_told_before_anything_runs(command: str, tmp_path: Path) -> None:
    (tmp_path / "crossfade.toml").write_text(
        '[auth]\nmode = "sigv4"\n[auth.keys.A]\nsecret_access_key_file = "a"\n'
        '[auth.keys.B]\nsecret_access_key = "said-by-nobody"\n[auth.keys.C]\nsecret_access_key_file = "c"\n'
    )
    (tmp_path / "c").write_text("two words\n")
    crossfade = [str(Path(sys.executable).with_name("crossfade")), command, "--config", "crossfade.toml"]
    ran = subprocess.run(crossfade, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    first, second = ran.stderr.splitlines()
    assert first.startswith(
        'crossfade: auth.keys."A".secret_access_key_file: a: No such file or directory: give a file'
    )
    assert second.startswith('crossfade: auth.keys."C".secret_access_key_file: c: put the secret there')
    assert "said-by-nobody" not in ran.stdout + ran.stderr
