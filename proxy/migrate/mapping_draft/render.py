"""Renders a drafted mapping: the TOML that `proxy.mapping.load` reads, and the SQL that creates its table.

Text only. The SQL is in DSQL's dialect, with one statement per file, as migrations require. Names are always quoted, so
that no attribute's name is taken for an SQL keyword.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from proxy.migrate.mapping_draft.draft import Draft
from proxy.stores.dsql.sql.statements import quoted

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def render_toml(draft: Draft) -> str:
    """Return the text of the mapping file."""
    return "\n".join(_toml_lines(draft)) + "\n"


def render_migrations(draft: Draft) -> dict[str, str]:
    """Return the SQL files by name: the table, then each index."""
    lines = [f"  {quoted(column.name)} {column.sql_type}{_not_null(draft, column.name)}," for column in draft.columns]
    lines.append(f"  {quoted(draft.json_column)} jsonb NOT NULL DEFAULT '{{}}'::jsonb,")
    lines.append(f"  PRIMARY KEY ({_name_list(draft.key_columns)})")
    body = "\n".join(lines)
    what = f"-- DynamoDB's table {draft.table}, drafted from {draft.items} of its items by `crossfade mapping init`."
    files = {f"0001_{draft.sql_table}.sql": f"{what}\nCREATE TABLE {quoted(draft.sql_table)} (\n{body}\n);\n"}
    for number, index in enumerate(draft.indexes, 2):
        where = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in index.sparse)
        statement = f"CREATE INDEX ASYNC {quoted(index.sql_index)} ON {quoted(draft.sql_table)} "
        statement += f"({_name_list(index.columns)}){f' WHERE {where}' if where else ''};"
        files[f"{number:04}_{index.sql_index}.sql"] = (
            f"-- Serves DynamoDB's index {_comment_text(index.name)}.\n{statement}\n"
        )
    return files


def _toml_lines(draft: Draft) -> Iterator[str]:
    yield f"# A first mapping of DynamoDB's table {draft.table}, drafted from {draft.items} of its items."
    yield "# Review it; `crossfade preflight` then says what it could not hold of the whole table."
    yield from (f"# Left out: {_comment_text(each)}." for each in draft.left_out)
    yield ""
    yield f"table = {_toml_string(draft.table)}"
    yield f"sql_table = {_toml_string(draft.sql_table)}"
    yield f"json_column = {_toml_string(draft.json_column)}"
    if draft.type_attribute is not None:
        yield f"type_attribute = {_toml_string(draft.type_attribute)}"
    if draft.composites:
        yield ""
        yield "# Attributes made of others. They are not stored; they are made again when a row is read."
        yield "[composites]"
        yield from (f"{_toml_key(name)} = {_toml_string(each.template)}" for name, each in draft.composites.items())
    yield ""
    yield "[key]"
    if draft.key is not None:
        yield f"composite = {_toml_string(draft.key)}"
    yield f"columns = [{', '.join(_toml_string(name) for name in draft.key_columns)}]"
    yield ""
    yield f"# A value that its column cannot hold exactly stays in {_comment_text(draft.json_column)}: nothing is lost."
    yield "# A column of a key or an index has no such way out, so make it wide enough for the values to come."
    yield "[columns]"
    for column in draft.columns:
        attribute = f"attribute = {_toml_string(column.attribute)}, " if column.attribute != column.name else ""
        holds = ', holds = "B"' if column.binary else ""
        yield f"{_toml_key(column.name)} = {{ {attribute}type = {_toml_string(column.sql_type)}{holds} }}"
    for index in draft.indexes:
        yield ""
        yield f"[indexes.{_toml_key(index.name)}]"
        yield f"hash = {_one_or_list(index.hashes)}"
        if index.ranges:
            yield f"range = {_one_or_list(index.ranges)}"
        yield f"sql_index = {_toml_string(index.sql_index)}"
    for reference in draft.references:
        yield ""
        yield f"# In the sample, each {_comment_text(reference.attribute)} is the {reference.to} of such an item."
        yield f"[references.{_toml_key(reference.attribute)}]"
        yield f"to = {_toml_string(reference.to)}"
        yield f"type = {_toml_string(reference.item_type)}"
    for item_type, comparators in draft.comparators.items():
        yield ""
        yield f"[types.{_toml_key(item_type)}]"
        yield from (f"{_toml_key(name)} = {_toml_string(comparator)}" for name, comparator in comparators.items())


def _not_null(draft: Draft, column: str) -> str:
    return " NOT NULL" if column in draft.key_columns else ""


def _name_list(names: tuple[str, ...]) -> str:
    return ", ".join(quoted(name) for name in names)


def _toml_key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml_string(name)


def _one_or_list(names: tuple[str, ...]) -> str:
    return _toml_string(names[0]) if len(names) == 1 else f"[{', '.join(map(_toml_string, names))}]"


def _toml_string(text: str) -> str:
    """Return a TOML string. JSON's escapes are valid in TOML, but JSON leaves DEL unescaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment_text(text: str) -> str:
    """Return the text without characters that would end the comment's line."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", " ", text).split())
