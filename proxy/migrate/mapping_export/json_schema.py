"""A relation as JSON Schema (draft 2020-12): a row with its JSON column, as an API or a queue would carry it.

Text only. Numbers that a double would round, and binary, are strings; timestamps are RFC 3339's.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from comparators.rules import Comparator
from proxy.migrate.mapping_export.relation import ExportedAttribute, ExportedColumn, ExportedRelation

_DOUBLE_DIGITS: Final = 15
_INTEGERS: Final = {"smallint": 15, "integer": 31, "bigint": 63}
_IMAGE: Final = {"url": {"type": "string"}, "width": {"type": "number"}, "height": {"type": "number"}}
_KINDS: Final[dict[Comparator, dict[str, Any]]] = {
    Comparator.NUMBER: {"type": "number"},
    Comparator.NUMBER_EXACT: {"type": "number"},
    Comparator.STRING: {"type": "string"},
    Comparator.BOOLEAN: {"type": "boolean"},
    Comparator.LIST: {"type": "array"},
    Comparator.UNORDERED_LIST: {"type": "array"},
    Comparator.MAP: {"type": "object"},
    Comparator.IMAGE: {"type": "object", "properties": _IMAGE},
}


def render_json_schema(relation: ExportedRelation) -> str:
    """Return the text of the schema."""
    return json.dumps(_schema(relation), indent=2, ensure_ascii=False) + "\n"


def _schema(relation: ExportedRelation) -> dict[str, Any]:
    properties = {column.name: _column(column) for column in relation.columns}
    definitions = {item_type: _data(attributes) for item_type, attributes in relation.item_types}
    properties[relation.json_column] = {"type": "object", "description": _JSON_FORM}
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": relation.sql_table,
        "description": f"A row of {relation.sql_table}: an item of DynamoDB's table {relation.table}.",
        "type": "object",
        "properties": properties,
        "required": [*(c.name for c in relation.columns if not c.nullable), relation.json_column],
        "additionalProperties": False,
    }
    if relation.type_column is not None and definitions:
        schema["$defs"] = definitions
        schema["allOf"] = [
            {
                "if": {"properties": {relation.type_column: {"const": name}}, "required": [relation.type_column]},
                "then": {"properties": {relation.json_column: {"$ref": f"#/$defs/{_pointer(name)}"}}},
            }
            for name in definitions
        ]
    return schema


_JSON_FORM: Final = (
    "The attributes without a column. What JSON cannot say is an object with one member whose name begins with $:"
    " $SS, $NS, $BS (sets), $B (binary, base64), $N (a number that a double would round), $S (a text with NUL, base64)."
)


def _column(column: ExportedColumn) -> dict[str, Any]:
    kind = _kind(column)
    if column.nullable:
        kind["type"] = [kind["type"], "null"]
    if column.attribute != column.name:
        kind["description"] = f"The attribute {column.attribute}."
    return kind


def _kind(column: ExportedColumn) -> dict[str, Any]:
    bits = _INTEGERS.get(column.sql_type)
    if bits is not None:
        return {"type": "integer", "minimum": -(2**bits), "maximum": 2**bits - 1}
    if column.sql_type == "numeric":
        exact = column.arguments[0] <= _DOUBLE_DIGITS
        return {"type": "number"} if exact else {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
    if column.sql_type == "boolean":
        return {"type": "boolean"}
    kind: dict[str, Any] = {"type": "string"}
    if column.sql_type == "varchar":
        kind["maxLength"] = column.arguments[0]
    elif column.sql_type == "uuid":
        kind["format"] = "uuid"
    elif column.sql_type == "timestamptz":
        kind["format"] = "date-time"
    elif column.sql_type == "bytea":
        kind["contentEncoding"] = "base64"
    return kind


def _data(attributes: tuple[ExportedAttribute, ...]) -> dict[str, Any]:
    """The JSON column of one item type. A value may be null, or tagged where JSON cannot say it."""
    tagged = {"type": "object", "maxProperties": 1, "patternProperties": {r"^\$": {}}, "additionalProperties": False}
    members: dict[str, Any] = {}
    for attribute in attributes:
        kind = _KINDS.get(attribute.comparator)
        members[attribute.name] = {} if kind is None else {"anyOf": [kind, {"type": "null"}, tagged]}
    return {"type": "object", "properties": members}


def _pointer(name: str) -> str:
    """Return a name as a JSON pointer within a URI fragment (RFC 6901, section 6)."""
    return quote(name.replace("~", "~0").replace("/", "~1"))
