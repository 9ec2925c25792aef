"""A document's row repeats its index keys as columns: whether the two still say the same."""

from typing import Any

import pytest

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping

SCHEMA = TableSchema.from_description(
    {
        "TableName": "readings",
        "KeySchema": [{"AttributeName": "device", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "device", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
            {"AttributeName": "site", "AttributeType": "S"},
        ],
        "GlobalSecondaryIndexes": [
            {"IndexName": "by-site", "KeySchema": [{"AttributeName": "site", "KeyType": "HASH"}]},
        ],
    }
)
MAPPING = DocumentMapping(SCHEMA)
ITEM = {"device": {"S": "d1"}, "at": {"N": "7"}, "site": {"S": "roof"}, "value": {"N": "22.5"}}


def row(item: dict[str, Any]) -> tuple[Any, ...]:
    values = MAPPING.encode(SCHEMA.key_of(item), item).values
    assert values is not None
    return values


def test_a_row_as_it_was_written_is_sound() -> None:
    assert MAPPING.index_consistent(row(ITEM), ITEM)


def test_a_row_without_the_index_key_is_sound_if_its_item_lacks_it() -> None:
    item = {name: value for name, value in ITEM.items() if name != "site"}
    assert MAPPING.index_consistent(row(item), item)


@pytest.mark.parametrize("held", ["cellar", None, ""])
def test_a_row_whose_index_column_was_changed_is_not(held: str | None) -> None:
    values = list(row(ITEM))
    values[[column.name for column in MAPPING.columns].index("site")] = held
    assert not MAPPING.index_consistent(tuple(values), ITEM)
