"""What a comparison finds: one path at which two outcomes disagree, and how.

Holds the words only. It does not judge: whether a difference counts is a verdict, and verdicts are the shadow's
business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

Value: TypeAlias = dict[str, Any]
"""One attribute value as DynamoDB JSON gives it: exactly one key, the type tag."""

Item: TypeAlias = dict[str, Value]
"""Attribute name → value. Keys and cursors have this form too."""

Document: TypeAlias = Mapping[str, Any]
"""The JSON object a store answered an operation with, or that describes its error."""


class Kind(StrEnum):
    """How two outcomes disagree. Said from the mirror's side: what is `missing` the mirror lacks."""

    MISSING = "missing"  # the authority has it, the mirror lacks it
    EXTRA = "extra"  # the mirror has it beyond what the authority has
    TYPE = "type"  # other type tags: S against N
    VALUE = "value"  # the same type, another value
    PRECISION = "precision"  # two numbers, one of which is the other with digits lost (see `forms.lost_digits`)
    SPELLING = "spelling"  # the same value written otherwise; found by the `exact` and `number_exact` rules only
    ORDER = "order"  # the same members in another order
    MEMBERSHIP = "membership"  # a set's members differ; each side shows the members that only it has
    COUNT = "count"  # Count or ScannedCount differ by more than the items found to differ
    CURSOR = "cursor"  # LastEvaluatedKey differs, and nothing else explains it
    BOUNDARY = "boundary"  # the page ends elsewhere, as it must after another difference or a tie (a note)
    TIE = "tie"  # differs inside a group of equal sort keys, where no order is promised (a note)
    ERROR_CODE = "error_code"  # both failed, with other codes
    ERROR_MESSAGE = "error_message"  # both failed with one code, with messages of another class
    OUTCOME = "outcome"  # one answered, the other failed


_SWAPPED: Mapping[Kind, Kind] = MappingProxyType({Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING})


@dataclass(frozen=True, slots=True)
class Difference:
    """One path at which two outcomes disagree, and how.

    `path`   inside an item: `image.url`, `platforms[2]`, `""` for the item as a whole;
             about the answer itself: `Count`, `LastEvaluatedKey`, `CancellationReasons[1].Code`, and `Items[3]` for an
             item's place among the others.
             Spelt as `paths` says.
    `field`  the top-level attribute it lies in, as it is named (never quoted); `""` where it is about a whole item
             or the answer. An attribute called `Count` therefore never passes for the answer's count.
    `authority`, `mirror`  the two values at that path; None for the side that has nothing there. What is no attribute
             value is written as one: counts and positions as N, error codes as S, keys and whole items as M.
    `type`   the name of the item rules it was found under, `"*"` for items of no known type, `""` outside items.
    `within` where the item stood in the answer (`Items[3]`, `Attributes`, `Responses.items[0]`), by the authority's
             count where both have it; `""` where the answer was compared as one item.
    `key`    the item's table key, where the answer shows it.
    """

    path: str
    field: str
    kind: Kind
    authority: Value | None
    mirror: Value | None
    type: str = ""
    within: str = ""
    key: Item | None = None

    def swapped(self) -> "Difference":
        """The same difference with the two stores in each other's roles, as after a flip."""
        return replace(self, kind=_SWAPPED.get(self.kind, self.kind), authority=self.mirror, mirror=self.authority)
