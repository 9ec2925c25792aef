"""One digest of a row, told by the database and by Python alike, so that equal rows need not be moved to be compared.

Both sides write the row down as one text and hash that. The text has, for each column, the length and the content of
its text form, or `-` for NULL, so that no two different rows have one text. Text forms are chosen to be exact and
independent of settings: `numeric` prints the decimals of its scale, `extract(epoch …)` six decimals, `jsonb` its keys
by length and then bytes ("Numeric Types", "Date/Time Functions", "JSON Types", PostgreSQL manual; Aurora DSQL is
PostgreSQL 16's SQL over its own storage, "Aurora DSQL and PostgreSQL"). Text and arithmetic only: no I/O. A digest that
differs says "look"; it never says "differs".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import orjson

from proxy.mapping.interface import Column, SqlValues, TableMapping
from proxy.stores.dsql.sql.statements import quoted

DIGEST_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FEW_NAMES: Final = 16


@dataclass(frozen=True, slots=True)
class TextForm:
    """A column's text form: the SQL that makes it, and how Python makes it from a parameter for the column."""

    sql: str
    text: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class RowText:
    """The text of some of a mapping's columns.

    `sql` is an expression over the table's columns, `digest` gives the first bytes of its SHA-256 for parameters as
    `Mapping.encode` makes them.
    """

    columns: tuple[Column, ...]
    places: tuple[int, ...]
    sql: str = field(init=False)
    _forms: tuple[tuple[int, Callable[[Any], str]], ...] = field(init=False)

    def __post_init__(self) -> None:
        forms = [form(self.columns[place]) for place in self.places]
        parts = [f"coalesce(length({each.sql})::text || ':' || {each.sql}, '-')" for each in forms]
        object.__setattr__(self, "sql", " || ".join(parts))
        texts = [(place, each.text) for place, each in zip(self.places, forms, strict=True)]
        object.__setattr__(self, "_forms", tuple(texts))

    @classmethod
    def of_row(cls, mapping: TableMapping) -> RowText:
        """All columns."""
        return cls(tuple(mapping.columns), tuple(range(len(mapping.columns))))

    @classmethod
    def of_key(cls, mapping: TableMapping) -> RowText:
        """The columns of the key; `text` and `digest` take the key's values, not the row's."""
        by_name = {column.name: column for column in mapping.columns}
        columns = tuple(by_name[name] for name in mapping.key_columns)
        return cls(columns, tuple(range(len(columns))))

    @property
    def sql_hash(self) -> str:
        """The whole SHA-256, as bytea."""
        return f"sha256(convert_to({self.sql}, 'UTF8'))"

    def text(self, values: SqlValues) -> str:
        parts = []
        for place, text_of in self._forms:
            value = values[place]
            if value is None:
                parts.append("-")
            else:
                text = text_of(value)
                parts.append(f"{len(text)}:{text}")
        return "".join(parts)

    def digest(self, values: SqlValues) -> bytes:
        return self.whole(values)[:DIGEST_BYTES]

    def whole(self, values: SqlValues) -> bytes:
        return sha256(self.text(values).encode()).digest()


def of_all(digests: Iterable[bytes]) -> bytes:
    """One digest of many, whatever their order: what `AGGREGATE` gives."""
    return sha256(b"".join(sorted(digests))).digest()


# Over rows with the column `digest`. bytea sorts as Python's bytes do.
AGGREGATE: Final = "sha256(coalesce(string_agg(digest, ''::bytea ORDER BY digest), ''::bytea))"


def form(column: Column) -> TextForm:
    """The text form of a column. Raises ValueError for a type that has none."""
    name = quoted(column.name)
    kind = column.sql_type.partition("(")[0]
    if kind in ("text", "varchar"):
        return TextForm(name, as_it_is)
    if kind in ("uuid", "smallint", "integer", "bigint"):
        return TextForm(f"{name}::text", str)
    if kind == "numeric":
        # A parameter has the column's scale already: all its codecs quantize.
        return TextForm(f"{name}::text", _plain)
    if kind == "boolean":
        return TextForm(f"{name}::text", lambda value: "true" if value else "false")
    if kind == "bytea":
        return TextForm(f"encode({name}, 'hex')", lambda value: bytes(value).hex())
    if kind == "timestamptz":
        return TextForm(f"extract(epoch FROM {name})::text", _seconds)
    if kind == "json":
        return TextForm(f"{name}::text", as_it_is)
    if kind == "jsonb":
        return TextForm(f"{name}::text", jsonb_text)
    raise ValueError(f"a column of type {column.sql_type} has no text form")


def jsonb_text(text: str) -> str:
    """What PostgreSQL prints for `text::jsonb`: keys by length in bytes and then by bytes, a blank after `,` and `:`,
    numbers as plain decimals.

    `text` must be orjson's, which writes each key once and no zeros to spare.
    """
    held = orjson.loads(text)
    written = _write(_sorted(held))
    # Floats are rare, those that Python writes with an exponent rarer still: only then is it all written by hand.
    exponent = ("e-" in written or "e+" in written) and _has_exponent(held)
    # A numeric knows no negative zero.
    return _written(held) if exponent or "-0.0" in written else written


# Made once: json.dumps makes one for each call that does not leave everything as it is by default.
_write: Final = json.JSONEncoder(ensure_ascii=False).encode


def _sorted(held: Any) -> Any:
    if type(held) is dict:
        names = _order(tuple(held)) if len(held) <= _FEW_NAMES else sorted(held, key=_rank)
        return {name: value if type(value := held[name]) is str else _sorted(value) for name in names}
    if type(held) is list:
        return [_sorted(value) for value in held]
    return held


@lru_cache(maxsize=1024)
def _order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Items of a table have few sets of names. Maps of many names are likely keyed by something else, and not kept."""
    return tuple(sorted(names, key=_rank))


def _rank(name: str) -> tuple[int, str]:
    # UTF-8 sorts as code points do.
    return (len(name) if name.isascii() else len(name.encode())), name


def _has_exponent(held: Any) -> bool:
    if type(held) is float:
        return "e" in repr(held)
    if type(held) is dict:
        return any(_has_exponent(value) for value in held.values())
    return type(held) is list and any(_has_exponent(value) for value in held)


def _written(held: Any) -> str:
    if type(held) is dict:
        return "{" + ", ".join(f"{_quote(n)}: {_written(held[n])}" for n in sorted(held, key=_rank)) + "}"
    if type(held) is list:
        return "[" + ", ".join(map(_written, held)) + "]"
    if type(held) is float:
        return format(Decimal(repr(held)), "f") if held else "0.0"
    return json.dumps(held, ensure_ascii=False)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def as_it_is(value: Any) -> str:
    """The text form of what is text already."""
    text: str = value
    return text


def _plain(value: Any) -> str:
    return format(value or abs(value), "f")


def _seconds(value: Any) -> str:
    since = value - _EPOCH
    if since.days >= 0:
        return f"{since.days * 86_400 + since.seconds}.{since.microseconds:06d}"
    microseconds = since // _MICROSECOND
    whole, part = divmod(abs(microseconds), 1_000_000)
    return f"-{whole}.{part:06d}"


def parameters(columns: Sequence[Column]) -> tuple[Callable[[Any], str], ...]:
    """For each column, how a parameter is written as an element of an array that SQL reads as the column's type."""
    return tuple(_PARAMETER.get(column.sql_type.partition("(")[0], str) for column in columns)


_PARAMETER: Final[dict[str, Callable[[Any], str]]] = {
    "text": as_it_is,
    "varchar": as_it_is,
    "json": as_it_is,
    "jsonb": as_it_is,
    "numeric": _plain,
    "boolean": lambda value: "true" if value else "false",
    "bytea": lambda value: "\\x" + bytes(value).hex(),
    "timestamptz": lambda value: value.isoformat(),
}
