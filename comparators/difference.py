"""A difference: one path at which two outcomes disagree, and how.

Defines the vocabulary only and judges nothing: whether a difference counts is a verdict (`proxy.verdicts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

Value: TypeAlias = dict[str, Any]
"""One attribute value in DynamoDB JSON: an object with exactly one key, the type tag."""

Item: TypeAlias = dict[str, Value]
"""An item: attribute name → value. Keys and cursors have this form too."""

Document: TypeAlias = Mapping[str, Any]
"""The JSON object of an answer or of an error."""


class Kind(StrEnum):
    """How two outcomes disagree, from the mirror's side: the mirror lacks what is `missing`."""

    MISSING = "missing"  # the authority has it, the mirror lacks it
    EXTRA = "extra"  # the mirror has it beyond what the authority has
    TYPE = "type"  # different type tags: S against N
    VALUE = "value"  # the same type, another value
    PRECISION = "precision"  # two numbers, one of which is the other with digits lost (`is_precision_loss`)
    SPELLING = "spelling"  # the same value, spelt differently; found by the rules `exact` and `number_exact` only
    ORDER = "order"  # the same members in another order
    MEMBERSHIP = "membership"  # the members of a set differ; each side shows the members that only it has
    COUNT = "count"  # Count or ScannedCount differ by more than the items found to differ
    CURSOR = "cursor"  # LastEvaluatedKey differs, and nothing else explains it
    BOUNDARY = "boundary"  # the page ends elsewhere, as it must after another difference or a tie (a note)
    TIE = "tie"  # it differs inside a group of equal sort keys, where no order is promised (a note)
    ERROR_CODE = "error_code"  # both failed, with different codes
    ERROR_MESSAGE = "error_message"  # both failed with one code, with messages of another class
    OUTCOME = "outcome"  # one succeeded, the other failed


@dataclass(frozen=True, slots=True)
class Difference:
    """One path at which two outcomes disagree, and how."""

    path: str
    """Inside an item: `image.url`, `platforms[2]`, or `""` for the item as a whole. About the answer itself: `Count`,
    `LastEvaluatedKey`, `CancellationReasons[1].Code`, and `Items[3]` for an item's place among the others. Written as
    `comparators.paths` specifies."""
    field: str
    """The top-level attribute that contains it, never quoted; `""` for a whole item or the answer itself. So an
    attribute called `Count` cannot be confused with the answer's count."""
    kind: Kind
    authority: Value | None
    """The authority's value at the path; None if it has none. Whatever is no attribute value is written as one: counts
    and positions as N, error codes as S, keys and whole items as M."""
    mirror: Value | None
    """The mirror's value at the path, likewise."""
    type: str = ""
    """The name of the item rules that applied; `"*"` for items of no known type, `""` outside items."""
    within: str = ""
    """The item's place in the answer (`Items[3]`, `Attributes`, `Responses.items[0]`), in the authority's answer if it
    is in both; `""` if the whole answer was compared as one item."""
    key: Item | None = None
    """The item's table key, if the answer shows it."""
