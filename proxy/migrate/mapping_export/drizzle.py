"""A relation as a Drizzle schema in TypeScript, for `drizzle-orm/pg-core`.

Text only. A number that a double holds exactly is a `number`, any other a `string`; the driver `pg` gives both back as
text, and Drizzle turns the first into numbers (drizzle-orm, "PostgreSQL column types": numeric, `mode`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from comparators.rules import Comparator
from proxy.migrate.mapping_export.relation import (
    ExportedAttribute,
    ExportedColumn,
    ExportedIndex,
    ExportedRelation,
    camel_case,
)
from proxy.migrate.mapping_export.sql import check_of, presence_of

# A double prints any decimal of 15 significant digits back (IEEE 754, DBL_DIG).
_DOUBLE_DIGITS: Final = 15
_FUNCTIONS: Final = {
    "text": "text",
    "varchar": "varchar",
    "uuid": "uuid",
    "smallint": "smallint",
    "integer": "integer",
    "bigint": "bigint",
    "numeric": "numeric",
    "boolean": "boolean",
    "timestamptz": "timestamp",
}
_TYPESCRIPT: Final = {
    Comparator.NUMBER: "number",
    Comparator.NUMBER_EXACT: "number",
    Comparator.STRING: "string",
    Comparator.BOOLEAN: "boolean",
    Comparator.LIST: "unknown[]",
    Comparator.UNORDERED_LIST: "unknown[]",
    Comparator.MAP: "Record<string, unknown>",
    Comparator.IMAGE: "{ url: string; width: number; height: number }",
}
_BYTEA: Final = """\
const bytea = customType<{ data: Buffer }>({
  dataType() {
    return "bytea";
  },
});
"""


def render_drizzle(relation: ExportedRelation) -> str:
    """Return the text of a `schema.ts`."""
    return "\n".join(_lines(relation)) + "\n"


def _lines(relation: ExportedRelation) -> Iterator[str]:
    checked = [column for column in relation.columns if column.only]
    functions = {_FUNCTIONS.get(column.sql_type, "customType") for column in relation.columns}
    functions |= {"jsonb", "pgTable", "primaryKey"} | ({"index"} if relation.indexes else set())
    functions |= {"check"} if checked else set()
    yield f"// DynamoDB's table {_comment(relation.table)}, written from its mapping by `crossfade mapping export`."
    yield "// It describes the table that the mapping's migrations make; do not let drizzle-kit make it again."
    for name, template in relation.composites:
        yield f"// {_comment(name)} of DynamoDB is {_comment(template)}: the table has the parts."
    if checked or any(index.present for index in relation.indexes):
        yield 'import { sql } from "drizzle-orm";'
    yield f'import {{ {", ".join(sorted(functions))} }} from "drizzle-orm/pg-core";'
    yield ""
    if "customType" in functions:
        yield _BYTEA
    yield from _json_types(relation)
    name = camel_case(relation.sql_table)
    yield f"export const {name} = pgTable("
    yield f"  {_text(relation.sql_table)},"
    yield "  {"
    for column in relation.columns:
        yield from _column(column)
    yield f"    {camel_case(relation.json_column)}: jsonb({_text(relation.json_column)})"
    yield f"      .$type<{_data_type(relation)}>()"
    yield "      .notNull()"
    yield "      .default({}),"
    yield "  },"
    yield "  (table) => ["
    yield f"    primaryKey({{ columns: [{_properties(relation.key)}] }}),"
    for index in relation.indexes:
        yield from _index(index)
    for column in checked:
        yield f"    check({_text(f'chk_{column.name}')}, sql`{_template(check_of(relation, column))}`),"
    yield "  ],"
    yield ");"
    yield ""
    yield f"export type {_capital(name)}Row = typeof {name}.$inferSelect;"
    yield f"export type New{_capital(name)}Row = typeof {name}.$inferInsert;"


def _json_types(relation: ExportedRelation) -> Iterator[str]:
    """The JSON column's attributes by item type. Every one may be missing: DynamoDB requires none."""
    yield '// What JSON cannot say has one member whose name begins with $: {"$SS": [...]}, {"$NS": [...]},'
    yield '// {"$BS": [...]}, {"$B": base64}, {"$N": digits that a double would lose},'
    yield '// {"$S": base64 of a text with NUL}.'
    for item_type, attributes in relation.item_types:
        yield f"export interface {_interface(item_type)} {{"
        yield from (_member(each) for each in attributes)
        yield "  [attribute: string]: unknown;"
        yield "}"
        yield ""
    if not relation.item_types:
        yield f"export type {_data_type(relation)} = Record<string, unknown>;"
        yield ""
        return
    names = [_interface(item_type) for item_type, _ in relation.item_types]
    yield f"export type {_data_type(relation)} = {' | '.join(names)};"
    yield ""


def _member(attribute: ExportedAttribute) -> str:
    return f"  {_text(attribute.name)}?: {_TYPESCRIPT.get(attribute.comparator, 'unknown')} | null;"


def _column(column: ExportedColumn) -> Iterator[str]:
    if column.binary_as_text:
        yield "    // Binary, as base64 in an alphabet that sorts as the bytes do (docs/mapping.md)."
    if column.sql_type == "timestamptz":
        yield "    // Epoch milliseconds in DynamoDB. A Date keeps no fraction of one; mode: 'string' does."
    if column.refers_to:
        yield f"    // The {_comment(column.refers_to)}; a FOREIGN KEY would refuse rows that arrive before it."
    ending = "" if column.nullable else ".notNull()"
    yield f"    {camel_case(column.name)}: {_builder(column)}{ending},"


def _builder(column: ExportedColumn) -> str:
    name = _text(column.name)
    if column.sql_type == "bytea":
        return f"bytea({name})"
    function = _FUNCTIONS[column.sql_type]
    if column.sql_type == "varchar":
        return f"{function}({name}, {{ length: {column.arguments[0]} }})"
    if column.sql_type == "timestamptz":
        return f"{function}({name}, {{ withTimezone: true }})"
    if column.sql_type == "bigint":
        return f'{function}({name}, {{ mode: "bigint" }})'
    if column.sql_type == "numeric":
        precision, scale = column.arguments[0], column.arguments[1] if len(column.arguments) > 1 else 0
        mode = ', mode: "number"' if precision <= _DOUBLE_DIGITS else ""
        return f"{function}({name}, {{ precision: {precision}, scale: {scale}{mode} }})"
    return f"{function}({name})"


def _index(index: ExportedIndex) -> Iterator[str]:
    where = f"\n      .where(sql`{_template(presence_of(index))}`)" if index.present else ""
    yield f"    // Serves DynamoDB's index {_comment(index.serves)}."
    yield f"    index({_text(index.name)})"
    yield f"      .on({_properties(index.columns)}){where},"


def _properties(columns: tuple[str, ...]) -> str:
    return ", ".join(f"table.{camel_case(name)}" for name in columns)


def _data_type(relation: ExportedRelation) -> str:
    return _capital(camel_case(f"{relation.sql_table} {relation.json_column}"))


def _interface(item_type: str) -> str:
    return f"{_capital(camel_case(item_type))}Data"


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _template(sql: str) -> str:
    """Return SQL for a template literal of TypeScript."""
    return sql.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")


def _comment(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
