"""The stage table on a DynamoDB that others write too: made once, written on conditions, read as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from proxy.cutover.stage_table import LeaseItem, StageRow, StageTable
from proxy.dynamodb.outcome import Outcome
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, UnknownOutcome, Unreachable
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

LEASE = LeaseItem(
    "p1", "life-1", 1, 10.0, 3, "f1", "ready", True, "dynamodb", {"keys": 3}, "host", 12, 1_800_000_000.25
)


@asynccontextmanager
async def table_at(endpoint: str, name: str = "stages") -> AsyncIterator[StageTable]:
    upstream = DynamoDBClient(
        endpoint, region=REGION, credentials=Credentials(Credential(ACCESS_KEY, SECRET_KEY, None))
    )
    try:
        yield StageTable(DynamoDBStore(upstream, 60.0), name)
    finally:
        await upstream.close()


async def test_it_is_made_once_however_many_make_it(dynamodb: str) -> None:
    async with table_at(dynamodb) as first, table_at(dynamodb) as second:
        await asyncio.gather(*(each.ensure() for each in (first, second, first, second)))
        await first.ensure()
        assert await first.state() == StageRow()


async def test_of_two_writes_of_one_version_one_is_written(dynamodb: str) -> None:
    async with table_at(dynamodb) as table:
        await table.ensure()
        new = StageRow(1, 0, {"epoch": 0, "placed": {}}, {"id": "a"})
        assert sorted(await asyncio.gather(table.write_state(new), table.write_state(new))) == [False, True]
        assert await table.state() == new
        assert not await table.write_state(replace(new, version=3))
        after = replace(new, version=2, epoch=1, flip=None)
        assert await table.write_state(after)
        assert not await table.write_state(after)
        assert await table.state() == after


async def test_the_history_is_written_with_the_state_or_not_at_all(dynamodb: str) -> None:
    async with table_at(dynamodb) as table:
        await table.ensure()
        for version in (1, 2, 3):
            entry = {"id": f"f{version}", "at": 1_800_000_000 + version}
            assert await table.write_state(StageRow(version, version), entry=entry)
        assert not await table.write_state(StageRow(3, 9), entry={"id": "late", "at": 1_900_000_000})
        assert [entry["id"] for entry in await table.history(10)] == ["f3", "f2", "f1"]
        assert [entry["id"] for entry in await table.history(2)] == ["f3", "f2"]
        assert (await table.state()).epoch == 3


async def test_a_process_is_forgotten_with_the_state_that_remembers_it_or_not_at_all(dynamodb: str) -> None:
    async with table_at(dynamodb) as table:
        await table.ensure()
        assert await table.put_lease(LEASE, None)
        await table.put_evidence("p1", {"seen": 1})
        told = {"id": "note", "at": 1_800_000_009}
        assert not await table.forget(replace(LEASE, renewals=LEASE.renewals + 1), StageRow(1, 0), told)
        assert not await table.forget(LEASE, StageRow(2, 0), told)
        assert (await table.leases(), await table.state(), await table.history(9)) == ([LEASE], StageRow(), [])
        assert await table.forget(LEASE, StageRow(1, 0), told)
        assert (await table.leases(), await table.evidence()) == ([], {})
        assert (await table.state(), await table.history(9)) == (StageRow(1, 0), [told])


async def test_a_lease_that_lands_late_undoes_nothing(dynamodb: str) -> None:
    async with table_at(dynamodb) as table:
        await table.ensure()
        assert await table.lease("p1") is None
        assert await table.put_lease(LEASE, None)
        assert not await table.put_lease(LEASE, None)
        assert await table.lease("p1") == LEASE
        newer = replace(LEASE, renewals=3, owes=False)
        assert await table.put_lease(newer, "life-1")
        assert not await table.put_lease(replace(LEASE, renewals=2), "life-1")
        again = replace(LEASE, incarnation="life-2", renewals=4)
        assert await table.put_lease(again, "life-1")
        assert not await table.put_lease(replace(newer, renewals=9), "life-1")
        assert not await table.delete_lease(newer)
        assert await table.leases() == [again]
        assert await table.delete_lease(again)
        assert await table.delete_lease(again)
        assert await table.leases() == []


async def test_all_leases_are_read_and_the_evidence_goes_with_its_process(dynamodb: str) -> None:
    async with table_at(dynamodb) as table:
        await table.ensure()
        leases = [replace(LEASE, process=f"p{n}", note={"text": "x" * 30_000}) for n in range(40)]  # over 1 MB: pages
        for lease in leases:
            assert await table.put_lease(lease, None)
        assert sorted(await table.leases(), key=lambda lease: int(lease.process[1:])) == leases
        await table.put_evidence("p0", {"a": 1})
        await table.put_evidence("p1", {"b": 2})
        await table.put_evidence("p1", {"b": 3})
        assert await table.evidence() == {"p0": {"a": 1}, "p1": {"b": 3}}
        assert await table.delete_lease(leases[0])
        assert await table.evidence() == {"p1": {"b": 3}}


async def test_a_table_that_is_not_there_is_told(dynamodb: str) -> None:
    async with table_at(dynamodb, "nowhere") as table:
        with pytest.raises(Refused, match="stage table nowhere"):
            await table.state()


class Answering:
    """A DynamoDB that answers one thing."""

    def __init__(self, status: int, code: str, reasons: list[str] | None = None) -> None:
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "because"}
        self._outcome = Outcome.of(document | {"CancellationReasons": [{"Code": r} for r in reasons or ()]}, status)

    async def call(self, action: str, body: bytes) -> Outcome:
        return self._outcome


async def test_what_is_not_allowed_says_what_to_allow() -> None:
    table = StageTable(Answering(400, "AccessDeniedException"), "stages")
    for asked in (table.ensure, table.state, table.leases, lambda: table.put_lease(LEASE, None)):
        with pytest.raises(Refused, match=r"because: allow .*GetItem.* on table stages, or set its name in \[stages\]"):
            await asked()


async def test_who_may_not_make_the_table_is_told_how_it_must_be_made() -> None:
    class Denied(Answering):
        async def call(self, action: str, body: bytes) -> Outcome:
            if action == "DescribeTable":
                return Outcome.of({"__type": "ResourceNotFoundException"}, 400)
            return await super().call(action, body)

    with pytest.raises(Refused, match=r"CreateTable on .* beforehand, with partition key scope and sort key name"):
        await StageTable(Denied(400, "AccessDeniedException"), "stages").ensure()


async def test_what_may_have_happened_is_not_called_undone() -> None:
    with pytest.raises(UnknownOutcome):
        await StageTable(Answering(500, "InternalServerError"), "stages").write_state(StageRow(1))
    with pytest.raises(Unreachable):
        await StageTable(Answering(400, "ThrottlingException"), "stages").write_state(StageRow(1))
    conflict = Answering(400, "TransactionCanceledException", ["TransactionConflict", "None"])
    with pytest.raises(Unreachable):
        await StageTable(conflict, "stages").write_state(StageRow(1), entry={"id": "x", "at": 1.0})
    failed = Answering(400, "TransactionCanceledException", ["ConditionalCheckFailed", "None"])
    assert not await StageTable(failed, "stages").write_state(StageRow(1), entry={"id": "x", "at": 1.0})
