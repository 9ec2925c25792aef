"""What DynamoDB answers when it refuses: one exception, and a constructor for each refusal that this project raises.

This module knows codes, messages, HTTP status and the shape of an error's document. It must not decide when to refuse,
and it reads no request.

Sources: "Error handling with DynamoDB" (developer guide) for codes and status; the service model in the AWS SDKs for
which members an error has and how its message member is spelt.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
    }
)
"""Codes that say nothing of the request: DynamoDB did nothing, for want of capacity, and asks to be asked again."""

RETRYABLE: Final = THROTTLED | {"InternalServerError"}
"""Codes by which DynamoDB decided nothing and asks to be asked again; after InternalServerError, a write may have
happened ("Error handling with DynamoDB", developer guide)."""

TRANSACTION_CONFLICT: Final = "TransactionConflictException"
"""Nothing was done, because a transaction holds the item: the same request may be sent again."""

_DYNAMODB = "com.amazonaws.dynamodb.v20120810#"

# Refusals that Amazon's web framework makes before DynamoDB proper sees the request live in the framework's own names.
_NAMESPACES = {
    "ValidationException": "com.amazon.coral.validate#",
    "SerializationException": "com.amazon.coral.service#",
    "UnknownOperationException": "com.amazon.coral.service#",
    "MissingAuthenticationTokenException": "com.amazon.coral.service#",
    "IncompleteSignatureException": "com.amazon.coral.service#",
    "InvalidSignatureException": "com.amazon.coral.service#",
    "UnrecognizedClientException": "com.amazon.coral.service#",
    "AccessDeniedException": "com.amazon.coral.service#",
    "ThrottlingException": "com.amazon.coral.availability#",
    "ServiceUnavailableException": "com.amazon.coral.availability#",
}

# These spell the member with a capital, and an SDK looks for it as it is spelt.
_CAPITAL_MESSAGE = frozenset(
    {
        "SerializationException",
        "TransactionCanceledException",
        "IdempotentParameterMismatchException",
        "TransactionInProgressException",
        "AccessDeniedException",
    }
)

# A cancelled transaction gives a short code for each of its parts, not the name of an exception.
_REASON_CODES = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ItemCollectionSizeLimitExceededException": "ItemCollectionSizeLimitExceeded",
    "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded",
    "ThrottlingException": "ThrottlingError",
    "TransactionConflictException": "TransactionConflict",
    "ValidationException": "ValidationError",
}


class DynamoDBError(Exception):
    """A refusal, as DynamoDB words it.

    `code` is the exception's name without its namespace ("ValidationException"); `status` the HTTP status, 400 or 5xx;
    `extra` the members beside the message (`Item`, `CancellationReasons`).
    """

    def __init__(self, code: str, message: str, *, status: int = 400, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.extra: dict[str, Any] = dict(extra or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def document(self) -> dict[str, Any]:
        """The body of the HTTP answer, ready for JSON: `__type`, the message, and what else the error carries."""
        spelling = "Message" if self.code in _CAPITAL_MESSAGE else "message"
        return {"__type": _NAMESPACES.get(self.code, _DYNAMODB) + self.code, spelling: self.message, **self.extra}


class ValidationFault(DynamoDBError):
    """A ValidationException about a value, which DynamoDB words in two ways.

    `message` is in the words of its present validation layer, `older` in those of the layer that some operations still
    use (`proxy.dynamodb.requests.wording` has which).
    """

    def __init__(self, message: str, older: str) -> None:
        super().__init__("ValidationException", message)
        self.older = older


class SchemaMismatch(DynamoDBError):
    """A ValidationException about a key, or an index's key, that is not of the table's schema.

    Inside a transaction it cancels, with ValidationError at its member; every other ValidationException that needs no
    item refuses the whole transaction (measured on AWS: dynamodb-conformance, tier 3, transactWriteItems).
    """

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


def validation(message: str) -> DynamoDBError:
    """The request makes no sense: 400 ValidationException, not retried."""
    return DynamoDBError("ValidationException", message)


def key_mismatch() -> SchemaMismatch:
    """A `Key` does not hold the table's key attributes, and nothing else."""
    return SchemaMismatch("The provided key element does not match the schema")


def serialization(message: str) -> DynamoDBError:
    """The body is not the JSON that the operation takes: 400 SerializationException."""
    return DynamoDBError("SerializationException", message)


def conditional_check_failed(item: Mapping[str, Any] | None = None) -> DynamoDBError:
    """The condition was false. `item` goes with it when ReturnValuesOnConditionCheckFailure asks for ALL_OLD."""
    extra = {} if item is None else {"Item": dict(item)}
    return DynamoDBError("ConditionalCheckFailedException", "The conditional request failed", extra=extra)


def cancellation_reason(error: DynamoDBError | None) -> dict[str, Any]:
    """One entry of CancellationReasons ("TransactWriteItems", API reference): Code "None" for a part in order."""
    if error is None:
        return {"Code": "None"}
    reason: dict[str, Any] = {"Code": _REASON_CODES.get(error.code, error.code), "Message": error.message}
    if "Item" in error.extra:
        reason["Item"] = error.extra["Item"]
    return reason


def transaction_canceled(reasons: Sequence[Mapping[str, Any]]) -> DynamoDBError:
    """The transaction did not happen. `reasons`: one per part, in the request's order, from `cancellation_reason`."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    return DynamoDBError(
        "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        extra={"CancellationReasons": [dict(reason) for reason in reasons]},
    )


def transaction_conflict() -> DynamoDBError:
    """Another transaction holds the item."""
    return DynamoDBError(TRANSACTION_CONFLICT, "Transaction is ongoing for the item")


def idempotent_parameter_mismatch() -> DynamoDBError:
    """A ClientRequestToken came again with another request under it."""
    return DynamoDBError(
        "IdempotentParameterMismatchException",
        "An error occurred when processing the request: the idempotency token was used with different parameters",
    )


def resource_not_found(message: str = "Requested resource not found") -> DynamoDBError:
    """No such table (or index, where DynamoDB says so with this code)."""
    return DynamoDBError("ResourceNotFoundException", message)


def resource_in_use(message: str) -> DynamoDBError:
    """The refusal to make what is there, or to change what is being changed."""
    return DynamoDBError("ResourceInUseException", message)


def table_not_found(name: str) -> DynamoDBError:
    """What the operations on backups say of a table that does not exist."""
    return DynamoDBError("TableNotFoundException", f"Table not found: {name}")


def throttling(message: str = "Rate exceeded") -> DynamoDBError:
    """Too many requests: SDKs retry it after a pause."""
    return DynamoDBError("ThrottlingException", message)


def internal_server_error(message: str = "Internal server error") -> DynamoDBError:
    """500, retryable: the outcome of a write is unknown to the client."""
    return DynamoDBError("InternalServerError", message, status=500)


def service_unavailable(message: str = "The service is temporarily unavailable") -> DynamoDBError:
    """503, retryable: nothing was done."""
    return DynamoDBError("ServiceUnavailableException", message, status=503)


def unknown_operation(message: str = "") -> DynamoDBError:
    """The X-Amz-Target names no operation."""
    return DynamoDBError("UnknownOperationException", message)


def access_denied(message: str) -> DynamoDBError:
    """The caller may not do this."""
    return DynamoDBError("AccessDeniedException", message)
