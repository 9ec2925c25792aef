"""What an item must not come back from: changes and deletions at the worst moments of a backfill, and its own death.

In this process, so that the moment can be chosen: between reading a page and inserting it, between the insert and the
second look, at a COMMIT of which nobody knows the outcome, and when another run has taken over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.migrate.backfill.job import Backfill
from proxy.migrate.backfill.plan import BackfillAccess, BackfillPlan
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.rate_limiter import RateLimiter
from proxy.migrate.table_jobs.sources import Portion, Portions, Position, ReferenceFilter, ScanSource, Source
from proxy.migrate.table_jobs.table_reader import TableReader
from proxy.migrate.table_jobs.table_stores import TableStores, open_table_stores
from proxy.settings import load
from proxy.stores.dsql.bulk import Bulk, Slice
from proxy.stores.dsql.system_tables.checkpoints import Superseded
from proxy.stores.errors import UnknownOutcome
from tests import equality
from tests.integration.scenes import CONFIG, billio_rows
from tests.integration.whole_tables import billio_items
from tests.integration.whole_tables import load as put_all
from tests.proxy_process import settings_text
from tests.standins.billio import TABLE, billio_table, dynamodb_client

ITEMS = 80


class Died(BaseException):
    """The process ends here: nothing handles this."""


Happening = Callable[[Sequence[Item]], None]


class Meddled:
    """A source with something happening to its keys after each portion is read, and before each second look."""

    def __init__(self, source: Source, *, read: Happening = lambda _: None, look: Happening = lambda _: None) -> None:
        self._source = source
        self._read = read
        self._look = look

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def total(self) -> int | None:
        return self._source.total

    def parts(self) -> Sequence[str]:
        return self._source.parts()

    async def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        async for portion in self._source.portions(part, after, only):
            self._read([key.attributes for key in portion.items])
            yield portion

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        self._look([key.attributes for key in keys])
        return await self._source.read_current(portion, keys)


class Unsure(Bulk):
    """Loses the connection at COMMIT: after it was carried out, or before."""

    carried_out = True
    left = 2

    async def insert(self, rows: Any, first: Callable[[Any], Awaitable[None]]) -> int:
        if self.left:
            self.left -= 1
            if self.carried_out:
                await super().insert(rows, first)
            raise UnknownOutcome("commit", "the line was cut")
        return await super().insert(rows, first)


@pytest.fixture
def settings_file(dynamodb: str, dsql_database: str, tmp_path: Path) -> Path:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    put_all(dynamodb, billio_items(ITEMS))
    path = tmp_path / "crossfade.toml"
    mappings = [CONFIG / "billio.toml"]
    text = settings_text(
        dynamodb=dynamodb, dsql=dsql_database, journal=tmp_path / "j", stage="dualwrite", mappings=mappings
    )
    path.write_text(text, "utf-8")
    return path


@asynccontextmanager
async def both_of(settings_file: Path) -> AsyncIterator[TableStores]:
    async with open_table_stores(load(settings_file, {}), TABLE) as both:
        yield both


def made(
    both: TableStores,
    meddle: Callable[[Source], Source] = lambda s: s,
    bulk: Bulk | None = None,
    *,
    participant: JobParticipant,
) -> Backfill:
    reader = TableReader(both.dynamodb, both.table.schema, RateLimiter(None))
    source = ScanSource(reader, both.table.schema, total=None, parallel=2, limit=20)
    return Backfill(
        BackfillPlan(schema=both.table.schema, mapping=both.table.mapping, settle_seconds=0.2),
        BackfillAccess(
            source=meddle(source),
            participant=participant,
            bulk=bulk or both.bulk,
            checkpoints=both.checkpoints,
            limiter=RateLimiter(None),
        ),
    )


@asynccontextmanager
async def backfill_of(
    both: TableStores, meddle: Callable[[Source], Source] = lambda s: s, bulk: Bulk | None = None
) -> AsyncIterator[Backfill]:
    """A backfill that may write to the mirror, as the command's: it has read DSQL's record of the authority."""
    async with both.job_participant("backfill", "dynamodb", unrecovered=True).open() as participant:
        yield made(both, meddle, bulk, participant=participant)


class Meddler:
    """An application that changes and deletes items, past every proxy."""

    def __init__(self, endpoint: str) -> None:
        self._client = dynamodb_client(endpoint)

    def __call__(self, keys: Sequence[Item]) -> None:
        for number, key in enumerate(keys[::3]):
            if number % 2:
                self._client.delete_item(TableName=TABLE, Key=key)
            else:
                value = {":t": {"S": "Changed"}}
                self._client.update_item(
                    TableName=TABLE, Key=key, UpdateExpression="SET title = :t", ExpressionAttributeValues=value
                )


@pytest.mark.parametrize("moment", ["read", "look"])
async def test_changed_and_deleted_under_way(moment: str, settings_file: Path, dynamodb: str, database: str) -> None:
    meddler = Meddler(dynamodb)
    async with (
        both_of(settings_file) as both,
        backfill_of(both, lambda source: Meddled(source, **{moment: meddler})) as backfill,
    ):
        await backfill.run(1)
    found = await asyncio.to_thread(_disagreements, dynamodb, database)
    assert found == []


@pytest.mark.parametrize("portion", [1, 2, 3])
async def test_died_between_the_insert_and_the_second_look(
    portion: int, settings_file: Path, dynamodb: str, database: str
) -> None:
    looks: list[Sequence[Item]] = []

    def die(keys: Sequence[Item]) -> None:
        looks.append(keys)
        if len(looks) == portion:
            raise Died

    async with both_of(settings_file) as both:
        with pytest.raises(Died):
            async with backfill_of(both, lambda source: Meddled(source, look=die)) as backfill:
                await backfill.run(1)
        # What was inserted is deleted before anybody looks again: no later page of a Scan shows it.
        assert await both.bulk.counts(Slice(None, None), None) == {"": sum(map(len, looks))}
        await asyncio.to_thread(_delete, dynamodb, looks[-1])
        async with backfill_of(both) as again:
            await again.run(1)
        assert again.resumed
    assert await asyncio.to_thread(_disagreements, dynamodb, database) == []


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_commit_of_which_nobody_knows(
    carried_out: bool, settings_file: Path, dynamodb: str, database: str
) -> None:
    async with both_of(settings_file) as both:
        bulk = Unsure(both.pool, both.table.mapping, schema="public", seconds=10)
        bulk.carried_out = carried_out
        async with backfill_of(both, bulk=bulk) as backfill:
            tally = await backfill.run(1)
        assert tally.seen == ITEMS
        assert tally.inserted + tally.equal == ITEMS
    assert await asyncio.to_thread(_disagreements, dynamodb, database) == []


async def test_who_was_superseded_writes_nothing_more(settings_file: Path, dynamodb: str, database: str) -> None:
    async with both_of(settings_file) as both, backfill_of(both) as first:
        part = "all:0/2"
        claim = await both.checkpoints.claim(first.job, part)
        other = await both.checkpoints.claim(first.job, part)
        items = billio_items(3)
        keys = [both.table.schema.key_of(item) for item in items]
        rows = [both.table.mapping.encode(key, item).values for key, item in zip(keys, items, strict=True)]
        with pytest.raises(Superseded):
            await both.bulk.insert([row for row in rows if row], both.checkpoints.saving(claim, {"a": 1}))
        assert await both.bulk.counts(Slice(None, None), None) == {}
        await both.checkpoints.save(other, {"a": 2})
        with pytest.raises(Superseded):
            await both.checkpoints.save(claim, {"a": 3})
        saved = (await both.checkpoints.parts(first.job, [part]))[part]
        assert saved.state == {"a": 2}


async def test_an_insert_under_way_loses_against_the_claim(settings_file: Path) -> None:
    async with both_of(settings_file) as both:
        claim = await both.checkpoints.claim("job", "part")
        item = billio_items(1)[0]
        row = both.table.mapping.encode(both.table.schema.key_of(item), item).values
        assert row is not None
        took_over: list[Any] = []
        save = both.checkpoints.saving(claim, {"mine": True})

        async def overtaken(connection: Any) -> None:
            if not took_over:
                # Begun, nothing written yet: this transaction's snapshot is from before the claim.
                await connection.fetchval("SELECT count(*) FROM items")
                took_over.append(await both.checkpoints.claim("job", "part"))
            await save(connection)

        with pytest.raises(Superseded):
            await both.bulk.insert([row], overtaken)
        assert await both.bulk.counts(Slice(None, None), None) == {}
        assert took_over[0].saved is None


def _disagreements(endpoint: str, dsn: str) -> list[str]:
    return equality.disagreements(endpoint, dsn, TABLE)


def _delete(endpoint: str, keys: Sequence[Item]) -> None:
    client = dynamodb_client(endpoint)
    for key in keys:
        client.delete_item(TableName=TABLE, Key=key)
