"""What is composed for a process: who owns what was opened, in which order it ends, and which loops run where."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from prometheus_client import CollectorRegistry

from proxy.app.process import Process, ProcessGauges, ProcessParts
from proxy.app.service import open_service
from proxy.background_tasks import BackgroundTasks
from proxy.cutover.compose import compose_cutover, cutover_loops
from proxy.metrics.registry import Metrics
from proxy.settings import DSQL, JournalSettings, Settings, StagesSettings
from proxy.settings.gate import GateSettings
from proxy.settings.validation import SettingsError
from proxy.shadow.journal.journal import Journal
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.dynamodb.store import DynamoDBStore
from tests.unit.plain_layer import PlainProcess

SETTLE = {"dynamodb": 0.0, "dsql": 0.0}
NOWHERE = DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing")
MOVABLE = Settings(stage="shadow", dsql=NOWHERE, stages=StagesSettings(table="crossfade_stages"))


class Forbids:
    """A DynamoDB in which the proxy may do nothing."""

    def control(self) -> Forbids:
        return self

    async def request(self, *_: Any, **__: Any) -> HTTPResponse:
        error = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}
        return HTTPResponse(400, (), orjson.dumps(error))


class Directions:
    """`DirectionLookup` where nothing is mirrored."""

    def direction_of(self, _: Any) -> None:
        return None

    def breakers(self) -> tuple[Any, ...]:
        return ()


def client() -> DynamoDBClient:
    return cast("DynamoDBClient", Forbids())


def is_free(path: Path) -> bool:
    """Whether another process could use the journal."""
    journal = Journal(path)
    journal.open(SETTLE)
    journal.close()
    return True


async def test_what_was_opened_is_closed_after_the_process(tmp_path: Path) -> None:
    settings = Settings(journal=JournalSettings(tmp_path / "journal"))
    async with open_service(settings, Metrics(), client()) as service:
        await service.process.open()
        assert service.status.identity
        await service.process.close()
        assert (await service.status.status())["journal"]["keys"] == 0, "the admin port may still ask"
    assert is_free(tmp_path / "journal")


async def test_what_was_opened_is_closed_where_the_rest_cannot_be_composed(tmp_path: Path) -> None:
    def fails(*_: Any) -> Any:
        raise SettingsError(["a fault"])

    settings = Settings(journal=JournalSettings(tmp_path / "journal"))
    with pytest.raises(SettingsError, match="a fault"):
        async with open_service(settings, Metrics(), client(), fails):
            pass
    assert is_free(tmp_path / "journal")


async def test_a_stage_table_that_may_not_be_used_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        stage="shadow", dsql=NOWHERE, stages=MOVABLE.stages, journal=JournalSettings(tmp_path / "journal")
    )
    before = asyncio.all_tasks()
    async with open_service(settings, Metrics(), client()) as service:
        with pytest.raises(SettingsError, match="allow CreateTable"):
            await service.process.open()
    assert asyncio.all_tasks() == before
    assert is_free(tmp_path / "journal")


class Ticks:
    """A loop that counts its turns."""

    def __init__(self) -> None:
        self.count = 0

    async def turn(self) -> None:
        self.count += 1
        await asyncio.sleep(0)

    async def goes_on(self) -> bool:
        before = self.count
        for _ in range(10):
            await asyncio.sleep(0)
        return self.count > before


async def test_what_acts_on_other_processes_ends_first(tmp_path: Path) -> None:
    journal, work, cutover = Journal(tmp_path / "journal"), Ticks(), Ticks()
    journal.open(SETTLE)
    nothing = cast("Any", SimpleNamespace(list_all=lambda _: (), names=tuple, map=SimpleNamespace(epoch=0), valid=True))
    gauges = ProcessGauges(metrics=Metrics(), journal=journal, stages=nothing, tables=nothing, lease=nothing)
    parts = ProcessParts(
        journal=journal,
        background=BackgroundTasks(1),
        directions=Directions(),
        gauges=gauges,
        participant=None,
        peers=None,
        loops=(work.turn,),
        cutover_loops=(cutover.turn,),
    )
    process = Process(parts, converge_seconds=1.0)
    await process.open()
    assert await work.goes_on()
    assert await cutover.goes_on()
    await process.quiesce()
    assert await work.goes_on(), "keys must still converge"
    assert not await cutover.goes_on()
    await process.close()
    assert not await work.goes_on()
    journal.close()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Settings(), ["GateMetrics.watch"]),
        (MOVABLE, ["GateMetrics.watch", "EvidencePublisher.publish_once", "AutoDemotion.watch"]),
        (
            Settings(stage="shadow", dsql=NOWHERE, stages=MOVABLE.stages, gate=GateSettings(demote=False)),
            ["GateMetrics.watch", "EvidencePublisher.publish_once"],
        ),
    ],
    ids=["pinned", "movable", "not demoted"],
)
def test_evidence_is_published_and_the_ramp_demoted_where_stages_can_be_moved(
    settings: Settings, names: list[str]
) -> None:
    process, dynamodb = PlainProcess(), DynamoDBStore(client(), 1.0)
    cutover = compose_cutover(settings, dynamodb, {}, process)
    loops = cutover_loops(settings, dynamodb, cutover, process, CollectorRegistry())
    assert [cast("Any", each).__qualname__ for each in loops] == names
