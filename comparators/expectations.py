"""Expected differences: those that the configuration declares and explains, so that they do not count as mismatches.

Narrow by design: an expectation must say what it expects and why, and one that would explain everything is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from comparators import paths
from comparators.difference import Difference, Kind


@dataclass(frozen=True, slots=True)
class DifferenceContext:
    """Where a difference was found."""

    table: str
    operation: str
    """The operation's name: `Query`, `GetItem` …"""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A declaration of differences that are expected."""

    because: str
    """Why they are expected: shown with the verdict."""
    table: str = "*"
    """A shell-style glob of the table's name."""
    type: str = "*"
    """A shell-style glob of the item type."""
    operation: str = "*"
    """A shell-style glob of the operation's name."""
    field: str | None = None
    """The top-level attribute, with everything inside it; None for any."""
    path: str | None = None
    """A glob of the path, as `paths.pattern` reads it: `*` within one step, `**` across steps; None for any."""
    kind: Kind | None = None
    """None for any."""

    def explains(self, difference: Difference, context: DifferenceContext) -> bool:
        """Return whether this expectation covers the difference."""
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
    """Return the first expectation that covers the difference; None if none does."""
    return next((one for one in expectations if one.explains(difference, context)), None)


_TEXTS = ("because", "table", "type", "operation", "field", "path")


def parse_expectation(place: str, written: Mapping[str, Any]) -> Expectation:
    """Parse an expectation from settings: a table with the attributes of `Expectation` as keys.

    `place` names the table in error messages. Raises ValueError, with the place and the remedy, for an unknown key, a
    value that is no text, an unknown kind, a missing or empty `because`, and an expectation with none of `field`,
    `path` and `kind`, which would cover every difference.
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
    arguments = {key: written[key] for key in _TEXTS if key in written}
    return Expectation(**arguments, kind=_kind(place, written["kind"]) if "kind" in written else None)


def _kind(place: str, name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise ValueError(f"{place}.kind: there is no kind {name!r}; use one of {', '.join(Kind)}") from None
