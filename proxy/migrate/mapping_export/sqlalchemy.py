"""A relation as a SQLAlchemy 2 declarative model, for the dialect of `aurora-dsql-sqlalchemy`.

Text only. Numbers are `Decimal` and timestamps are aware datetimes, which hold what the columns hold.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Final

from proxy.migrate.mapping_export.relation import ExportedColumn, ExportedIndex, ExportedRelation, camel_case
from proxy.migrate.mapping_export.sql import check_of, presence_of

# SQLAlchemy's name of the type, and the Python type of its values.
_TYPES: Final = {
    "text": ("Text", "str"),
    "varchar": ("String", "str"),
    "uuid": ("Uuid", "UUID"),
    "smallint": ("SmallInteger", "int"),
    "integer": ("Integer", "int"),
    "bigint": ("BigInteger", "int"),
    "numeric": ("Numeric", "Decimal"),
    "boolean": ("Boolean", "bool"),
    "bytea": ("LargeBinary", "bytes"),
    "timestamptz": ("DateTime", "datetime"),
}
_IMPORTS: Final = {"UUID": "from uuid import UUID", "Decimal": "from decimal import Decimal"}
# Names that a declarative class keeps for itself (SQLAlchemy, "Declarative Mapping": reserved names).
_RESERVED: Final = frozenset({"metadata", "registry"})


def render_sqlalchemy(relation: ExportedRelation) -> str:
    """Return the text of a module with one model."""
    return "\n".join(_lines(relation)) + "\n"


def _lines(relation: ExportedRelation) -> Iterator[str]:
    checked = [column for column in relation.columns if column.only]
    python = {_TYPES[column.sql_type][1] for column in relation.columns}
    imported = {_TYPES[column.sql_type][0] for column in relation.columns}
    imported |= {"Index"} if relation.indexes else set()
    imported |= {"text"} if relation.indexes or checked else set()
    imported |= {"CheckConstraint"} if checked else set()
    yield f'"""DynamoDB\'s table {_comment(relation.table)}, written from its mapping by `crossfade mapping export`.'
    yield ""
    yield "The mapping's migrations make the table; the model describes it."
    for name, template in relation.composites:
        yield f"{_comment(name)} of DynamoDB is {_comment(template)}: the table has the parts."
    yield '"""'
    yield ""
    if "datetime" in python:
        yield "from datetime import datetime"
    yield from (_IMPORTS[each] for each in sorted(python & set(_IMPORTS)))
    yield "from typing import Any"
    yield ""
    yield f"from sqlalchemy import {', '.join(sorted(imported))}"
    yield "from sqlalchemy.dialects.postgresql import JSONB"
    yield "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column"
    yield ""
    yield ""
    yield "class Base(DeclarativeBase):"
    yield '    """The base of the models."""'
    yield ""
    yield ""
    yield f"class {_class(relation.sql_table)}(Base):"
    yield f'    """A row of {_comment(relation.sql_table)}: an item of DynamoDB\'s table {_comment(relation.table)}."""'
    yield ""
    yield f"    __tablename__ = {relation.sql_table!r}"
    yield ""
    for column in relation.columns:
        yield from _column(column, column.name in relation.key)
    yield f"    {_attribute(relation.json_column)}: Mapped[dict[str, Any]] = mapped_column("
    yield f"        {relation.json_column!r}, JSONB, default=dict"
    yield "    )"
    if relation.indexes or checked:
        yield ""
        yield "    __table_args__ = ("
        for index in relation.indexes:
            yield from _index(index)
        for column in checked:
            condition = check_of(relation, column)
            yield f"        CheckConstraint(text({condition!r}), name={f'chk_{column.name}'!r}),"
        yield "    )"


def _column(column: ExportedColumn, in_key: bool) -> Iterator[str]:
    name, python = _TYPES[column.sql_type]
    if column.sql_type == "timestamptz":
        name += "(timezone=True)"
    elif column.arguments:
        name += f"({', '.join(map(str, column.arguments))})"
    if column.binary_as_text:
        yield "    # Binary, as base64 in an alphabet that sorts as the bytes do (docs/mapping.md)."
    if column.refers_to:
        yield f"    # The {_comment(column.refers_to)}; a FOREIGN KEY would refuse rows that arrive before it."
    if column.sql_type == "timestamptz":
        yield "    # Epoch milliseconds in DynamoDB."
    options = ", primary_key=True" if in_key else ""
    annotation = f"{python} | None" if column.nullable else python
    yield f"    {_attribute(column.name)}: Mapped[{annotation}] = mapped_column({column.name!r}, {name}{options})"


def _index(index: ExportedIndex) -> Iterator[str]:
    columns = ", ".join(repr(each) for each in index.columns)
    where = f", postgresql_where=text({presence_of(index)!r})" if index.present else ""
    yield f"        # Serves DynamoDB's index {_comment(index.serves)}."
    yield f"        Index({index.name!r}, {columns}{where}),"


def _class(name: str) -> str:
    camel = camel_case(name)
    return f"{camel[0].upper()}{camel[1:]}Row"


def _attribute(name: str) -> str:
    """Return an attribute's name in Python; the column keeps its own."""
    made = name if name.isidentifier() else camel_case(name)
    return f"{made}_" if keyword.iskeyword(made) or made in _RESERVED else made


def _comment(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split()).replace('"""', "'''")
