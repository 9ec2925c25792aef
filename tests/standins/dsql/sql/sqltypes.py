"""SQL types as DSQL takes them: which a column may have, which a key, and how they are called in a refusal."""

from typing import Any, Final

_CANONICAL: Final = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "bpchar": "character",
    "char": "character",
    "varchar": "character varying",
    "varbit": "bit varying",
    "timetz": "time with time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "decimal": "numeric",
    "dec": "numeric",
}
GEOMETRY: Final = frozenset({"point", "line", "lseg", "box", "path", "polygon", "circle"})
_RANGES: Final = {
    f"{base}{kind}" for base in ("int4", "int8", "num", "ts", "tstz", "date") for kind in ("range", "multirange")
}
_NO_COLUMN: Final = (
    GEOMETRY
    | _RANGES
    | {"money", "xml", "inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery", "bit", "bit varying", "pg_lsn"}
    | {"jsonpath", "txid_snapshot", "pg_snapshot", "refcursor", "hstore", "citext"}
)
SERIALS: Final = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})
NO_KEY: Final = frozenset({"bytea", "jsonb", "interval"})


def name_of(type_name: Any) -> str:
    """The name of a TypeName, as DSQL's messages write it; the last part, where it is qualified."""
    last = type_name.names[-1].sval
    name = _CANONICAL.get(last, last)
    return f"{name}[]" if type_name.arrayBounds else name


def plain_name(type_name: Any) -> str:
    """The last part of a TypeName's name, as it was written."""
    return str(type_name.names[-1].sval)


def is_no_column_type(type_name: Any) -> bool:
    """Whether no column may have this type, although PostgreSQL knows it."""
    return bool(type_name.arrayBounds) or name_of(type_name) in _NO_COLUMN


def is_bare_numeric(type_name: Any) -> bool:
    """Whether it is a numeric without precision, which DSQL makes numeric(18,6)."""
    return name_of(type_name) == "numeric" and not type_name.typmods


def declared_length(type_name: Any) -> int | None:
    """The length in brackets of char(n) and varchar(n)."""
    if not type_name.typmods or name_of(type_name) not in ("character", "character varying"):
        return None
    value = getattr(type_name.typmods[0], "val", None)
    return getattr(value, "ival", None)
