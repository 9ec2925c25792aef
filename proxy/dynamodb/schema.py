"""A table's keys and indexes, as DescribeTable tells them, and the keys of its items.

Pure: reads documents, asks nobody. A `Key` is the one name an item has in the journal, in logs (hashed) and between
the stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.dynamodb import errors
from proxy.dynamodb.errors import SchemaMismatch
from proxy.dynamodb.sizes import MAX_HASH_KEY_SIZE, MAX_RANGE_KEY_SIZE, value_size
from proxy.dynamodb.values import Item, Value, canonical

_ARN_TABLE: Final = ":table/"
MOST_KEY_ATTRIBUTES: Final = 4
"""A global index's hash attributes at most, and its range attributes at most."""


def table_name(name_or_arn: str) -> str:
    """DynamoDB takes a table's ARN wherever it takes its name (API reference, "TableName")."""
    if name_or_arn.startswith("arn:") and _ARN_TABLE in name_or_arn:
        return name_or_arn.partition(_ARN_TABLE)[2].partition("/")[0]
    return name_or_arn


@dataclass(frozen=True, slots=True)
class Key:
    """One item's primary key: its table and the canonical JSON of its key attributes, in a fixed order."""

    table: str
    text: str

    @property
    def attributes(self) -> Item:
        """The key as DynamoDB's `Key` parameter wants it."""
        parsed: Item = orjson.loads(self.text)
        return parsed


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. `projected` is None for ALL, else the attributes that it holds beside the keys.

    A global index has one to four hash attributes and at most four range attributes, in their order ("Multi-attribute
    keys pattern", developer guide); a local index has one of each.
    """

    name: str
    hashes: tuple[str, ...]
    ranges: tuple[str, ...]
    projected: frozenset[str] | None
    local: bool

    @property
    def key_names(self) -> tuple[str, ...]:
        return (*self.hashes, *self.ranges)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Key attributes, their types (`S`, `N`, `B`) and the indexes of one table."""

    name: str
    hash: str
    range: str | None
    types: Mapping[str, str]
    indexes: Mapping[str, Index]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Indexes of the description that are not understood: by name, why."""

    @classmethod
    def from_description(cls, table: Mapping[str, Any]) -> TableSchema:
        """From DescribeTable's `Table`, CreateTable's `TableDescription`, or a CreateTable request.

        A description is a foreign format. An index in it that is not understood is left out, and data operations go on:
        one that is being deleted may lack its KeySchema or its attributes' definitions. Raises ValueError for a table
        whose own key is not understood.
        """
        try:
            name = table_name(table["TableName"])
            types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
            hashes, ranges = _key_schema(table["KeySchema"], types, most=1)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"the description lacks {error}") from error
        indexes: dict[str, Index] = {}
        left_out: dict[str, str] = {}
        for parameter, local in (("GlobalSecondaryIndexes", False), ("LocalSecondaryIndexes", True)):
            listed = table.get(parameter) or []
            if not isinstance(listed, list):
                left_out[parameter] = "it is no list"
                continue
            for number, index in enumerate(listed):
                try:
                    indexes[index["IndexName"]] = _index(index, types, local=local)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    named = index.get("IndexName") if isinstance(index, dict) else None
                    why = str(error) if isinstance(error, ValueError) else f"its description lacks {error}"
                    left_out[str(named or f"{parameter}.{number}")] = why
        vector_indexes = table.get("VectorIndexes")
        for index in vector_indexes if isinstance(vector_indexes, list) else ():
            if isinstance(index, dict):
                left_out[str(index.get("IndexName"))] = "it is a vector index, which no SQL index serves"
        return cls(name, hashes[0], ranges[0] if ranges else None, types, indexes, left_out)

    @property
    def key_names(self) -> tuple[str, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)

    def key_of(self, attributes: Item) -> Key:
        """The key in an item or in a `Key` parameter.

        Raises DynamoDB's ValidationException where a key attribute is missing or has another type than the table's.
        """
        parts: Item = {}
        for name in self.key_names:
            value = attributes.get(name)
            if value is None:
                raise SchemaMismatch(f"One or more parameter values were invalid: Missing the key {name} in the item")
            expected = self.types[name]
            if expected not in value:
                actual = next(iter(value), "NULL")
                raise SchemaMismatch(
                    f"One or more parameter values were invalid: Type mismatch for key {name} "
                    f"expected: {expected} actual: {actual}"
                )
            parts[name] = canonical(value)
        return Key(self.name, orjson.dumps(parts).decode())

    def check_key(self, key: Key) -> None:
        """Raises ValidationException for a key that no item can have: with an empty value, or one that is too long
        ("Quotas in Amazon DynamoDB", Partition keys and sort keys)."""
        # A character has at most four bytes in UTF-8, and the limits are in bytes.
        if '""' not in key.text and len(key.text) * 4 <= MAX_RANGE_KEY_SIZE:
            return
        for name, value in key.attributes.items():
            if value in ({"S": ""}, {"B": ""}):
                kind = "string" if "S" in value else "binary"
                raise errors.validation(
                    "One or more parameter values are not valid. "
                    f"The AttributeValue for a key attribute cannot contain an empty {kind} value. Key: {name}"
                )
            limit = MAX_HASH_KEY_SIZE if name == self.hash else MAX_RANGE_KEY_SIZE
            if value_size(value) > limit:
                role = "hashkey" if name == self.hash else "rangekey"
                raise errors.validation(
                    "One or more parameter values were invalid: "
                    f"Size of {role} has exceeded the maximum size limit of{limit} bytes"
                )

    def key_parameter(self, attributes: Item) -> Key:
        """The key in a `Key` parameter, which must hold the key attributes and nothing else."""
        if len(attributes) != len(self.key_names) or any(
            self.types[name] not in attributes.get(name, {}) for name in self.key_names
        ):
            raise errors.key_mismatch()
        return self.key_of(attributes)

    def has_form(self, key: Key) -> bool:
        """Whether the table can have an item of this key, which may be that of an earlier table of the same name."""
        attributes = key.attributes
        return set(attributes) == set(self.key_names) and all(self.types[n] in attributes[n] for n in attributes)

    def index_keys(self, index: Index | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The hash attributes and the range attributes of the table (None) or of an index."""
        if index is not None:
            return index.hashes, index.ranges
        return (self.hash,), () if self.range is None else (self.range,)

    def held_names(self, index: Index) -> frozenset[str] | None:
        """The attributes that an index holds of an item; None for all of them."""
        if index.projected is None:
            return None
        return index.projected.union(self.key_names, index.key_names)

    def in_index(self, index: Index, item: Item) -> bool:
        """Whether a sparse index holds the item: it must have the index's key attributes, of the index's types."""
        return all(self.types[name] in item.get(name, {}) for name in index.key_names)

    def cursor(self, index: Index | None, item: Item) -> dict[str, Value]:
        """`LastEvaluatedKey` at an item: the table's key attributes and, for an index, the index's too."""
        return {name: item[name] for name in self.cursor_names(index)}

    def cursor_names(self, index: Index | None) -> tuple[str, ...]:
        """The attributes of a cursor: the table's key and, for an index, the index's too."""
        names = dict.fromkeys(self.key_names)
        if index is not None:
            names.update(dict.fromkeys(index.key_names))
        return tuple(names)


def _key_schema(elements: Any, types: Mapping[str, str], *, most: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hash and the range attributes, at most `most` of each. Raises ValueError for a key of another form, and
    KeyError or TypeError."""
    roles: dict[str, list[str]] = {"HASH": [], "RANGE": []}
    for element in elements:
        roles[element["KeyType"]].append(element["AttributeName"])
    if not roles["HASH"]:
        raise ValueError("its key has no hash attribute")
    if max(map(len, roles.values())) > most:
        several = "several" if most == 1 else f"more than {most}"
        raise ValueError(f"its key has {several} hash or range attributes")
    names = (*roles["HASH"], *roles["RANGE"])
    if len(set(names)) < len(names):
        raise ValueError("its key names an attribute twice")
    for name in names:
        if types.get(name) not in ("S", "N", "B"):
            raise ValueError(f"its key attribute {name} is not defined")
    return tuple(roles["HASH"]), tuple(roles["RANGE"])


def _index(index: Mapping[str, Any], types: Mapping[str, str], *, local: bool) -> Index:
    if index.get("IndexStatus") == "DELETING":
        raise ValueError("it is being deleted")
    hashes, ranges = _key_schema(index["KeySchema"], types, most=1 if local else MOST_KEY_ATTRIBUTES)
    projection = index.get("Projection") or {}
    kind = projection.get("ProjectionType", "ALL")
    projected = None if kind == "ALL" else frozenset(projection.get("NonKeyAttributes") or ())
    return Index(str(index["IndexName"]), hashes, ranges, projected, local)
