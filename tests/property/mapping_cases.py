"""Items and tables to hold the mappings against: Billio's with every oddity that DynamoDB lets in, and made-up ones.

Strategies and schemas only; what must be true of them stands in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, Value
from proxy.mapping.load import load
from tests import strategies
from tests.standins.billio import table_definition

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
BILLIO: Final = TableSchema.from_description(table_definition("billio"))
BILLIO_MAPPING: Final = load(CONFIG / "billio.toml").mapping
PLAN_MAPPING: Final = load(CONFIG / "billio-plan.toml").mapping

ODD_TEXTS: Final = (
    "",
    ":",
    "a:b",
    "nul\x00",
    "\\u0000",
    "$S",
    "é日本😀",
    " trailing ",
    "'\"\\;--",
    "x" * 300,
    "é" * 520,
    "y" * 1025,
    "\x01\x1f\x7f\u2028\ufeff",
)
UUIDS: Final = (
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "3F2504E0-4F89-11D3-9A0C-0305E82C3301",
    "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
    "3f2504e04f8911d39a0c0305e82c3301",
    "3f25-04e0-4f89-11d3-9a0c-0305-e82c-3301",
    "urn:uuid:3f2504e0-4f89-11d3-9a0c-0305e82c3301",
)
TIMES: Final = (
    "0",
    "-1",
    "1700000000000",
    "1700000000000.5",
    "1700000000000.123",
    "1700000000000.1234",
    "1700000000000.0000000000000000000000001",
    "253402300799999",
    "253402300799999.999",
    "253402300799999.9999",
    "253402300800000",
    "-62135596800000",
    "-62135596800000.001",
    "99999999999999999999999999999999999999",
    "1" + "0" * 125,
    "0." + "0" * 129 + "1",
)
NUMBERS: Final = ("0", "8.5", "8.4999", "-8.5", "9.5", "999.9995", "999.999", "1000", "2147483647", "2147483648", "0.1")
ODD_NAMES: Final = (
    "$absent",
    "$",
    "$S",
    "$K",
    "$KAA==",
    "$$",
    "$N",
    "nul\x00name",
    "$\x00",
    "item",
    "data",
    "日",
    "a.b",
)
TYPES: Final = ("Book", "VideoGame", "Feature", "TvSeries", "TvSeason")


def odd_texts() -> st.SearchStrategy[str]:
    """Texts that a mapping may trip over."""
    return st.one_of(st.sampled_from(ODD_TEXTS), st.sampled_from(UUIDS), strategies.texts())


def _number(pool: tuple[str, ...]) -> st.SearchStrategy[Value]:
    return st.one_of(st.sampled_from(pool), strategies.numbers()).map(lambda text: {"N": text})


def _text() -> st.SearchStrategy[Value]:
    return odd_texts().map(lambda text: {"S": text})


def odd_names() -> st.SearchStrategy[str]:
    """Attribute names that begin with the JSON column's own marks, are those marks, or are merely unusual."""
    return st.one_of(st.sampled_from(ODD_NAMES), st.text(st.characters(codec="utf-8"), min_size=1, max_size=4))


@st.composite
def plain_billio_items(draw: st.DrawFn) -> Item:
    """An item as Billio writes it."""
    kind = draw(st.sampled_from(TYPES))
    identity = draw(st.sampled_from(UUIDS))
    shelf = draw(st.sampled_from(("Read", "Reading", "Upcoming")))
    item: Item = {
        "type:id": {"S": f"{kind}:{identity}"},
        "type": {"S": kind},
        "id": {"S": identity},
        "shelf": {"S": shelf},
        "type:shelf": {"S": f"{kind}:{shelf}"},
        "title": {"S": draw(st.sampled_from(("Dune", "Annihilation", "日の名残り", "x" * 501)))},
        "movedAt": {"N": str(draw(st.integers(0, 2 * 10**12)))},
        "addedAt": {"N": str(draw(st.integers(0, 2 * 10**12)))},
    }
    if draw(st.booleans()):
        item["rating"] = {"N": draw(st.sampled_from(("1", "8.5", "10")))}
    if draw(st.booleans()):
        item["image"] = {"M": {"url": {"S": "https://e.x/a"}, "width": {"N": "300"}, "height": {"N": "450"}}}
    if draw(st.booleans()):
        item["externalId"] = {"S": draw(st.sampled_from(("OL1", "tmdb:2")))}
    if kind in ("Feature", "TvSeries"):
        item["category"] = {"S": "watching"}
    if kind == "TvSeason":
        item["seriesId"] = {"S": UUIDS[0]}
        item["seasonNumber"] = {"N": str(draw(st.integers(0, 12)))}
    return item


_ODDITIES: Final[dict[str, st.SearchStrategy[Value]]] = {
    "type": st.one_of(st.sampled_from(TYPES).map(lambda kind: {"S": kind}), _text()),
    "id": _text(),
    "shelf": _text(),
    "type:shelf": st.one_of(st.just({"S": "Book:Read"}), _text()),
    "title": _text(),
    "externalId": _text(),
    "category": _text(),
    "seriesId": _text(),
    "notes": _text(),
    "movedAt": _number(TIMES),
    "addedAt": _number(TIMES),
    "seasonNumber": _number((*NUMBERS, "9999999999999999.9999", "10000000000000000", "0.00001")),
    "rating": _number(NUMBERS),
    "hoursPlayed": _number(NUMBERS),
    "image": st.dictionaries(
        st.sampled_from(("url", "width", "height", "alt", "$S")), strategies.values(), max_size=4
    ).map(lambda content: {"M": content}),
}


ODD_VALUES: Final[tuple[Value, ...]] = (
    *({"S": text} for text in (*ODD_TEXTS, *UUIDS, "Book", "Book:Read")),
    *({"N": text} for text in (*TIMES, *NUMBERS, "9999999999999999.9999", "10000000000000000", "0.00001")),
    {"NULL": True},
    {"BOOL": False},
    {"B": ""},
    {"B": "AAE="},
    {"SS": ["\x00", "a"]},
    {"NS": ["-1", "0.5", "9" * 38]},
    {"BS": ["AAE=", "AQ=="]},
    {"L": []},
    {"L": [{"M": {"$N": {"N": "1E2"}}}]},
    {"M": {}},
    {"M": {"$S": {"S": "QQ=="}}},
    {"M": {"url": {"S": "u"}, "width": {"N": "1.5"}, "height": {"S": "tall"}, "$": {"NULL": True}}},
)


def each_oddity(item: Item, names: Iterable[str]) -> Iterator[Item]:
    """The item with each of these attributes taken away, and with each odd value in its place, one at a time."""
    for name in names:
        yield {each: value for each, value in item.items() if each != name}
        for value in ODD_VALUES:
            yield {**item, name: value}


def odd_billio_items() -> Iterator[Item]:
    """A season with one thing odd at a time: an attribute, one that nobody knows, or the key itself."""
    season: Item = {
        "type:id": {"S": f"TvSeason:{UUIDS[0]}"},
        "type": {"S": "TvSeason"},
        "id": {"S": UUIDS[0]},
        "shelf": {"S": "Watched"},
        "type:shelf": {"S": "TvSeason:Watched"},
        "title": {"S": "The Wire"},
        "movedAt": {"N": "1700000000123"},
        "addedAt": {"N": "1600000000000"},
        "rating": {"N": "9"},
        "notes": {"S": "good"},
        "category": {"S": "watching"},
        "externalId": {"S": "tmdb:1"},
        "seriesId": {"S": UUIDS[0]},
        "seasonNumber": {"N": "3"},
    }
    yield from each_oddity(season, (*(name for name in season if name != "type:id"), "image", *ODD_NAMES))
    for text in (*ODD_TEXTS[1:], *UUIDS, *(f"TvSeason:{text}" for text in (*ODD_TEXTS, *UUIDS))):
        kind, colon, identity = text.partition(":")
        key: Item = {"type:id": {"S": text}}
        yield season | key
        if colon and kind:
            yield season | key | {"type": {"S": kind}, "id": {"S": identity}, "type:shelf": {"S": f"{kind}:Watched"}}


@st.composite
def billio_items(draw: st.DrawFn) -> Item:
    """An item of Billio's table with attributes taken away, changed in value or in type, and others added."""
    item = draw(plain_billio_items())
    if draw(st.integers(0, 4)) == 0:
        item["type:id"] = {"S": draw(odd_texts().filter(bool))}
    for name in draw(st.lists(st.sampled_from(sorted(_ODDITIES)), max_size=3, unique=True)):
        choice = draw(st.integers(0, 5))
        if choice == 0:
            item.pop(name, None)
        elif choice == 1:
            item[name] = draw(strategies.values())
        else:
            item[name] = draw(_ODDITIES[name])
    item.update(draw(st.dictionaries(odd_names(), strategies.values(), max_size=2)))
    return item


# --- tables without a mapping -----------------------------------------------------------------------------------------

_KEY_NAMES: Final = (
    "pk",
    "item",
    "item_",
    "ctid",
    'q"uote',
    "Ünï",
    "n" * 70,
    "m" * 69 + "1",
    "m" * 69 + "2",
    "a b",
    "$x",
)


@st.composite
def schemas(draw: st.DrawFn, name: str = "made.up-table_1") -> TableSchema:
    """Keys and up to four indexes of any types, on names that are awkward as columns."""
    names = draw(st.lists(st.sampled_from(_KEY_NAMES), min_size=2, max_size=5, unique=True))
    types = {each: draw(st.sampled_from("SNB")) for each in names}
    with_range = draw(st.booleans())

    def keys(chosen: list[str]) -> list[dict[str, str]]:
        return [{"AttributeName": each, "KeyType": role} for each, role in zip(chosen, ("HASH", "RANGE"), strict=False)]

    indexes: list[dict[str, Any]] = [
        {"IndexName": f"by.{number}", "KeySchema": keys(chosen), "Projection": {"ProjectionType": "ALL"}}
        for number, chosen in enumerate(
            draw(st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True), max_size=4))
        )
    ]
    return TableSchema.from_description(
        {
            "TableName": name,
            "KeySchema": keys(names[: 2 if with_range else 1]),
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
            "GlobalSecondaryIndexes": indexes,
        }
    )


def _key_value(tag: str) -> st.SearchStrategy[Value]:
    if tag == "N":
        return _number((*NUMBERS, *TIMES))
    if tag == "B":
        return strategies.binaries().map(lambda text: {"B": text})
    return _text()


@st.composite
def items_of(draw: st.DrawFn, schema: TableSchema) -> Item:
    """An item that DynamoDB would take into the table: keys whole, index keys of their types or not there at all."""
    item = draw(strategies.items())
    item.update(draw(st.dictionaries(odd_names(), strategies.values(), max_size=2)))
    for name, tag in schema.types.items():
        item.pop(name, None)
        if name in schema.key_names or draw(st.booleans()):
            value = draw(_key_value(tag))
            if value not in ({"S": ""}, {"B": ""}):
                item[name] = value
            elif name in schema.key_names:
                item[name] = {tag: "AAAA"}
    return item
