"""In which words an operation refuses a request.

DynamoDB has two validation layers. PutItem, UpdateItem and DeleteItem use the present one and put each refusal into an
envelope; GetItem, BatchGetItem and Query use it without the envelope; BatchWriteItem, the transactions and Scan use the
older one (measured in four regions in October 2026: dynamodb-conformance, tier 3, valueLayers).
"""

from __future__ import annotations

import re
from typing import Final

from proxy.dynamodb.errors import DynamoDBError, ValidationFault, validation

ENVELOPED: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
OLDER: Final = frozenset({"BatchWriteItem", "TransactWriteItems", "TransactGetItems", "Scan"})
_ENVELOPE: Final = "1 validation error detected: "
_IN_ENVELOPE: Final = re.compile(r"[0-9]+ validation errors? detected: ").match


def worded(error: DynamoDBError, action: str) -> DynamoDBError:
    """A refusal of a request's form, in the words of the operation that was asked for."""
    if error.code != "ValidationException":
        return error
    if action in OLDER:
        return validation(older_words(error))
    return validation(enveloped(error.message)) if action in ENVELOPED else error


def enveloped(message: str) -> str:
    """A message in the envelope, once."""
    return message if _IN_ENVELOPE(message) else f"{_ENVELOPE}{message}"


def older_words(error: DynamoDBError) -> str:
    """An error's message in the words of the older layer."""
    return error.older if isinstance(error, ValidationFault) else error.message
