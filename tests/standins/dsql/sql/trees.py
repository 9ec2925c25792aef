"""Walking PostgreSQL's parse trees (pglast), and what every rule wants to know of one. Knows no rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pglast import ast


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that DSQL answers instead of carrying a statement out."""

    sqlstate: str
    message: str


class Relation(NamedTuple):
    """A table as a statement names it."""

    schema: str | None
    name: str


def unsupported(message: str) -> Refusal:
    """The usual refusal."""
    return Refusal("0A000", message)


def walk(node: Any) -> Iterator[Any]:
    """The node and every node below it."""
    stack = [node]
    while stack:
        at = stack.pop()
        if isinstance(at, tuple):
            stack.extend(reversed(at))
        elif isinstance(at, ast.Node):
            yield at
            stack.extend(reversed([getattr(at, name) for name in at]))


def below(node: Any, kind: type) -> Iterator[Any]:
    """The nodes of one kind."""
    return (each for each in walk(node) if isinstance(each, kind))


def relation(range_var: Any) -> Relation:
    """What a RangeVar names."""
    return Relation(range_var.schemaname, range_var.relname)


def names(parts: Any) -> list[str]:
    """A qualified name's parts."""
    return [part.sval for part in parts or () if hasattr(part, "sval")]


def options(defs: Any) -> dict[str, Any]:
    """DefElems by name, their arguments as they are."""
    return {each.defname: each.arg for each in defs or ()}


def text(value: Any) -> str | None:
    """The text of a constant, a String or a list of them."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return text(value[0]) if value else None
    inner = getattr(value, "val", value)
    for name in ("sval", "fval", "ival", "boolval"):
        found = getattr(inner, name, None)
        if found is not None:
            return str(found)
    return ".".join(names(value.names)) if isinstance(value, ast.TypeName) else None
