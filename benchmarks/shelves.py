"""A catalogue of books for the items part: as many as one likes, the same each time; and a database of it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg

from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.load import load
from tests.standins.billio import table_definition

BILLIO: Final = TableSchema.from_description(table_definition())
MAPPING: Final = load(Path(__file__).parent.parent / "config" / "billio.toml").mapping
# Three in ten have a letter that is not ASCII.
_WORDS: Final = ("Dune", "Straße", "Middlemarch", "Odyssey", "Ὀδυσσεύς", "Wire", "Wilds", "Emma", "Ulysses", "Łódź")
_BEGIN: Final = 1_600_000_000_000


def books(count: int) -> Iterator[Item]:
    """Rated 1 to 10 by halves, on four shelves, moved at any time of the three years from September 2020 on."""
    chance = random.Random(1)
    for n in range(count):
        shelf = chance.choice("ABCD")
        yield {
            "type:id": {"S": f"Book:{n:08d}"},
            "type": {"S": "Book"},
            "id": {"S": f"{n:08d}"},
            "shelf": {"S": shelf},
            "type:shelf": {"S": f"Book:{shelf}"},
            "title": {"S": f"{chance.choice(_WORDS)} {chance.randrange(1000)}"},
            "movedAt": {"N": str(_BEGIN + chance.randrange(10**11))},
            "addedAt": {"N": str(_BEGIN + n)},
            "rating": {"N": str(chance.randrange(2, 21) / 2).removesuffix(".0")},
            "author": {"S": "Ursula K. Le Guin"},
            "notes": {"S": "Light is the left hand of darkness, and darkness the right hand of light."},
        }


async def fill(dsn: str, count: int) -> None:
    """Put them into a migrated database, as the mapping has them."""
    rows = []
    for item in books(count):
        encoded = MAPPING.encode(BILLIO.key_of(item), item)
        assert encoded.values is not None, encoded.faults
        rows.append(encoded.values)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.copy_records_to_table(
            "items", records=rows, columns=[column.name for column in MAPPING.columns]
        )
        await connection.execute("VACUUM ANALYZE items")
    finally:
        await connection.close()
