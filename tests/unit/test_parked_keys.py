"""Parked keys: what is parked and what is not, what an operator sees of it, and what becomes of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from proxy.cli import main as command
from proxy.dynamodb.schema import Key, TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.metrics.registry import Metrics
from proxy.shadow.convergence.converger import Converger, Direction
from proxy.shadow.journal.journal import Journal
from proxy.shadow.parked_control import ParkedControl
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.table_registry import Table, Tables
from tests.unit.shadow_stores import MemoryStore
from tests.unit.test_admin import OPERATE, READ, TOKENS, admin, bearer

SCHEMA = TableSchema("t", "id", None, {"id": "S"}, {})
KEYS = [SCHEMA.key_of({"id": {"S": f"secret-{n}"}}) for n in range(3)]


class Place:
    """A journal, a converger over two stores in memory, and whether the table is there."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.authority, self.mirror = MemoryStore("dynamodb"), MemoryStore("dsql")
        self.exists = True
        self._direction = Direction(self.authority, self.mirror, CircuitBreaker(100, 5.0))
        tables = Tables(self._describe, {})
        tables.learn(SCHEMA)
        self.converger = Converger(journal, self, Metrics(), {"dynamodb": 0.0, "dsql": 0.0}, self._find)
        self.control = ParkedControl(
            journal=journal, tables=tables, show_key=lambda key: dict.fromkeys(key.attributes, "shown")
        )

    async def _describe(self, _: str) -> TableSchema | None:
        raise NotImplementedError

    async def _find(self, _: str) -> Table | None:
        return Table(SCHEMA, DocumentMapping(SCHEMA)) if self.exists else None

    def direction_of(self, _: Key) -> Direction:
        return self._direction

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        return (self._direction.breaker,)

    def refuse(self, error: StoreError | None) -> None:
        async def before(what: str) -> None:
            if what == "put" and error is not None:
                raise error

        self.mirror.before = before

    async def converge(self, keys: int) -> None:
        for _ in range(keys):
            async with asyncio.timeout(10):
                await self.converger.converge_next()

    async def park(self, *keys: Key) -> None:
        """Have keys parked: DSQL cannot hold their items."""
        for key in keys:
            self.authority.items[key] = {**key.attributes, "n": {"N": "1"}}
        self.refuse(Refused("22P05"))
        await self.journal.enqueue(keys)
        await self.converge(len(keys))
        self.refuse(None)

    async def depth(self) -> tuple[int, int]:
        """How many keys wait to converge, and how many are parked."""
        depth = await self.journal.depth()
        return depth.keys, depth.parked


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.open({"dynamodb": 0.0, "dsql": 0.0})
    yield Place(journal)
    journal.close()


@pytest.mark.parametrize(
    ("reason", "parked"),
    [
        ("ValidationException", True),
        ("ItemCollectionSizeLimitExceededException", True),
        ("22P05", True),
        ("22003", True),
        ("23514", True),
        ("54000", True),
        ("42P01", False),
        ("42501", False),
        ("3F000", False),
        ("AccessDeniedException", False),
        ("UnrecognizedClientException", False),
        ("table_not_followed", False),
    ],
)
async def test_what_is_refused_for_its_item_is_parked_and_what_is_set_up_wrongly_is_not(
    here: Place, reason: str, parked: bool
) -> None:
    here.authority.items[KEYS[0]] = {**KEYS[0].attributes}
    here.refuse(Refused(reason))
    await here.journal.enqueue(KEYS[:1])
    await here.converge(1)
    assert await here.depth() == ((0, 1) if parked else (1, 0))
    assert [each["reason"].split(":")[0] for each in here.control.list(10)] == ([reason] if parked else [])


async def test_a_parked_key_is_shown_by_an_id_that_reveals_nothing_and_by_what_to_do(here: Place) -> None:
    await here.park(*KEYS)
    shown = here.control.list(2)
    assert len(shown) == 2
    for each in shown:
        assert re.fullmatch(r"[0-9a-f]{12}", each["id"])
        assert f"crossfade parked retry {each['id']}" in each["remedy"]
        assert f"crossfade parked drop {each['id']}" in each["remedy"]
        assert (each["table"], each["key"]) == ("t", {"id": "shown"})
    assert "secret" not in orjson.dumps(shown).decode()


async def test_a_key_that_is_tried_again_stays_parked_until_it_has_converged(here: Place) -> None:
    await here.park(*KEYS)
    first = here.journal.parked.id_of(KEYS[0])
    here.refuse(Unreachable("connect"))
    assert here.control.retry(first) == 1
    assert await here.depth() == (0, 3)
    await here.converge(1)
    assert await here.depth() == (0, 3), "the mirror is down: it is still parked, and holds up nothing"
    here.refuse(None)
    assert here.control.retry(first) == 1
    await here.converge(1)
    assert await here.depth() == (0, 2)
    assert here.mirror.items == {KEYS[0]: here.authority.items[KEYS[0]]}
    assert here.control.retry() == 2
    await here.converge(2)
    assert await here.depth() == (0, 0)


async def test_a_key_that_is_given_up_is_gone_and_the_next_write_finds_it(here: Place) -> None:
    await here.park(KEYS[0])
    (each,) = here.control.list(10)
    assert here.control.drop(each["id"], "me", "nobody reads it")
    assert not here.control.drop(each["id"], "me", "again")
    assert here.journal.empty
    await here.park(KEYS[0])
    assert await here.depth() == (0, 1)


@pytest.mark.parametrize("anew", [False, True])
async def test_parked_keys_of_a_deleted_table_go(here: Place, anew: bool) -> None:
    """Whether or not a table of the same name has been made since, in which the items are not."""
    await here.park(*KEYS)
    here.authority.items.clear()
    here.exists = anew
    assert here.journal.parked.retry(table="another") == 0
    assert here.journal.parked.retry(table="t") == 3
    await here.converge(3)
    assert here.journal.empty
    assert not here.mirror.items


async def test_a_write_to_a_parked_key_while_it_is_tried_is_not_lost(here: Place) -> None:
    await here.park(KEYS[0])
    here.control.retry()
    claim = await here.journal.next()
    entry = await here.journal.enter([KEYS[0]])
    here.journal.mark_converged(claim)
    here.journal.release(entry)
    assert await here.depth() == (1, 0)
    await here.converge(1)
    assert here.journal.empty


# -- the port and the command --------------------------------------------------------------------------------------


async def test_the_port_lists_retries_and_drops() -> None:
    async with admin(TOKENS) as here:
        here.process.parked_keys.ids = ["one", "two"]
        status, said = await here.get("/v1/parked?limit=1", **bearer(READ))
        assert (status, [each["id"] for each in said["parked"]]) == (200, ["one"])
        for path, allowed, expected in (
            ("/v1/parked/retry", OPERATE, {"retried": 2}),
            ("/v1/parked/two/retry", OPERATE, {"retried": 1}),
        ):
            assert (await here.ask("POST", path, bearer(READ)))[0] == 403
            assert (await here.ask("POST", path, bearer(allowed)))[:2] == (200, expected)
        assert (await here.ask("POST", "/v1/parked/three/retry", bearer(OPERATE)))[0] == 404
        assert (await here.ask("DELETE", "/v1/parked/one", bearer(OPERATE)))[0] == 400
        assert (await here.ask("DELETE", "/v1/parked/one?because=x", bearer(READ)))[0] == 403
        assert (await here.ask("DELETE", "/v1/parked/one?because=x&by=me", bearer(OPERATE)))[0] == 200
        assert (await here.ask("DELETE", "/v1/parked/one?because=x", bearer(OPERATE)))[0] == 404
        assert [each[0] for each in here.process.parked_keys.dropped] == ["one"]


async def test_the_command_lists_retries_and_drops(capsys: pytest.CaptureFixture[str]) -> None:
    async with admin() as here:
        here.process.parked_keys.ids = ["one", "two"]

        async def run(*words: str) -> tuple[int, str]:
            status = await asyncio.to_thread(command.main, ["parked", *words, "--admin", f"http://{here.at}"])
            said = capsys.readouterr()
            return status, said.out + said.err

        status, said = await run()
        assert status == 0
        assert "one  t" in said
        assert "it does not fit" in said
        assert "what to do: mend it" in said
        assert await run("retry") == (0, "2 keys are tried again: run crossfade parked to see which remain\n")
        assert (await run("retry", "nine"))[0] == 2
        assert (await run("drop", "one"))[0] == 2
        assert (await run("drop", "one", "--because", "nobody reads it"))[0] == 0
        assert (await run("drop", "one", "--because", "again"))[0] == 2
        here.process.parked_keys.ids = []
        assert await run() == (0, "no key is parked\n")


@pytest.mark.parametrize(
    "words", [["keep", "one"], ["list", "one"], ["retry", "one", "two"], ["drop"], ["retry", "--because", "x"]]
)
def test_words_that_make_no_sense_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["parked", *words]) == 2
    assert capsys.readouterr().err.startswith("crossfade: ")


def test_a_proxy_that_does_not_run_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["parked", "--admin", "http://127.0.0.1:1"]) == 1
    assert "is this a proxy's admin port, and does it run?" in capsys.readouterr().err


# -- what else is of a table ---------------------------------------------------------------------------------------


class TestSeries:
    COUNT: ClassVar[list[Callable[[Metrics, str], None]]] = [
        lambda metrics, table: metrics.comparison.compared(table, "Book", "GetItem", "agreed"),
        lambda metrics, table: metrics.comparison.difference(table, "Book", "title", "value", "mismatch"),
        lambda metrics, table: metrics.stores.gave_up(table, "occ"),
        lambda metrics, table: metrics.cutover.stage(table, "", "shadow"),
        lambda metrics, table: metrics.cutover.ramp(table, "", 5.0),
    ]

    @pytest.mark.parametrize("count", COUNT)
    def test_series_of_a_deleted_table_go_and_come_again(self, count: Any) -> None:
        metrics = Metrics()
        for table in ("gone", "stays"):
            count(metrics, table)
        metrics.forget_table("gone")
        assert b'table="gone"' not in metrics.text()
        assert b'table="stays"' in metrics.text()
        count(metrics, "gone")
        assert b'table="gone"' in metrics.text()
