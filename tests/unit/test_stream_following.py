"""Nominated keys stand in the journal if their stage has a mirror, and wait while their writes are held."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages
from proxy.dynamodb.schema import Key, TableSchema
from proxy.settings import Settings, load
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.routing import KeyStages
from proxy.shadow.write_fence import WriteFence
from proxy.stores.table_registry import Tables
from proxy.stream.key_enqueuer import KeyEnqueuer
from tests.unit.peer import until

SCHEMA = TableSchema.from_description(
    {
        "TableName": "things",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
)
KEYS = [SCHEMA.key_of({"pk": {"S": f"k{number}"}}) for number in range(3)]


class Here:
    """A journal, a floor and the stages of one table, moved by hand."""

    def __init__(self, path: Path) -> None:
        settings: Settings = load(None, {})
        self.stages = Stages(settings)
        self.journal = Journal(path)
        self.journal.open({"dynamodb": 0.0, "dsql": 0.0})

        async def describe(name: str) -> TableSchema:
            return SCHEMA

        tables = Tables(describe, {})
        self.floor = WriteFence(self.stages, self.journal, tables, hold_seconds=1.0, can_mirror=True)
        self.nominate = KeyEnqueuer(self.journal, self.floor, tables, KeyStages(self.stages, tables))

    def move(self, stage: Stage) -> None:
        self.stages.adopt(self.stages.map.with_move(Scope("things"), StagePlacement(stage)))

    def held(self) -> list[Key]:
        return [key for key in KEYS if self.journal.holds(key)]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    made = Here(tmp_path / "journal.sqlite")
    yield made
    made.journal.close()


@pytest.mark.parametrize(
    ("stage", "mirrored"),
    [(Stage.OFF, False), (Stage.DUALWRITE, True), (Stage.SHADOW, True), (Stage.LIVE, True), (Stage.COMPLETE, False)],
)
async def test_a_key_is_nominated_where_its_stage_has_a_mirror(here: Here, stage: Stage, mirrored: bool) -> None:
    here.move(stage)
    await here.nominate(KEYS)
    assert here.held() == (KEYS if mirrored else [])


async def test_while_writes_are_held_its_keys_wait(here: Here) -> None:
    here.move(Stage.SHADOW)
    here.floor.hold(Scope("things"))
    nominating = asyncio.create_task(here.nominate(KEYS))
    await asyncio.sleep(0.3)
    assert (here.held(), nominating.done()) == ([], False)
    # What is drained has been moved meanwhile: the stage of then counts.
    here.floor.adopt(StageMap(epoch=5).with_move(Scope("things"), StagePlacement(Stage.LIVE)))
    here.floor.release()
    await asyncio.wait_for(nominating, 60)
    assert here.held() == KEYS


async def test_it_returns_only_when_the_keys_are_in_the_file(here: Here, tmp_path: Path) -> None:
    here.move(Stage.SHADOW)
    other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # nobody else can write the file
    nominating = asyncio.create_task(here.nominate(KEYS))
    await until(lambda: here.journal.degraded)
    assert not nominating.done()
    other.execute("ROLLBACK")
    await here.journal.depth()  # the layer asks each second, and what waits is written then
    await asyncio.wait_for(nominating, 60)
    assert other.execute("SELECT count(*) FROM journal").fetchone() == (len(KEYS),)
    other.close()
