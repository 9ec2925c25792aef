"""A store's failure, as DynamoDB would tell its client of one.

For the store that is the authority: what a mirror fails at, no client sees. What a client does next decides the answer
("Error handling with DynamoDB"): SDKs try again after a 500, a 503 and ThrottlingException, so of a write that may have
happened they are told 500, of one that has not 503, and where others were faster that it is being throttled, which has
them back off. What will never be different is told as such. No answer holds a value: names, types and sizes only.
"""

from __future__ import annotations

from typing import Final

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.outcome import Outcome
from proxy.stores.errors import Refused, StoreError, TooMuchContention, UnknownOutcome
from proxy.stores.interface import Unrepresentable

_BUSY: Final = "Too many writes to the same item at once. Try again with a pause between attempts"
# What a store refuses because of the request, and not because of how it is set up.
_ASKED_WRONGLY: Final = {
    "cursor": "The provided starting key is invalid",
    "parameter": "One or more parameter values were invalid: a text is not valid Unicode",
}


def as_answer(error: StoreError) -> Outcome:
    """The outcome that a client gets for a failure of the authority."""
    return Outcome.failed(as_error(error))


def as_error(error: StoreError) -> DynamoDBError:
    """The same as DynamoDB's exception.

    | failure | told as |
    | --- | --- |
    | Unrepresentable | 400 ValidationException, naming each attribute and its remedy |
    | Overtaken, a transaction | 400 TransactionCanceledException, each part's reason TransactionConflict |
    | Overtaken, anything else | 400 ThrottlingException |
    | UnknownOutcome | 500 InternalServerError |
    | Refused, for what was asked | 400 ValidationException |
    | Refused, for how the store is set up | 500 InternalServerError, naming what to look at |
    | Unreachable | 503 ServiceUnavailable |
    """
    if isinstance(error, Unrepresentable):
        told = "; ".join(f"attribute {fault.field}: {fault.reason}" for fault in error.faults)
        return errors.validation(f"One or more parameter values were invalid: the table cannot hold this item: {told}")
    if isinstance(error, TooMuchContention):
        if not error.parts:
            return errors.throttling(_BUSY)
        # Which of the parts met the other transaction is known to the database alone.
        reason = errors.cancellation_reason(errors.transaction_conflict())
        return errors.transaction_canceled([reason] * error.parts)
    if isinstance(error, UnknownOutcome):
        return errors.internal_server_error(f"It is not known whether the request took effect: {error.reason}")
    if isinstance(error, Refused):
        if error.reason in _ASKED_WRONGLY:
            return errors.validation(_ASKED_WRONGLY[error.reason])
        return errors.internal_server_error(f"The store refused the request ({error.reason}): see the proxy's log")
    return errors.service_unavailable(f"The store could not be reached, and nothing was done: {error.reason}")
