"""boto3, as it is, against the proxy in front of a real stand-in: it gets what it gets when it asks directly."""

import asyncio
import hashlib
import http.client
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import boto3
import orjson
import pytest
import structlog
import uvloop
from botocore.config import Config
from botocore.exceptions import ClientError

from proxy.app.serve import serve
from proxy.app.service import Service
from proxy.cutover.compose import compose_cutover
from proxy.metrics.registry import Metrics
from proxy.settings import Address, Settings, load
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from tests.standins.dynamodb import Ministack
from tests.unit.plain_layer import PlainLayer, PlainProcess

TABLE = "things"
ONE = {":i": {"S": "one"}}


class Proxy:
    """A proxy in a thread of its own, with a layer that passes everything through."""

    def __init__(self, endpoint: str, folder: Path, **variables: str) -> None:
        config = folder / "crossfade.toml"
        config.write_text("")
        environ = {
            "CROSSFADE_LISTEN": "127.0.0.1:0",
            "CROSSFADE_ADMIN__LISTEN": "127.0.0.1:0",
            "CROSSFADE_DYNAMODB__ENDPOINT_URL": endpoint,
            "CROSSFADE_DYNAMODB__REGION": "us-east-1",
            "CROSSFADE_DYNAMODB__ACCESS_KEY_ID": "proxy",
            "CROSSFADE_DYNAMODB__SECRET_ACCESS_KEY": "proxy",
            **variables,
        }
        self.settings = load(config, environ)
        self.process = PlainProcess()
        self.data: Address | None = None
        self.admin: Address | None = None
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @asynccontextmanager
    async def open_service(
        self,
        settings: Settings,
        metrics: Metrics,
        upstream: DynamoDBClient,
    ) -> AsyncIterator[Service]:
        dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
        yield Service(
            layer=PlainLayer(upstream, settings.dynamodb.timeout_seconds),
            status=self.process,
            cutover=compose_cutover(settings, dynamodb, {}, self.process),
            process=self.process,
        )

    def start(self) -> "Proxy":
        self._thread.start()
        assert self._listening.wait(120)
        if self._fault is not None:
            raise self._fault
        return self

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            await serve(
                self.settings, self.open_service, structlog.get_logger(), stop=self._stop, announce=self._announce
            )

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001  # told to the test, in its own thread
            self._fault = error
            self._listening.set()

    def _announce(self, data: Address, admin: Address, _: Address | None) -> None:
        self.data, self.admin = data, admin
        self._listening.set()

    @property
    def endpoint(self) -> str:
        return f"http://{self.data}"


@pytest.fixture(scope="module")
def store() -> Iterator[Ministack]:
    with Ministack() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(store: Ministack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    running = Proxy(store.endpoint, tmp_path_factory.mktemp("proxy")).start()
    yield running
    running.stop()
    assert running.process.closed


def client(endpoint: str, service: str = "dynamodb") -> Any:
    # The legacy retry mode is the one that checks x-amz-crc32 against the body.
    config = Config(retries={"max_attempts": 0, "mode": "legacy"}, connect_timeout=60, read_timeout=60)
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="client",
        aws_secret_access_key="client",
        config=config,
    )


@pytest.fixture
def direct(store: Ministack) -> Any:
    store.reset()
    return client(store.endpoint)


@pytest.fixture
def through(proxy: Proxy, direct: Any) -> Any:
    return client(proxy.endpoint)


def make_table(dynamodb: Any, name: str = TABLE) -> None:
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )


def item(number: int) -> dict[str, Any]:
    return {"id": {"S": "one"}, "at": {"N": str(number)}, "blob": {"B": bytes(range(64))}, "t": {"S": "é☃" * number}}


def raw(
    endpoint: str, action: str, document: Any, service: str = "DynamoDB_20120810"
) -> tuple[int, dict[str, str], bytes]:
    """One request as bytes, and the answer's, without the headers that differ from one answer to the next."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
    headers = {
        "X-Amz-Target": f"{service}.{action}",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=client/20260101/us-east-1/dynamodb/aws4_request",
    }
    connection.request("POST", "/", orjson.dumps(document), headers)
    answer = connection.getresponse()
    body = answer.read()
    own = {"date", "x-amzn-requestid", "x-amz-request-id", "x-amz-id-2", "connection", "keep-alive"}
    kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in own}
    connection.close()
    return answer.status, kept, body


def test_control_plane(through: Any, direct: Any) -> None:
    make_table(through)
    assert through.list_tables()["TableNames"] == [TABLE]
    described = through.describe_table(TableName=TABLE)["Table"]
    assert described == direct.describe_table(TableName=TABLE)["Table"]
    through.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    ttl = direct.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "expires"
    through.tag_resource(ResourceArn=described["TableArn"], Tags=[{"Key": "a", "Value": "b"}])
    assert through.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    through.delete_table(TableName=TABLE)
    assert direct.list_tables()["TableNames"] == []


def test_data_plane(through: Any, direct: Any) -> None:
    make_table(direct)
    for number in range(1, 6):
        through.put_item(TableName=TABLE, Item=item(number))
    key = {"id": {"S": "one"}, "at": {"N": "3"}}
    assert through.get_item(TableName=TABLE, Key=key)["Item"] == direct.get_item(TableName=TABLE, Key=key)["Item"]
    through.update_item(
        TableName=TABLE,
        Key=key,
        UpdateExpression="SET n = :n ADD sum_of :n",
        ExpressionAttributeValues={":n": {"N": "2"}},
    )
    page = through.query(
        TableName=TABLE, Limit=2, KeyConditionExpression="id = :i", ExpressionAttributeValues={":i": {"S": "one"}}
    )
    assert len(page["Items"]) == 2
    rest = through.query(
        TableName=TABLE,
        ExclusiveStartKey=page["LastEvaluatedKey"],
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": {"S": "one"}},
    )
    scanned = direct.scan(TableName=TABLE)["Items"]
    assert page["Items"] + rest["Items"] == scanned
    through.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": item(9)}}, {"DeleteRequest": {"Key": key}}]})
    got = through.batch_get_item(RequestItems={TABLE: {"Keys": [key, {"id": {"S": "one"}, "at": {"N": "9"}}]}})
    assert [found["at"] for found in got["Responses"][TABLE]] == [{"N": "9"}]
    through.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": item(7)}}])
    taken = through.transact_get_items(
        TransactItems=[{"Get": {"TableName": TABLE, "Key": {"id": {"S": "one"}, "at": {"N": "7"}}}}]
    )
    assert taken["Responses"][0]["Item"] == item(7)
    through.delete_item(TableName=TABLE, Key={"id": {"S": "one"}, "at": {"N": "7"}})
    assert through.scan(TableName=TABLE)["Count"] == direct.scan(TableName=TABLE)["Count"] == 5


def test_errors_are_the_authority_s(through: Any, direct: Any) -> None:
    make_table(direct)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_item", {"TableName": "absent", "Key": {"id": {"S": "x"}}}),
        ("get_item", {"TableName": TABLE, "Key": {"wrong": {"S": "x"}}}),
        ("put_item", {"TableName": TABLE, "Item": item(1), "ConditionExpression": "attribute_exists(id)"}),
        ("query", {"TableName": TABLE, "KeyConditionExpression": "nonsense ="}),
        ("describe_table", {"TableName": "absent"}),
    ]
    for name, arguments in calls:
        errors = []
        for each in (through, direct):
            with pytest.raises(ClientError) as caught:
                getattr(each, name)(**arguments)
            response = caught.value.response
            errors.append((response["Error"], response["ResponseMetadata"]["HTTPStatusCode"]))
        assert errors[0] == errors[1]


def test_partiql(through: Any, direct: Any) -> None:
    make_table(direct)
    through.execute_statement(Statement=f"INSERT INTO \"{TABLE}\" VALUE {{'id': 'p', 'at': 1}}")
    found = through.execute_statement(Statement=f"SELECT * FROM \"{TABLE}\" WHERE id = 'p'")["Items"]
    assert found == [{"id": {"S": "p"}, "at": {"N": "1"}}]


def test_streams(through: Any, direct: Any, proxy: Proxy) -> None:
    make_table(direct)
    through.put_item(TableName=TABLE, Item=item(1))
    streams = client(proxy.endpoint, "dynamodbstreams")
    (stream,) = streams.list_streams(TableName=TABLE)["Streams"]
    shards = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    records = []
    for shard in shards:
        iterator = streams.get_shard_iterator(
            StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records += streams.get_records(ShardIterator=iterator)["Records"]
    assert [record["eventName"] for record in records] == ["INSERT"]


@pytest.mark.parametrize(
    ("action", "document"),
    [
        ("GetItem", {"TableName": TABLE, "Key": {"id": {"S": "one"}, "at": {"N": "2"}}}),
        ("Query", {"TableName": TABLE, "KeyConditionExpression": "id=:i", "ExpressionAttributeValues": ONE}),
        ("Scan", {"TableName": TABLE, "Limit": 2, "ReturnConsumedCapacity": "TOTAL"}),
        ("GetItem", {"TableName": "absent", "Key": {}}),
        ("DescribeTable", {"TableName": TABLE}),
        ("MadeUpOperation", {}),
    ],
)  # fmt: skip
def test_byte_for_byte(action: str, document: Any, through: Any, direct: Any, proxy: Proxy, store: Ministack) -> None:
    make_table(direct)
    for number in range(1, 5):
        direct.put_item(TableName=TABLE, Item=item(number))
    there, here = raw(store.endpoint, action, document), raw(proxy.endpoint, action, document)
    assert here == there
    if "x-amz-crc32" in here[1]:
        assert here[1]["x-amz-crc32"] == str(crc32(here[2]))


def test_what_names_no_operation_is_answered_as_by_dynamodb(proxy: Proxy, store: Ministack) -> None:
    answers = []
    for endpoint in (store.endpoint, proxy.endpoint):
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
        connection.request("GET", "/nowhere")
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
        connection.close()
    assert answers[0] == answers[1]


def test_large_items_and_pages(through: Any, direct: Any) -> None:
    make_table(direct)
    for number in range(1, 9):
        through.put_item(
            TableName=TABLE, Item={"id": {"S": "big"}, "at": {"N": str(number)}, "b": {"B": bytes([number]) * 300_000}}
        )
    keys = [{"id": {"S": "big"}, "at": {"N": str(number)}} for number in range(1, 9)]
    found = through.batch_get_item(RequestItems={TABLE: {"Keys": keys}})["Responses"][TABLE]
    assert {hashlib.sha256(each["b"]["B"]).digest() for each in found} == {
        hashlib.sha256(bytes([number]) * 300_000).digest() for number in range(1, 9)
    }


def test_many_clients_at_once(through: Any, direct: Any, proxy: Proxy) -> None:
    make_table(direct)

    def work(worker: int) -> None:
        mine = client(proxy.endpoint)
        for number in range(20):
            name = {"id": {"S": f"w{worker}"}, "at": {"N": str(number)}}
            mine.put_item(TableName=TABLE, Item=name | {"v": {"S": f"{worker}-{number}"}})
            assert mine.get_item(TableName=TABLE, Key=name)["Item"]["v"] == {"S": f"{worker}-{number}"}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert direct.scan(TableName=TABLE, Select="COUNT")["Count"] == 160


def test_the_admin_port_tells_of_it(through: Any, proxy: Proxy) -> None:
    through.list_tables()
    with pytest.raises(ClientError):
        through.get_item(TableName="absent", Key={"id": {"S": "x"}})
    connection = http.client.HTTPConnection(str(proxy.admin), timeout=60)
    connection.request("GET", "/readyz")
    assert orjson.loads(connection.getresponse().read()) == {"ready": True, "reasons": []}
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert 'crossfade_passed_through_total{operation="ListTables"}' in text
    assert 'crossfade_proxy_seconds_bucket{le="+Inf",operation="GetItem",status="400"}' in text


def test_a_store_that_stops_and_comes_back(tmp_path: Path) -> None:
    with Ministack() as store:
        proxy = Proxy(store.endpoint, tmp_path).start()
        try:
            dynamodb = client(proxy.endpoint)
            make_table(dynamodb)
            store.kill()
            for _ in range(3):
                with pytest.raises(ClientError) as caught:
                    dynamodb.list_tables()
                assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in {500, 503}
            store.restart()
            assert dynamodb.list_tables()["TableNames"] == []
        finally:
            proxy.stop()


def test_a_taken_address_is_an_error(proxy: Proxy, store: Ministack, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Proxy(store.endpoint, tmp_path, CROSSFADE_LISTEN=str(proxy.data)).start()
