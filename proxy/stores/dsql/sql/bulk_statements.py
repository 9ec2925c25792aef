"""The SQL of backfill and verify: many rows of one table at a time. Text only: no connection, no values.

Keys and rows go out as one text a column: an array as PostgreSQL reads it (`array_text`), which a cast gives its type
and `unnest` makes rows of. So it is one statement however many rows there are, and no array parameter, which asyncpg
would take apart element by element. Everything else is what `sql` uses too; nothing is asked of DSQL that is not in
PostgreSQL's manual under "Binary String Functions", "Aggregate Functions" and "Array Functions".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import takewhile

from proxy.mapping.interface import Column, SqlValues, TableMapping
from proxy.stores.dsql.sql.checksums import AGGREGATE, DIGEST_BYTES, RowText
from proxy.stores.dsql.sql.statements import qualified, quoted

# 56 bits of a key's hash that are not among those that choose its bucket. Their sum over a bucket is exact: sum(bigint)
# is a numeric.
_VALUE = " | ".join(f"(get_byte(h, {n})::bigint << {8 * (8 - n)})" for n in range(2, 9))
_BUCKET = "(get_byte(h, 0) * 256 + get_byte(h, 1))"
BUCKETS = 65_536


@dataclass(frozen=True, slots=True)
class BulkStatements:
    """The statements for one mapping, made once. `keys` stands for one array for each key column, as text."""

    schema: str
    mapping: TableMapping
    row: RowText = field(init=False)
    key: RowText = field(init=False)
    insert: str = field(init=False)
    """Parameters: one array, as text, for each column. Rows whose key is there stay as they are."""
    digests: str = field(init=False)
    """Parameters: keys. Gives (place among the keys, digest) of those that have a row."""
    digest_of_all: str = field(init=False)
    """Parameters: keys. Gives (how many have a row, one digest of all their rows)."""
    key_of: Callable[[SqlValues], SqlValues] = field(init=False)
    """The key's values among a row's."""
    _table: str = field(init=False)
    _keys: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        by_name = {column.name: column for column in self.mapping.columns}
        keys = tuple(by_name[name] for name in self.mapping.key_columns)
        table = qualified(self.schema, self.mapping.sql_table)
        set_(self, "_table", table)
        set_(self, "_keys", keys)
        places = [self.mapping.columns.index(column) for column in keys]
        set_(self, "key_of", lambda values: tuple([values[place] for place in places]))
        set_(self, "row", RowText.of_row(self.mapping))
        set_(self, "key", RowText.of_key(self.mapping))
        columns = self.mapping.columns
        names = ", ".join(quoted(column.name) for column in columns)
        conflict = ", ".join(quoted(column.name) for column in keys)
        set_(
            self,
            "insert",
            f"INSERT INTO {table} ({names}) SELECT * FROM {_unnest(columns)} "  # noqa: S608
            f"ON CONFLICT ({conflict}) DO NOTHING",
        )
        # The table's columns are named bare in the digest: no column of DynamoDB's making is called like these.
        wanted = [f'"crossfade key {n}"' for n in range(len(keys))]
        given = f'{_unnest(keys)} WITH ORDINALITY AS wanted({", ".join(wanted)}, "crossfade place")'
        join = " AND ".join(f"{quoted(column.name)} = {name}" for column, name in zip(keys, wanted, strict=True))
        digest = f"substring({self.row.sql_hash} FROM 1 FOR {DIGEST_BYTES}) AS digest"
        set_(
            self,
            "digests",
            f'SELECT "crossfade place" AS place, {digest} FROM {given} JOIN {table} ON {join}',  # noqa: S608
        )
        set_(
            self,
            "digest_of_all",
            f"SELECT count(*) AS rows, {AGGREGATE} AS digest "  # noqa: S608
            f"FROM (SELECT {digest} FROM {given} JOIN {table} ON {join}) AS found",
        )

    def end_of_slice(self, *, after: bool) -> str:
        """The key that is so many rows after a key, or after the beginning. Parameters: that key, the number."""
        number = f"${len(self._keys) + 1 if after else 1}"
        return (
            f"SELECT {self._names} FROM {self._table}{self._range(after=after, upto=False)} "  # noqa: S608
            f"ORDER BY {self._names} OFFSET {number}::bigint LIMIT 1"
        )

    def sums(self, *, after: bool, upto: bool) -> str:
        """(bucket, rows, sum of their keys' values) of a slice. Parameters: the slice's bounds, how many buckets."""
        count = f"${self._bounds(after=after, upto=upto) + 1}"
        # OFFSET 0 keeps the hash from being computed anew for each byte that is taken from it.
        return (
            f"SELECT {_BUCKET} % {count}::int AS bucket, count(*) AS rows, sum({_VALUE}) AS total "  # noqa: S608
            f"FROM (SELECT {self.key.sql_hash} AS h FROM {self._table}{self._range(after=after, upto=upto)} OFFSET 0) "
            f"AS hashed GROUP BY bucket"
        )

    def in_buckets(self, *, after: bool, upto: bool) -> str:
        """The rows of some buckets in a slice. Parameters: the slice's bounds, how many buckets, which (`text[]`)."""
        place = self._bounds(after=after, upto=upto)
        listed = ", ".join(
            f"{quoted(c.name)}::text AS {quoted(c.name)}" if c.as_text else quoted(c.name) for c in self.mapping.columns
        )
        where = self._range(after=after, upto=upto) or " WHERE true"
        bucket = _BUCKET.replace("(h,", f"({self.key.sql_hash},")
        return (
            f"SELECT {listed} FROM {self._table}{where} "  # noqa: S608
            f"AND {bucket} % ${place + 1}::int = ANY(${place + 2}::text[]::int[])"
        )

    def counts(self, column: str | None, *, after: bool, upto: bool) -> str:
        """(type, rows) of a slice, or ("", rows) where no column holds the type. Parameters: the slice's bounds."""
        kind = "''" if column is None else f"{quoted(column)}::text"
        where = self._range(after=after, upto=upto)
        return f"SELECT {kind} AS type, count(*) AS rows FROM {self._table}{where} GROUP BY 1"  # noqa: S608

    def dangling(self, attribute: str, to: str, type_column: str | None, *, after: bool, upto: bool) -> str:
        """(rows that refer, rows whose reference leads nowhere) of a slice.

        Parameters: the slice's bounds and, with `type_column`, the type that is referred to.
        """
        # One look-up by key for each row. EXISTS could be answered from a hash of all rows, which grows with the table.
        there = f"SELECT 1 FROM {self._table} AS there WHERE there.{quoted(to)} = here.{quoted(attribute)}"  # noqa: S608
        if type_column is not None:
            there += f" AND there.{quoted(type_column)} = ${self._bounds(after=after, upto=upto) + 1}"
        where = self._range(after=after, upto=upto) or " WHERE true"
        return (
            f"SELECT count(*) AS refer, count(*) FILTER (WHERE ({there} LIMIT 1) IS NULL) AS dangling "  # noqa: S608
            f"FROM {self._table} AS here{where} AND here.{quoted(attribute)} IS NOT NULL"
        )

    def looks_up(self, equal: Collection[str], column: str) -> bool:
        """Whether a key or an index finds the rows with given values of the columns `equal`, `column` among them."""
        for key in (self.mapping.key_columns, *self.mapping.index_columns):
            known = [*takewhile(lambda name: name in equal, key)]
            if column in known:
                return True
        return False

    @property
    def analyze(self) -> str:
        """Collect statistics, without which a new table's indexes may be left unused."""
        return f"ANALYZE {self._table}"

    @property
    def _names(self) -> str:
        return ", ".join(quoted(column.name) for column in self._keys)

    def _bounds(self, *, after: bool, upto: bool) -> int:
        return len(self._keys) * (int(after) + int(upto))

    def _range(self, *, after: bool, upto: bool) -> str:
        wide = len(self._keys)
        first = ", ".join(f"${n + 1}" for n in range(wide))
        second = ", ".join(f"${n + 1 + (wide if after else 0)}" for n in range(wide))
        # The first column's bounds follow from the others', and are all that DSQL is known to look up in an index.
        leading = quoted(self._keys[0].name)
        terms = [f"{leading} >= $1", f"({self._names}) > ({first})"] if after else []
        if upto:
            terms += [f"{leading} <= ${1 + (wide if after else 0)}", f"({self._names}) <= ({second})"]
        return f" WHERE {' AND '.join(terms)}" if terms else ""


def _unnest(columns: tuple[Column, ...]) -> str:
    return "unnest(" + ", ".join(f"${n}::text::{column.sql_type}[]" for n, column in enumerate(columns, 1)) + ")"
