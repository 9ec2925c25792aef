"""A store's failure, as DynamoDB would tell its client of one.

For the store that is the authority: what a mirror fails at, no client sees. SDKs try again after a 500 and a 503
("Error handling with DynamoDB"), so of a write that may have happened they are told 500, and of one that has not, 503.
"""

from __future__ import annotations

from proxy.dynamodb.errors import internal_server_error, service_unavailable, validation
from proxy.dynamodb.outcome import Outcome
from proxy.stores.failures import StoreError, UnknownOutcome
from proxy.stores.store import Unrepresentable


def as_answer(error: StoreError) -> Outcome:
    """The outcome that a client gets for a failure of the authority."""
    if isinstance(error, Unrepresentable):
        return Outcome.failed(validation(f"One or more parameter values were invalid: {error}"))
    if isinstance(error, UnknownOutcome):
        return Outcome.failed(internal_server_error())
    return Outcome.failed(service_unavailable(f"DSQL did not carry it out: {error.reason}"))
