"""The cutover over a stage table as proxies would have left it: who counts for the gate, and who does not."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cutover.compose import types_of
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence import SEEN, AccessPattern, CountKey, Evidence, LastSweep, span_of
from proxy.cutover.gate.evidence_publisher import EvidencePublisher, fingerprint
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import LeaseItem, StageTable
from proxy.cutover.stages import Scope, Stage
from proxy.mapping.load import load
from proxy.problems import Problem
from proxy.settings import DSQL, Settings, StagesSettings, TableSettings, TypeSettings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.dynamodb.store import DynamoDBStore
from tests.standins.billio import TABLE, billio_table
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

MAPPING = Path(__file__).parents[2] / "config" / "billio.toml"
SETTINGS = Settings(
    stage="shadow",
    dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing"),
    stages=StagesSettings(table="crossfade_stages"),
    tables={TABLE: TableSettings(types={"Feature": TypeSettings(stage="off")})},
)
LIVE = MoveRequest(Scope(TABLE), Stage.LIVE, "tests")


class Ground:
    """A stage table, and a cutover that only asks, as the command does."""

    def __init__(self, table: StageTable, dynamodb: DynamoDBStore) -> None:
        self.table = table

        async def exists(name: str) -> bool:
            return await dynamodb.describe(name) is not None

        types = types_of({TABLE: load(MAPPING)})
        self.cutover = CutoverService(SETTINGS, table, types=types, exists=exists)
        self.whole = CutoverService(SETTINGS, table, types=types, exists=exists, indivisible={TABLE})

    async def process(self, name: str, evidence: Evidence | None, *, owes: bool = False, started: float = 0.0) -> None:
        lease = LeaseItem(name, "life", 1, 10.0, owes=owes, host="h", started=started or time.time())
        assert await self.table.put_lease(lease, None)
        if evidence is not None:
            await self.table.put_evidence(name, evidence.document())

    async def told(self) -> tuple[bool, bool, int]:
        """Whether the gate's `told` and `working` hold, and how many comparisons it knows of."""
        look = await self.cutover.snapshot(Scope(TABLE, "Book"))
        gate = look.gate(Scope(TABLE, "Book"), Stage.LIVE)
        by_name = {each.name: each for each in gate.criteria}
        compared = int(by_name["agreement"].value.split(" of ")[1].split(",")[0])
        return by_name["told"].holds, by_name["working"].holds, compared


@contextlib.asynccontextmanager
async def ground(endpoint: str) -> AsyncIterator[Ground]:
    upstream = DynamoDBClient(endpoint, region=REGION, credentials=Credentials(Credential(ACCESS_KEY, SECRET_KEY)))
    dynamodb = DynamoDBStore(upstream, 60.0)
    table = StageTable(dynamodb, "crossfade_stages")
    await table.ensure()
    try:
        yield Ground(table, dynamodb)
    finally:
        await upstream.close()


def seen(name: str, ago: float = 0.0, agreed: int = 100) -> Evidence:
    now = time.time()
    pattern = AccessPattern(TABLE, "Book", "GetItem", "")
    return Evidence(
        reported_at={name: now - ago},
        counts={CountKey(pattern, span_of(now), word): agreed for word in (SEEN, "agreed")},
        sweeps={TABLE: LastSweep(now, "equal", "dynamodb", Basis())},
    )


async def test_what_all_proxies_told_counts(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        assert await here.told() == (False, True, 0)
        await here.process("one", seen("one"))
        await here.process("two", seen("two", agreed=50))
        assert await here.told() == (True, True, 150)


async def test_one_that_is_gone_counts_only_if_it_may_owe_keys(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        await here.process("one", seen("one"))
        await here.process("gone", seen("gone", ago=3600))
        await here.process("never", None, started=time.time() - 3600)
        assert await here.told() == (True, True, 100)
        await here.process("owing", seen("owing", ago=3600), owes=True)
        assert await here.told() == (False, True, 200)


async def test_one_that_does_not_renew_its_lease_is_shown_as_gone(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        now = time.time()
        for name, ago, seconds in (("here", 3.0, 10.0), ("gone", 60.0, 10.0), ("ended", 2.0, 0.0), ("old", now, 10.0)):
            lease = LeaseItem(name, "life", 1, seconds, host="h", pid=7, renewed=now - ago, listen="127.0.0.1:8000")
            assert await here.table.put_lease(lease, None)
        found = {each.name: each for each in (await here.cutover.snapshot()).overview.processes}
        assert {name: each.lease_expired for name, each in found.items()} == {
            "here": False, "gone": True, "ended": True, "old": False,
        }  # fmt: skip
        assert (found["gone"].pid, found["gone"].listen) == (7, "127.0.0.1:8000")
        assert found["gone"].renewed == pytest.approx(now - 60, abs=0.001)


async def test_one_that_has_just_started_or_speaks_otherwise_shuts_the_gate(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        await here.process("one", seen("one"))
        await here.process("new", None)
        assert await here.told() == (True, False, 100)
        # A command that takes part in moves serves nobody: it has nothing to tell.
        command = LeaseItem("verify", "life", 1, 10.0, owes=True, started=time.time(), renewed=time.time())
        assert await here.table.put_lease(command, None)
        await here.table.put_evidence("new", {**seen("new").document(), "version": 0})
        assert await here.told() == (True, False, 100)
        await here.table.put_evidence("new", seen("new").document())
        assert await here.told() == (True, True, 200)


async def test_a_table_is_not_moved_past_a_type_that_cannot_be(dynamodb: str) -> None:
    """Feature is off: DSQL has none of its items."""
    billio_table(dynamodb)
    async with ground(dynamodb) as here:
        forced = replace(LIVE, force=True, because="a test")
        with pytest.raises(Problem, match="go to dualwrite first"):
            await here.cutover.prepare(forced)
        preview = await here.cutover.preview(forced)
        assert (preview["outcome"], preview["gate"]["impossible"]) == ("would_not", preview["detail"])
        await here.process("p0", seen("p0"))
        prepared = await here.cutover.prepare(replace(forced, scope=Scope(TABLE, "Book")))
        assert (prepared.at.stage, prepared.unchanged) == (Stage.SHADOW, False)


async def test_a_table_that_nobody_has_met_is_asked_for(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        with pytest.raises(Problem, match="there is no table 'books'"):
            await here.cutover.snapshot(Scope("books"))
        billio_table(dynamodb, "books")
        assert (await here.cutover.snapshot(Scope("books"))).find(Scope("books")).stage is Stage.SHADOW


async def test_a_process_takes_up_what_it_had_told_if_it_is_still_the_same(dynamodb: str) -> None:
    async with ground(dynamodb) as here:
        taken: list[Evidence] = []

        async def nothing() -> Evidence:
            return Evidence()

        def telling(of: str) -> EvidencePublisher:
            return EvidencePublisher(here.table, "one", evidence=nothing, resume=taken.append, made_by=of, every=0.0)

        before = seen("one")
        await here.table.put_evidence("one", {"made_by": "this", **before.document()})
        await telling("other").publish_once()
        assert taken == []
        await here.table.put_evidence("one", {"made_by": "this", **before.document()})
        again = telling("this")
        await again.publish_once()
        await again.publish_once()
        assert taken == [before]
        assert (await here.table.evidence())["one"]["counts"] == []


def test_evidence_is_of_one_release_and_mapping_and_dsql(tmp_path: Path) -> None:
    mapping = tmp_path / "t.toml"
    mapping.write_text("one")
    settings = replace(SETTINGS, mappings=(mapping,))
    before = fingerprint(settings)
    assert fingerprint(settings) == before
    assert fingerprint(replace(settings, dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/other"))) != before
    mapping.write_text("two")
    assert fingerprint(settings) != before


async def test_a_type_that_keys_do_not_tell_is_judged_and_moved_with_its_table(dynamodb: str) -> None:
    """Most of what is asked of it is nobody's but the table's."""
    billio_table(dynamodb)
    async with ground(dynamodb) as here:
        await here.process("one", seen("one"))
        book, game = Scope(TABLE, "Book"), Scope(TABLE, "VideoGame")
        by_type = (await here.cutover.snapshot()).gate(game, Stage.LIVE)
        assert next(each for each in by_type.criteria if each.name == "coverage").value == "no traffic was seen"
        look = await here.whole.snapshot()
        for scope in (book, game):
            gate = look.gate(scope, Stage.LIVE)
            assert "do not show the type of an item: move the whole table" in gate.forbidden
            assert next(each for each in gate.criteria if each.name == "coverage").value == "1 of 1 access patterns"
        with pytest.raises(Problem, match="move the whole table"):
            await here.whole.prepare(replace(LIVE, scope=book, force=True, because="a test"))
