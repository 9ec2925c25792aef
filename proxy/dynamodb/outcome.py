"""What a store answered to an operation.

DynamoDB answers in bytes, which go to the client as they are; DSQL answers with a document. Each form is made from
the other only when somebody asks for it, so the hot path (bytes in, bytes out) never parses what nobody compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.large_json import parse

JSON_1_0: Final = (("Content-Type", "application/x-amz-json-1.0"),)

# DynamoDB's errors that say for certain that nothing was written ("Error handling with DynamoDB", "Common Errors").
# ItemCollectionSizeLimitExceeded is not one, because a batch may have been written in part, nor is
# TransactionInProgress, because the transaction of that token may yet be committed.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "AccessDeniedException",
        "ConditionalCheckFailedException",
        "ExpiredTokenException",
        "IdempotentParameterMismatchException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "SerializationException",
        "ThrottlingException",
        "TransactionCanceledException",
        "TransactionConflictException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


class Outcome:
    """An HTTP status with DynamoDB's response document: attributes, a page, or an error (`__type`, `message`)."""

    __slots__ = ("_body", "_document", "headers", "status")

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...] = JSON_1_0, body: bytes | None = None) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        self._document: dict[str, Any] | None = None

    @classmethod
    def of(cls, document: dict[str, Any], status: int = 200) -> Outcome:
        """An outcome made here from a document, not received."""
        outcome = cls(status)
        outcome._document = document
        return outcome

    @classmethod
    def failed(cls, error: DynamoDBError) -> Outcome:
        """The outcome that DynamoDB's error stands for."""
        return cls.of(error.document(), error.status)

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def without_effect(self) -> bool:
        """Whether the operation was refused and certainly changed nothing."""
        return self.status == 400 and self.error_code in _WITHOUT_EFFECT

    @property
    def body(self) -> bytes:
        """The bytes for the wire."""
        if self._body is None:
            self._body = orjson.dumps(self._document)
        return self._body

    @property
    def document(self) -> dict[str, Any]:
        """The decoded answer; an answer that is no JSON object (a proxy's error page) is `{}`."""
        if self._document is None:
            self._document = _decoded(self._body or b"{}", orjson.loads)
        return self._document

    def header(self, name: str) -> str:
        """Return the value of a header, whose name is given in lower case; "" if there is none."""
        return next((value for each, value in self.headers if each.lower() == name), "")

    @property
    def received_bytes(self) -> int:
        """How long the answer is, if it was received and is not yet decoded; otherwise 0."""
        return len(self._body or b"") if self._document is None else 0

    def decode(self) -> None:
        """Decode the answer in steps that let other threads have their turns, so that `document` has it."""
        if self._document is None:
            self._document = _decoded(self._body or b"{}")

    @property
    def error_code(self) -> str | None:
        """The name after the `#` of `__type`, such as `ConditionalCheckFailedException`; None when it is ok."""
        if self.ok:
            return None
        return str(self.document.get("__type", f"HTTP{self.status}")).rpartition("#")[2]

    def __repr__(self) -> str:
        return f"Outcome({self.status}, {self.error_code or 'ok'})"


def _decoded(body: bytes, parser: Callable[[bytes], Any] = parse) -> dict[str, Any]:
    try:
        parsed = parser(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
