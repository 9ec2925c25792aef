"""Time to live past the flip: DSQL's items expire, and what DynamoDB expires by itself is no mismatch before it."""

import functools
import time
from typing import Any

import pytest

from tests.integration.scenes import scene, wait_until
from tests.integration.test_without_dynamodb import known
from tests.standins.billio import dynamodb_client
from tests.standins.processes import free_port

ATTRIBUTE = {"Enabled": True, "AttributeName": "expires"}
QUICK = {"CROSSFADE_FOLLOW_TABLES": "true", "CROSSFADE_EXPIRY__EVERY_SECONDS": "0.2"}
DAY = 86_400


def make(endpoint: str) -> Any:
    client = dynamodb_client(endpoint)
    client.create_table(
        TableName="sessions",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    return client


def sessions() -> list[dict[str, Any]]:
    """Four of them have expired: by a whole number, by another, just within five years, and of a longer page."""
    now = int(time.time())
    expiries: dict[str, Any] = {
        "gone": {"N": str(now - 10)},
        "gone-by-half": {"N": f"{now - 10}.5"},
        "gone-long-ago": {"N": str(now - 4 * 365 * DAY)},
        "gone-too-long-ago": {"N": str(now - 6 * 365 * DAY)},
        "text": {"S": str(now - 10)},
        "later": {"N": str(now + DAY)},
    }
    return [{"id": {"S": name}, "expires": value} for name, value in expiries.items()] + [{"id": {"S": "never"}}]


STAYS = ["gone-too-long-ago", "later", "never", "text"]


def ids(client: Any) -> list[str]:
    return sorted(item["id"]["S"] for item in client.scan(TableName="sessions", ConsistentRead=True)["Items"])


@pytest.mark.parametrize("stage", ["live", "rampdown"])
def test_items_expire_in_both_stores_past_the_flip(
    stage: str, dynamodb: str, database: str, dsql_database: str
) -> None:
    """By two processes, of which one does it."""
    make(dynamodb)
    with (
        scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=QUICK) as here,
        scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=QUICK),
    ):
        client = here.client(attempts=10)
        for item in sessions():
            client.put_item(TableName="sessions", Item=item)
        here.proxy.settle()
        assert len(ids(client)) == 7  # its time to live is not yet set
        client.update_time_to_live(TableName="sessions", TimeToLiveSpecification=ATTRIBUTE)
        wait_until(lambda: ids(client) == STAYS, 120, "what has expired to be deleted")
        here.proxy.settle()
        wait_until(lambda: ids(here.direct()) == STAYS, 120, "DynamoDB to follow")
        assert here.verdicts().get("mismatch", 0) == 0


def test_items_expire_when_dynamodb_is_gone(dynamodb: str, database: str, dsql_database: str) -> None:
    make(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", billio=False, environment=QUICK) as before:
        client = before.client(attempts=10)
        client.update_time_to_live(TableName="sessions", TimeToLiveSpecification=ATTRIBUTE)
        for item in sessions():
            client.put_item(TableName="sessions", Item=item)
        before.proxy.settle()
        known(before, "SELECT 1 FROM crossfade_table_properties WHERE document LIKE '%expires%'", 1)
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=QUICK) as alone:
        client = alone.client(attempts=10)
        wait_until(lambda: ids(client) == STAYS, 120, "what has expired to be deleted")
        off = {"Enabled": False, "AttributeName": "expires"}
        client.update_time_to_live(TableName="sessions", TimeToLiveSpecification=off)
        assert client.describe_time_to_live(TableName="sessions")["TimeToLiveDescription"] == {
            "TimeToLiveStatus": "DISABLED"
        }


def test_what_dynamodb_expires_in_shadow_is_no_mismatch_and_goes_from_dsql(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    make(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", billio=False, environment=QUICK) as here:
        client = here.client(attempts=10)
        client.update_time_to_live(TableName="sessions", TimeToLiveSpecification=ATTRIBUTE)
        expired = {"N": str(int(time.time()) - 10)}
        more = [{"id": {"S": f"gone-{n}"}, "expires": expired} for n in range(60)]
        for item in [*sessions(), *more]:
            client.put_item(TableName="sessions", Item=item)
        here.proxy.settle()
        known(here, "SELECT 1 FROM crossfade_table_properties WHERE document LIKE '%expires%'", 1)
        untouched = iter(more)

        def expected() -> bool:
            name = next(untouched)["id"]["S"]
            here.direct().delete_item(TableName="sessions", Key={"id": {"S": name}})
            get = functools.partial(client.get_item, TableName="sessions", Key={"id": {"S": name}})
            return here.compared("GetItem", get) == {"expected": 1}

        # DynamoDB deletes them past the proxy, which reads the record five times a second here.
        wait_until(expected, 120, "the proxy to know the time to live")
        for name in ("gone", "gone-by-half", "gone-long-ago"):
            here.direct().delete_item(TableName="sessions", Key={"id": {"S": name}})
        get = functools.partial(client.get_item, TableName="sessions", Key={"id": {"S": "gone"}})
        assert here.compared("GetItem", get) == {"expected": 1}
        found = here.compared("Scan", lambda: client.scan(TableName="sessions"))
        assert set(found) <= {"expected", "agreed"}, found
        here.proxy.settle()
        here.assert_equal("sessions")
        # An item that has not expired and is missing is one.
        here.direct().delete_item(TableName="sessions", Key={"id": {"S": "later"}})
        found = here.compared("GetItem", lambda: client.get_item(TableName="sessions", Key={"id": {"S": "later"}}))
        assert found == {"mismatch": 1}
