"""A look at keys that seemed to differ: what is on its way is no difference, and what is being written says nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from comparators.expectations import Expectation
from comparators.redact import Redactor
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.table_authority import TableAuthority
from proxy.migrate.verify.recheck import ComparedStore, KeyResult, Rechecker, SweepFinding
from proxy.settings import Settings
from proxy.stores.errors import Unreachable
from proxy.stores.interface import StoredItem
from proxy.stores.table_registry import Table
from tests.unit.shadow_stores import MemoryStore

SCHEMA = TableSchema.from_description(
    {
        "TableName": "t",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
)
TABLE = Table(SCHEMA, DocumentMapping(SCHEMA))


def key(name: str) -> Key:
    return SCHEMA.key_of({"id": {"S": name}})


def item(name: str, number: int) -> Item:
    return {"id": {"S": name}, "n": {"N": str(number)}, "set": {"SS": ["a", "b"]}}


class Pair:
    """Two stores in memory. `meanwhile` is called before each reading of the mirror."""

    def __init__(self, authority: dict[str, Item], mirror: dict[str, Item], table: Table = TABLE) -> None:
        self.authority = MemoryStore("dynamodb", {key(name): each for name, each in authority.items()})
        self.mirror = MemoryStore("dsql", {key(name): each for name, each in mirror.items()})
        self.table = table
        self.reads = 0
        self.meanwhile: Callable[[int], None] = lambda _: None

    async def _read_authority(self, keys: Sequence[Key]) -> dict[Key, StoredItem]:
        return {each: await self.authority.get(each) for each in keys}

    async def _read_mirror(self, keys: Sequence[Key]) -> dict[Key, StoredItem]:
        self.reads += 1
        self.meanwhile(self.reads)
        return {each: await self.mirror.get(each) for each in keys}

    async def look(self, *names: str, patience: float = 0.0, repair: bool = False) -> dict[str, SweepFinding]:
        dynamodb: Any = None  # nothing is asked where stages are pinned
        standing = TableAuthority(Settings(), dynamodb, TABLE.name, ())
        moves = JobParticipant(self.table, standing, self.authority, self.mirror, lambda _: None)
        rechecker = Rechecker(
            self.table,
            ComparedStore(store=self.authority, read_many=self._read_authority),
            ComparedStore(store=self.mirror, read_many=self._read_mirror),
            patience=patience,
            participant=moves if repair else None,
        )
        found = await rechecker.recheck([key(name) for name in names])
        return {each.key.attributes["id"]["S"]: each for each in found}


async def test_each_result() -> None:
    pair = Pair(
        {name: item(name, 1) for name in ("same", "missing", "different", "respelt", "cannot", "unsound")},
        {name: item(name, 1) for name in ("same", "extra", "unsound")}
        | {"different": item("different", 2), "respelt": item("respelt", 1) | {"set": {"SS": ["b", "a"]}}},
    )
    pair.mirror.cannot.append(item("cannot", 1))
    pair.mirror.unsound.add(key("unsound"))
    found = await pair.look("same", "missing", "different", "respelt", "cannot", "unsound", "extra", "nowhere")
    assert {name: each.result for name, each in found.items()} == {
        "same": KeyResult.AGREED,
        "missing": KeyResult.MISSING,
        "different": KeyResult.DIFFERENT,
        "respelt": KeyResult.AGREED,
        "cannot": KeyResult.UNREPRESENTABLE,
        "unsound": KeyResult.DIFFERENT,
        "extra": KeyResult.EXTRA,
        "nowhere": KeyResult.AGREED,
    }
    assert [each.path for each in found["different"].differences] == ["n"]
    assert found["cannot"].reasons == ("title: it does not fit",)


async def test_an_attribute_that_only_one_has_is_no_missing_item() -> None:
    pair = Pair({"a": item("a", 1)}, {"a": {"id": {"S": "a"}}})
    assert (await pair.look("a"))["a"].result is KeyResult.DIFFERENT


async def test_what_arrives_in_time_agrees() -> None:
    pair = Pair({"a": item("a", 1)}, {})
    pair.meanwhile = lambda reads: pair.mirror.items.update(pair.authority.items) if reads == 2 else None
    assert (await pair.look("a", patience=5))["a"].result is KeyResult.AGREED
    assert pair.reads == 2


async def test_what_is_written_at_each_look_says_nothing() -> None:
    pair = Pair({"a": item("a", 0)}, {"a": item("a", -1)})
    pair.meanwhile = lambda reads: pair.authority.items.update({key("a"): item("a", reads)})
    assert (await pair.look("a", patience=0.5))["a"].result is KeyResult.RACING
    assert pair.reads > 1


async def test_what_is_declared_is_expected() -> None:
    declared = replace(TABLE, expected=(Expectation("it is recounted", field="n"),))
    assert (await Pair({"a": item("a", 1)}, {"a": item("a", 2)}, declared).look("a"))["a"].result is KeyResult.EXPECTED
    more = item("a", 2) | {"set": {"SS": ["a"]}}
    assert (await Pair({"a": item("a", 1)}, {"a": more}, declared).look("a"))["a"].result is KeyResult.DIFFERENT


async def test_repair_converges_what_is_wrong_and_nothing_else() -> None:
    pair = Pair(
        {"missing": item("missing", 1), "different": item("different", 1), "cannot": item("cannot", 1)},
        {"extra": item("extra", 1), "different": item("different", 2)},
    )
    pair.mirror.cannot.append(item("cannot", 1))
    found = await pair.look("missing", "extra", "different", "cannot", repair=True)
    assert {name: each.repaired for name, each in found.items()} == {
        "missing": True,
        "extra": True,
        "different": True,
        "cannot": None,
    }
    assert found["different"].result is KeyResult.DIFFERENT, "what was found is told all the same"
    assert pair.mirror.items == {each: pair.authority.items[each] for each in map(key, ("missing", "different"))}


async def test_a_repair_that_fails_is_told() -> None:
    pair = Pair({"a": item("a", 1)}, {})

    async def away(what: str) -> None:
        if what == "put":
            raise Unreachable("connection")

    pair.mirror.before = away
    finding = (await pair.look("a", repair=True))["a"]
    assert finding.repaired is False
    assert finding.reasons == ("not repaired: connection",)


async def test_a_finding_hides_values() -> None:
    pair = Pair({"secret": item("secret", 12345)}, {"secret": item("secret", 54321)})
    finding = (await pair.look("secret"))["secret"]
    redactor = Redactor(b"0" * 16)
    hidden = str(finding.document(redactor, values=False))
    assert not any(text in hidden for text in ("secret", "12345", "54321"))
    shown = finding.document(redactor, values=True)
    assert shown["key"] == {"id": {"S": "secret"}}
    assert shown["differences"][0]["mirror"] == {"N": "54321"}
