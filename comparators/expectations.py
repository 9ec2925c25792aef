"""Differences that the configuration declares and explains, so that they do not count as mismatches.

Matches one declared expectation against one difference. Narrow by design: an expectation must say what it expects and
why, and one that would explain everything is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from comparators import paths
from comparators.difference import Difference, Kind


@dataclass(frozen=True, slots=True)
class DifferenceContext:
    """Where a difference was found: the table's name and the operation's (`Query`, `GetItem` …)."""

    table: str
    operation: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """A difference that is expected, and why.

    `because`    the explanation, for whoever reads the verdict.
    `table`, `type`, `operation`  shell-style globs of the table's name, the item type and the operation's name.
    `field`      the top-level attribute, and with it all that lies in it; None for any.
    `path`       a glob of the path as `paths.pattern` reads it: `*` within one step, `**` across; None for any.
    `kind`       None for any.
    """

    because: str
    table: str = "*"
    type: str = "*"
    operation: str = "*"
    field: str | None = None
    path: str | None = None
    kind: Kind | None = None

    def explains(self, difference: Difference, context: DifferenceContext) -> bool:
        """Whether this is the difference that was expected."""
        return (
            (self.kind is None or self.kind is difference.kind)
            and (self.field is None or self.field == difference.field)
            and (self.path is None or paths.pattern(self.path).fullmatch(difference.path) is not None)
            and fnmatchcase(difference.type, self.type)
            and fnmatchcase(context.operation, self.operation)
            and fnmatchcase(context.table, self.table)
        )


def find_expectation(
    expectations: Sequence[Expectation], difference: Difference, context: DifferenceContext
) -> Expectation | None:
    """The first expectation that explains the difference; None where none does."""
    return next((one for one in expectations if one.explains(difference, context)), None)


_TEXTS = ("because", "table", "type", "operation", "field", "path")


def parse_expectation(place: str, written: Mapping[str, Any]) -> Expectation:
    """The expectation that settings describe at `place`: a table of the attributes of `Expectation`.

    Raises ValueError, naming the place and the remedy, for an unknown key, a value that is no text, an unknown kind, a
    missing or empty `because`, and for an expectation with none of `field`, `path` and `kind`: it would explain away
    every difference there is.
    """
    known = (*_TEXTS, "kind")
    for key, value in written.items():
        if key not in known:
            raise ValueError(f"{place}: an expectation has no {key!r}; use one of {', '.join(known)}")
        if not isinstance(value, str):
            raise ValueError(f"{place}.{key}: expected a text, not {value!r}")
    if not written.get("because", "").strip():
        raise ValueError(f"{place}: say in `because` why this difference is expected")
    if not any(key in written for key in ("field", "path", "kind")):
        raise ValueError(f"{place}: this would explain every difference; narrow it by `field`, `path` or `kind`")
    texts = {key: written[key] for key in _TEXTS if key in written}
    return Expectation(**texts, kind=_kind(place, written["kind"]) if "kind" in written else None)


def _kind(place: str, name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise ValueError(f"{place}.kind: there is no kind {name!r}; use one of {', '.join(Kind)}") from None
