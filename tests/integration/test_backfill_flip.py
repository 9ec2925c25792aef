"""The authority moves while a backfill or a repair is at work: nothing old may land on the new truth.

Once as an operator sees it, with a proxy and writers; then in this process, so that the flip comes at the worst moment:
when rows have been inserted that are out of date already, and nobody has looked at them again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted
from proxy.cutover.flip.coordinator import Coordinator
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Scope, Stage, Stages
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs import table_authority as standing
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.sources import Portion, Source
from proxy.migrate.table_jobs.table_stores import TableStores, open_table_stores
from proxy.settings import load
from proxy.stores.dsql.bulk import Slice
from proxy.stores.errors import Refused
from tests import equality
from tests.integration.scenes import CONFIG, run_sql, scene, swept, wait_until
from tests.integration.test_backfill_crash import Died, Meddled, Meddler, made, settings_file
from tests.integration.test_stage_moves import STAGES, moved
from tests.integration.whole_tables import Operator, billio_items
from tests.integration.whole_tables import load as put_all
from tests.integration.writers import BILLIO_KEYS, Writers, billio_item
from tests.standins.billio import TABLE, billio_table, dynamodb_client

__all__ = ["settings_file"]

NAME = "crossfade_stages"
RATE = "20"
# Where nobody dies, longer than any machine stands still; where one does, as long as the test then waits.
LEASE_SECONDS, SHORT_LEASE_SECONDS = 20.0, 2.0


def variables(lease_seconds: float) -> dict[str, str]:
    return {
        "CROSSFADE_STAGES__TABLE": NAME,
        "CROSSFADE_STAGES__LEASE_SECONDS": str(lease_seconds),
        "CROSSFADE_STAGES__POLL_SECONDS": "0.05",
    }


def rows(dsn: str) -> int:
    return int(asyncio.run(run_sql(dsn, "SELECT count(*) AS n FROM items"))[0]["n"])


def unlike(endpoint: str, dsn: str) -> list[str]:
    """What rows say otherwise than their items. What was not brought over yet is no matter here."""
    return [each for each in equality.disagreements(endpoint, dsn, TABLE) if "DynamoDB only" not in each]


def test_a_flip_in_the_middle_of_a_backfill_and_back(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    dice = random.Random(6)
    put_all(dynamodb, billio_items(400))
    client = dynamodb_client(dynamodb)
    for key in BILLIO_KEYS[::2]:
        client.put_item(TableName=TABLE, Item=billio_item(dice, key))
    # Nothing that is true: a flip in the middle of a backfill needs a sweep that no backfill would leave equal.
    swept(dsql_database)
    with scene(dynamodb, dsql_database, rows=database, stage="dualwrite", extra=STAGES.format(LEASE_SECONDS)) as here:
        mappings = (CONFIG / "billio.toml",)
        operator = Operator(dynamodb, dsql_database, tmp_path, mappings, variables(LEASE_SECONDS))
        writers = Writers(here.client, 6, keys=BILLIO_KEYS, threads=2, calls=800).start()
        # So slow that the flip, however slow, finds it in the middle.
        with operator.started("backfill", "--rate", RATE) as backfill:
            wait_until(lambda: rows(database) > 30, 120, "a part of the table")
            assert backfill.poll() is None
            live = {"stage": "live", "force": True, "because": "a test"}
            assert moved(here, TABLE, live, token=None).json["outcome"] == "moved"
            out, err = backfill.communicate(timeout=120)
        assert backfill.returncode == 1, out + err
        assert "the authority for billio is dsql now, and was another when this began" in err
        refused = operator.run("backfill")
        assert refused.code == 2
        assert "backfill would overwrite the truth" in refused.err
        overwriting = operator.run("verify", "--repair", "--authority", "dynamodb")
        assert overwriting.code == 2
        assert "--repair would overwrite it with what dynamodb holds" in overwriting.err
        back = {"stage": "dualwrite", "force": True, "because": "a test"}
        assert moved(here, TABLE, back, token=None).json["outcome"] == "moved"
        ran = operator.run("backfill")
        assert ran.code == 0, ran.out + ran.err
        writers.stop()
        assert writers.answers["ok"] > 50
        here.assert_equal()


def test_a_backfill_under_a_ramp_is_refused_and_one_under_way_ends(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    put_all(dynamodb, billio_items(400))
    with scene(dynamodb, dsql_database, rows=database, extra=STAGES.format(LEASE_SECONDS)) as here:
        operator = Operator(dynamodb, dsql_database, tmp_path, (CONFIG / "billio.toml",), variables(LEASE_SECONDS))

        def ramp(percent: float) -> None:
            body = {"stage": "shadow", "ramp": percent, "force": True, "because": "a test"}
            assert moved(here, TABLE, body, token=None).json["outcome"] == "moved"

        with operator.started("backfill", "--rate", RATE) as backfill:
            wait_until(lambda: rows(database) > 30, 120, "a part of the table")
            ramp(5)
            out, err = backfill.communicate(timeout=120)
        again = operator.run("backfill")
        for code, said in ((backfill.returncode, err), (again.code, again.err)):
            assert code == 2, out + said
            assert "DSQL serves 5 % of the reads of billio" in said
            assert "crossfade stage billio shadow --ramp 0" in said
        ramp(0)
        assert operator.run("backfill").code == 0
        here.assert_equal()


class Flipped(Meddled):
    """At the second of its looks, the items are changed and a flip begins; it has a second to pass it by."""

    def __init__(self, source: Source, meddler: Meddler, flip: "Flipping") -> None:
        super().__init__(source)
        self._meddler = meddler
        self._flip = flip
        self._looks = 0

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        self._looks += 1
        if self._looks == 2:
            self._meddler([key.attributes for key in keys])
            self._flip.start()
            await asyncio.sleep(1.0)
            assert not self._flip.task.done(), "it passed over rows that nobody has looked at again"
        return await super().read_current(portion, keys)


class Flipping:
    """A flip of the table to `live`, driven from here: its last word, and what differed at that moment."""

    def __init__(self, both: TableStores, path: Path, endpoint: str, dsn: str) -> None:
        settings = load(path, variables(LEASE_SECONDS))
        self._driver = Coordinator(
            StageTable(both.dynamodb, NAME),
            Stages(settings, {TABLE: ()}),
            lease_seconds=LEASE_SECONDS,
            hold_seconds=60.0,
        )
        self._where = endpoint, dsn
        self.task: asyncio.Task[tuple[Any, list[str]]]

    def start(self) -> "Flipping":
        self.task = asyncio.create_task(self._drive())
        return self

    async def _drive(self) -> tuple[Any, list[str]]:
        move = MoveRequest(Scope(TABLE), Stage.LIVE, by="a test", force=True, because="a test")
        last = [step async for step in self._driver.move(move)][-1]
        return last, await asyncio.to_thread(unlike, *self._where)


@asynccontextmanager
async def both_with_stages(path: Path, lease_seconds: float) -> AsyncIterator[TableStores]:
    async with open_table_stores(load(path, variables(lease_seconds)), TABLE) as both:
        yield both


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody ends a move because this process, its driver, stood still for a second or ten."""
    monkeypatch.setattr("proxy.cutover.flip.protocol.HEARTBEAT_SECONDS", 30.0)


@pytest.mark.usefixtures("patient")
async def test_a_flip_waits_for_what_a_backfill_has_in_hand(settings_file: Path, dynamodb: str, database: str) -> None:
    async with both_with_stages(settings_file, LEASE_SECONDS) as both:
        flip = Flipping(both, settings_file, dynamodb, database)
        async with both.job_participant("backfill", "dynamodb", unrecovered=True).open() as participant:
            with pytest.raises(standing.AuthorityMovedError):
                await made(both, lambda source: Flipped(source, Meddler(dynamodb), flip), participant=participant).run(
                    1
                )
        last, found = await asyncio.wait_for(flip.task, 120)
        assert isinstance(last, MoveCommitted), last
        assert found == []
        brought = (await both.bulk.counts(Slice(None, None), None))[""]
        assert 0 < brought < 80, "it was in the middle"


async def test_the_later_of_two_goes_on_and_the_other_stops(settings_file: Path) -> None:
    async with (
        both_with_stages(settings_file, SHORT_LEASE_SECONDS) as both,
        both.job_participant("backfill", "dynamodb", unrecovered=False).open() as earlier,
    ):
        async with earlier.write_unit(1):
            pass
        async with both.job_participant("backfill", "dynamodb", unrecovered=False).open() as later:
            async with later.write_unit(1):
                pass
            with pytest.raises(Refused, match="another process has taken over this work"):
                await asyncio.wait_for(_unit(earlier), 120)


async def _unit(part: JobParticipant) -> None:
    while True:
        async with part.write_unit(1):
            await asyncio.sleep(0.1)


@pytest.mark.usefixtures("patient")
async def test_no_flip_passes_over_a_backfill_that_died(settings_file: Path, dynamodb: str, database: str) -> None:
    def die(_: Sequence[Item]) -> None:
        raise Died

    async with both_with_stages(settings_file, SHORT_LEASE_SECONDS) as both:
        with pytest.raises(Died):
            async with both.job_participant("backfill", "dynamodb", unrecovered=True).open() as participant:
                await made(both, lambda source: Meddled(source, look=die), participant=participant).run(1)
        last, _ = await Flipping(both, settings_file, dynamodb, database).start().task
        assert isinstance(last, MoveAborted)
        assert "backfill" in last.reason
        assert "is gone" in last.reason
        async with both.job_participant("backfill", "dynamodb", unrecovered=True).open() as participant:
            await made(both, participant=participant).run(1)
        last, found = await Flipping(both, settings_file, dynamodb, database).start().task
        assert isinstance(last, MoveCommitted), last
        assert found == []
