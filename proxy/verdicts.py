"""Verdicts: what a difference between the two stores turned out to be. Pure.

Only `mismatch` and `unrepresentable` count against cutting over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from comparators.difference import Difference, Item
from comparators.expectations import DifferenceContext, Expectation, find_expectation
from comparators.items import compare_items
from comparators.rules import ItemRules
from proxy.dynamodb.outcome import Outcome


class Verdict(StrEnum):
    AGREED = "agreed"  # no difference
    RACING = "racing"  # the key was being written while it was compared: evidence for nothing
    LAGGING = "lagging"  # it differed, and agreed when both were read again once the key had settled
    EXPECTED = "expected"  # it matches a difference that the configuration declares and explains
    MISMATCH = "mismatch"  # it differs and goes on differing: the two stores disagree
    UNREPRESENTABLE = "unrepresentable"  # the mapping cannot hold this item without loss
    UNDECIDED = "undecided"  # it differed, and the authority gave no answer to the second look
    MIRROR_ERROR = "mirror_error"  # the mirror failed or was too slow; the client never notices


# Errors that say nothing about the items, so that there is nothing for the mirror to agree with: they are about
# capacity, other transactions in flight, or the caller ("Error handling with DynamoDB"; "Common Errors").
_NO_DECISION = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IdempotentParameterMismatchException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "ItemCollectionSizeLimitExceededException",
        "MissingAuthenticationTokenException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "SerializationException",  # the request could not be read: a more lenient reader must not act on it
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "UnrecognizedClientException",
    }
)
# The same as cancellation reasons of a transaction ("TransactWriteItems").
_NO_DECISION_REASONS = frozenset(
    {"ItemCollectionSizeLimitExceeded", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)


def is_conclusive(outcome: Outcome) -> bool:
    """Return whether the outcome says what the store decided about the items, and so can be compared."""
    if outcome.status >= 500 or outcome.error_code in _NO_DECISION:
        return False
    if outcome.error_code != "TransactionCanceledException":
        return True
    reasons = outcome.document.get("CancellationReasons") or ()
    return not any(reason.get("Code") in _NO_DECISION_REASONS for reason in reasons)


REQUEST_REFUSED = "refused"
"""The reason of an agreement that shows nothing of what the stores hold (`shows_state`)."""


def shows_state(outcome: Outcome) -> bool:
    """Return whether a conclusive outcome shows anything of what the store holds.

    An answer does, even one without an item, and so does a condition that failed. A ValidationException does not: any
    store refuses such a request, even an empty one. (DynamoDB refuses some expressions only after it has read the item,
    but the error code does not show this.)
    """
    if outcome.ok or outcome.error_code == "ConditionalCheckFailedException":
        return True
    if outcome.error_code != "TransactionCanceledException":
        return False
    reasons = outcome.document.get("CancellationReasons") or ()
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


# How long to wait before each recheck of what differs. DynamoDB's indexes are usually some milliseconds behind, and
# another process converges within some tens of milliseconds: three rechecks over 1.5 s leave ample time for both.
RECHECK_SECONDS = (0.05, 0.3, 1.2)

_WEIGHT = {Verdict.AGREED: 0, Verdict.EXPECTED: 1, Verdict.UNREPRESENTABLE: 2, Verdict.MISMATCH: 3}


@dataclass(frozen=True, slots=True)
class JudgedDifference:
    """A difference with its verdict."""

    difference: Difference
    verdict: Verdict
    because: str | None = None
    """Why the difference was expected, if it was: the text of the declared expectation."""


@dataclass(frozen=True, slots=True)
class MappingLoss:
    """What the mapping is known to lose of an item."""

    paths: frozenset[tuple[str, str]] = frozenset()
    """Path and kind of each difference between the item and its image."""
    whole: bool = False
    """Whether the mapping cannot hold the item at all."""

    @classmethod
    def between(cls, item: Item | None, image: Item | None, rules: ItemRules) -> MappingLoss:
        """Return the loss between an item and its image, which is what the mapping gives back for it; None for none."""
        if item is None:
            return cls()
        if image is None:
            return cls(whole=True)
        return cls(frozenset((d.path, d.kind) for d in compare_items(item, image, rules)))

    def explains(self, difference: Difference) -> bool:
        """Return whether the loss accounts for the difference."""
        return self.whole or (difference.path, difference.kind) in self.paths


def judge(
    differences: Iterable[Difference],
    loss: MappingLoss,
    expectations: Sequence[Expectation],
    context: DifferenceContext,
) -> list[JudgedDifference]:
    """Return a verdict for each difference that persisted: `expected` if it is declared, `unrepresentable` if the
    mapping's loss accounts for it, otherwise `mismatch`."""
    judged = []
    for difference in differences:
        expectation = find_expectation(expectations, difference, context)
        if expectation is not None:
            judged.append(JudgedDifference(difference, Verdict.EXPECTED, expectation.because))
        elif loss.explains(difference):
            judged.append(JudgedDifference(difference, Verdict.UNREPRESENTABLE))
        else:
            judged.append(JudgedDifference(difference, Verdict.MISMATCH))
    return judged


def gravest_verdict(judged: Iterable[JudgedDifference]) -> Verdict:
    """Return the gravest verdict among the differences; `agreed` if there are none."""
    return max((each.verdict for each in judged), key=_WEIGHT.__getitem__, default=Verdict.AGREED)
