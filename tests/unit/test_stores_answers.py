"""What a client is told of each failure that the authority can have, and whether its SDK then tries again."""

import botocore.retries.standard as retries
import pytest

from proxy.dynamodb.schema import Key
from proxy.mapping.interface import Fault
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import Refused, StoreError, TooMuchContention, UnknownOutcome, Unreachable
from proxy.stores.interface import Unrepresentable

UNFIT = Unrepresentable(
    Key("billio", '{"type:id":{"S":"Book:secret-id"}}'),
    (Fault("title", "it has 70 characters, the column holds 50: widen the column"), Fault("id", "it is not a UUID")),
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unreachable("connect", "refused"), 503, "ServiceUnavailableException"),
        (Unreachable("server", "25006 ReadOnlySQLTransactionError"), 503, "ServiceUnavailableException"),
        (Unreachable("timeout", "no answer within 5 s"), 503, "ServiceUnavailableException"),
        (Unreachable("busy"), 503, "ServiceUnavailableException"),
        (UnknownOutcome("connection", "57P01 AdminShutdownError"), 500, "InternalServerError"),
        (UnknownOutcome("timeout"), 500, "InternalServerError"),
        (TooMuchContention("the row went on changing"), 400, "ThrottlingException"),
        (TooMuchContention("the transaction was overtaken", 3), 400, "TransactionCanceledException"),
        (Refused("42P01", "42P01 UndefinedTableError"), 500, "InternalServerError"),
        (Refused("unmapped"), 500, "InternalServerError"),
        (Refused("cursor"), 400, "ValidationException"),
        (Refused("parameter"), 400, "ValidationException"),
        (UNFIT, 400, "ValidationException"),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.reason}" if isinstance(value, StoreError) else "",
)
def test_each_failure_is_told_as_dynamodb_would(error: StoreError, status: int, code: str) -> None:
    outcome = as_answer(error)
    assert (outcome.status, outcome.error_code) == (status, code)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Unreachable("connect"), True),
        (UnknownOutcome("timeout"), True),
        (TooMuchContention("one item"), True),
        (TooMuchContention("a transaction", 2), False),  # as with DynamoDB: the application decides
        (Refused("cursor"), False),
        (UNFIT, False),
    ],
)
def test_an_sdk_tries_again_what_may_go_better(error: StoreError, again: bool) -> None:
    """By botocore's own lists: HTTP status and error code."""
    outcome = as_answer(error)
    listed = retries.ThrottledRetryableChecker._THROTTLED_ERROR_CODES
    assert (
        outcome.status in retries.TransientRetryableChecker._TRANSIENT_STATUS_CODES or outcome.error_code in listed
    ) is again


def test_a_transaction_that_was_overtaken_has_a_reason_for_each_part() -> None:
    reasons = as_answer(TooMuchContention("", 2)).document["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["TransactionConflict", "TransactionConflict"]


def test_an_item_that_cannot_be_held_is_told_by_attribute_and_remedy_and_not_by_value() -> None:
    message = as_answer(UNFIT).document["message"]
    assert "attribute title: it has 70 characters, the column holds 50: widen the column" in message
    assert "attribute id: it is not a UUID" in message
    assert "secret" not in message
