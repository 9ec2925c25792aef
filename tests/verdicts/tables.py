"""The tables of the verdicts' worlds: Billio's, with its mapping and one declared difference, and one with long pages.

`PAGES` has a range key, an index with few sort values (so that many are equal) and items big enough to fill a page.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import LoadedMapping, load
from tests.standins.billio import HASH_KEY, TABLE, table_definition

BILLIO: Final = TableSchema.from_description(table_definition())
_PAGES: Final = {
    "TableName": "pages",
    "KeySchema": [{"AttributeName": "book", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "book", "AttributeType": "S"},
        {"AttributeName": "n", "AttributeType": "N"},
        {"AttributeName": "group", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-group",
            "KeySchema": [
                {"AttributeName": "group", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
DEFINITIONS: Final = {TABLE: table_definition(), "pages": _PAGES}
PAGES: Final = TableSchema.from_description(_PAGES)
SCHEMAS: Final = {BILLIO.name: BILLIO, PAGES.name: PAGES}
DECLARED: Final = "notes"
_CONFIG: Final = Path(__file__).parents[2] / "config" / "billio.toml"


@cache
def mapped() -> dict[str, LoadedMapping]:
    """Billio's mapping, in which a difference of `notes` is declared."""
    declared = f'\n[[expected]]\nfield = "{DECLARED}"\nbecause = "the notes of this test are the mirror\'s own"\n'
    with TemporaryDirectory() as folder:
        path = Path(folder) / "billio.toml"
        path.write_text(_CONFIG.read_text("utf-8") + declared, "utf-8")
        return {TABLE: load(path)}


def book_key(name: str) -> dict[str, Any]:
    return {HASH_KEY: {"S": f"Book:{name}"}}


def book(name: str, **more: dict[str, Any]) -> dict[str, Any]:
    """A book of Billio's; `name` stands for its UUID."""
    return {
        **book_key(name),
        "type": {"S": "Book"},
        "id": {"S": name},
        "shelf": {"S": "Read"},
        "type:shelf": {"S": "Book:Read"},
        "title": {"S": "Solaris"},
        "movedAt": {"N": "1700000000000"},
        "addedAt": {"N": "1600000000000"},
        "rating": {"N": "8.5"},
        "author": {"S": "Lem"},
        **more,
    }


def page(book_name: str, number: int, **more: dict[str, Any]) -> dict[str, Any]:
    return {
        "book": {"S": book_name},
        "n": {"N": str(number)},
        "group": {"S": "g"},
        "at": {"N": str(number % 3)},
        "words": {"N": str(number * 100)},
        "tags": {"SS": ["a", "b"]},
        "deep": {"M": {"list": {"L": [{"N": "1"}, {"S": "x"}]}}},
        **more,
    }
