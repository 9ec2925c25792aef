"""What a difference turned out to be. Pure: it is told all it needs to know.

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
    RACING = "racing"  # the key was being written while it was compared: says nothing either way
    LAGGING = "lagging"  # it differed, and agreed when both were read again once the key had settled
    EXPECTED = "expected"  # it matches a difference that the configuration declares and explains
    MISMATCH = "mismatch"  # it differs and goes on differing: the two stores disagree
    UNREPRESENTABLE = "unrepresentable"  # the mapping cannot hold this item without loss
    MIRROR_ERROR = "mirror_error"  # the mirror failed or was too slow; the client never notices


# Answers by which DynamoDB decides nothing about the items: there is nothing for the mirror to agree with. They are of
# capacity, of other transactions under way, of who asks ("Error handling with DynamoDB"; "Common Errors").
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
        "SerializationException",  # it could not be read: one who reads it more leniently must not act on it
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "UnrecognizedClientException",
    }
)
# The same, as the reasons for which a transaction was cancelled name them ("TransactWriteItems").
_NO_DECISION_REASONS = frozenset(
    {"ItemCollectionSizeLimitExceeded", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)


def is_conclusive(outcome: Outcome) -> bool:
    """Whether the authority's outcome says what it made of the operation, and so can be compared."""
    if outcome.status >= 500 or outcome.error_code in _NO_DECISION:
        return False
    if outcome.error_code != "TransactionCanceledException":
        return True
    reasons = outcome.document.get("CancellationReasons") or ()
    return not any(reason.get("Code") in _NO_DECISION_REASONS for reason in reasons)


REQUEST_REFUSED = "refused"
"""Why an agreement tells nothing of what the stores hold: see `tells`."""


def shows_state(outcome: Outcome) -> bool:
    """Whether an outcome that decides shows anything of what the store holds: an answer, absence included, or a
    condition that did not hold there. What is refused for the request's own sake (ValidationException) is so by any
    store, be it empty; that of some expressions it is said after a look at the item, the code does not tell."""
    if outcome.ok or outcome.error_code == "ConditionalCheckFailedException":
        return True
    if outcome.error_code != "TransactionCanceledException":
        return False
    reasons = outcome.document.get("CancellationReasons") or ()
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


# Seconds between looks at what differs. DynamoDB's indexes are usually some milliseconds behind, and another process
# converges within some tens of them: three looks over 1.5 s leave both well behind.
RECHECK_SECONDS = (0.05, 0.3, 1.2)

_WEIGHT = {Verdict.AGREED: 0, Verdict.EXPECTED: 1, Verdict.UNREPRESENTABLE: 2, Verdict.MISMATCH: 3}


@dataclass(frozen=True, slots=True)
class JudgedDifference:
    """A difference with its verdict, and why it was expected where it was."""

    difference: Difference
    verdict: Verdict
    because: str | None = None


@dataclass(frozen=True, slots=True)
class MappingLoss:
    """What the mapping is known to lose of an item: the differences between the item and what it gives back."""

    paths: frozenset[tuple[str, str]] = frozenset()
    whole: bool = False

    @classmethod
    def between(cls, item: Item | None, image: Item | None, rules: ItemRules) -> MappingLoss:
        if item is None:
            return cls()
        if image is None:
            return cls(whole=True)
        return cls(frozenset((d.path, d.kind) for d in compare_items(item, image, rules)))

    def explains(self, difference: Difference) -> bool:
        return self.whole or (difference.path, difference.kind) in self.paths


def judge(
    differences: Iterable[Difference],
    loss: MappingLoss,
    expectations: Sequence[Expectation],
    context: DifferenceContext,
) -> list[JudgedDifference]:
    """A verdict for each difference that has gone on: declared, known loss, or mismatch."""
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
    """The gravest verdict among the differences; `agreed` where there are none."""
    return max((each.verdict for each in judged), key=_WEIGHT.__getitem__, default=Verdict.AGREED)
