"""Which answers can be compared at all, and what a difference turns out to be."""

from typing import Any

import pytest

from comparators.difference import Difference, Kind
from comparators.expectations import DifferenceContext, Expectation
from comparators.rules import ItemRules
from proxy.dynamodb.outcome import Outcome
from proxy.verdicts import MappingLoss, Verdict, gravest_verdict, is_conclusive, judge, shows_state

CONTEXT = DifferenceContext("t", "GetItem")
TITLE = Difference("title", "title", Kind.VALUE, {"S": "a"}, {"S": "b"})
NOTES = Difference("notes", "notes", Kind.MISSING, {"S": "a"}, None)


def cancelled(*codes: str) -> dict[str, Any]:
    return {"__type": "x#TransactionCanceledException", "CancellationReasons": [{"Code": code} for code in codes]}


@pytest.mark.parametrize(
    ("status", "document", "decided"),
    [
        (200, {"Item": {}}, True),
        (400, {"__type": "x#ConditionalCheckFailedException"}, True),
        (400, {"__type": "x#ValidationException"}, True),
        (400, {"__type": "x#ThrottlingException"}, False),
        (400, {"__type": "x#ResourceNotFoundException"}, False),
        (400, {"__type": "x#IdempotentParameterMismatchException"}, False),
        (500, {"__type": "x#InternalServerError"}, False),
        (503, {}, False),
        (400, cancelled("None", "ConditionalCheckFailed"), True),
        (400, cancelled("ConditionalCheckFailed", "TransactionConflict"), False),
        (400, cancelled("ThrottlingError", "None"), False),
    ],
)
def test_only_a_decision_about_items_is_compared(status: int, document: dict[str, Any], decided: bool) -> None:
    assert is_conclusive(Outcome.of(document, status)) is decided


@pytest.mark.parametrize(
    ("status", "document", "told"),
    [
        (200, {}, True),
        (400, {"__type": "x#ConditionalCheckFailedException"}, True),
        (400, {"__type": "x#ValidationException"}, False),
        (400, cancelled("None", "ConditionalCheckFailed"), True),
        (400, cancelled("ValidationError", "None"), False),
    ],
)
def test_a_refusal_of_the_request_itself_tells_nothing_of_a_store(
    status: int,
    document: dict[str, Any],
    told: bool,
) -> None:
    outcome = Outcome.of(document, status)
    assert is_conclusive(outcome)
    assert shows_state(outcome) is told


def test_a_difference_is_declared_or_known_or_a_mismatch() -> None:
    declared = Expectation("it is told", field="notes")
    known = MappingLoss.between({"title": {"S": "a"}}, {"title": {"S": "b"}}, ItemRules())
    assert [each.verdict for each in judge([TITLE, NOTES], MappingLoss(), [], CONTEXT)] == [Verdict.MISMATCH] * 2
    judged = judge([TITLE, NOTES], known, [declared], CONTEXT)
    assert [(each.verdict, each.because) for each in judged] == [
        (Verdict.UNREPRESENTABLE, None),
        (Verdict.EXPECTED, "it is told"),
    ]
    assert gravest_verdict(judged) is Verdict.UNREPRESENTABLE
    assert gravest_verdict(judge([NOTES], MappingLoss(), [declared], CONTEXT)) is Verdict.EXPECTED
    assert gravest_verdict([]) is Verdict.AGREED


def test_an_item_that_no_row_can_hold_explains_all_of_its_differences() -> None:
    assert MappingLoss.between({"title": {"S": "a"}}, None, ItemRules()).explains(NOTES)
    assert not MappingLoss.between(None, None, ItemRules()).explains(NOTES)
    assert not MappingLoss.between({"title": {"S": "a"}}, {"title": {"S": "a"}}, ItemRules()).explains(TITLE)
