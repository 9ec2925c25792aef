"""What this API refuses, in words for people and codes for programs: one exception, told alike by HTTP and GraphQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    INVALID = "INVALID"  # a field or parameter breaks a rule: `errors` names both
    CURSOR = "CURSOR"  # `after` is no cursor of this query
    NOT_FOUND = "NOT_FOUND"
    EXISTS = "EXISTS"  # to be created, and there already
    CONFLICT = "CONFLICT"  # others changed the item, each time that it was tried
    UNAVAILABLE = "UNAVAILABLE"  # nothing was done: it may be tried again
    UNKNOWN = "UNKNOWN"  # it may have been done, or not


STATUS: Final = {
    Code.INVALID: 400,
    Code.CURSOR: 400,
    Code.NOT_FOUND: 404,
    Code.EXISTS: 409,
    Code.CONFLICT: 409,
    Code.UNAVAILABLE: 503,
    Code.UNKNOWN: 500,
}


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """A rule that a field or parameter breaks. `field` is a path with dots; `rule` says what is allowed."""

    field: str
    rule: str

    def document(self) -> dict[str, str]:
        return {"field": self.field, "rule": self.rule}


class ItemsAPIError(Exception):
    """See the module. `broken` are the rules that `INVALID` and `CURSOR` are about."""

    def __init__(self, code: Code, detail: str, broken: tuple[RuleViolation, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.broken = broken

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def members(self) -> dict[str, Any]:
        """What a program reads of it."""
        errors = [each.document() for each in self.broken]
        return {"code": str(self.code), **({"errors": errors} if errors else {})}


def invalid(*broken: RuleViolation) -> ItemsAPIError:
    return ItemsAPIError(Code.INVALID, "; ".join(f"{each.field or 'the body'}: {each.rule}" for each in broken), broken)
