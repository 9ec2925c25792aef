"""One rule as a row, and the tables that rows are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

VALIDATION: Final = "ValidationException"
SERIALIZATION: Final = "SerializationException"
NOT_FOUND: Final = "ResourceNotFoundException"
CANCELED: Final = "TransactionCanceledException"

# The pages. "Conformance" is what public suites have measured on AWS where AWS's pages give no words:
# paritysuite/dynamodb-conformance at 3aebbc9 (9 October 2026), and dynalite's validations.
NAMING: Final = "Developer guide, Supported data types and naming rules"
QUOTAS: Final = "Developer guide, Quotas in Amazon DynamoDB"
ERRORS: Final = "Developer guide, Error handling with DynamoDB"
EXPRESSIONS: Final = "Developer guide, Condition and filter expressions, operators, and functions"
UPDATES: Final = "Developer guide, Using update expressions"
NAMES: Final = "Developer guide, Expression attribute names (aliases)"
LEGACY: Final = "Developer guide, Legacy DynamoDB conditional parameters"
KEY_CONDITIONS: Final = "Developer guide, Key condition expressions for the Query operation"
API: Final = "API reference, "


@dataclass(frozen=True, slots=True)
class Rule:
    """A request that breaks a rule, and DynamoDB's answer."""

    page: str
    action: str
    request: dict[str, Any]
    code: str
    message: str
    """All of the message, or its beginning where it ends with an ellipsis."""
    reasons: tuple[str, ...] = ()
    """The codes of a cancelled transaction's reasons."""

    def matches(self, code: str, message: str) -> bool:
        if code != self.code:
            return False
        return message.startswith(self.message[:-1]) if self.message.endswith("…") else message == self.message


def invalid(page: str, action: str, request: dict[str, Any], message: str) -> Rule:
    """A rule whose breach is a ValidationException."""
    return Rule(page, action, request, VALIDATION, message)


def _attributes(**types: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def _keys(*names: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]  # fmt: skip


_ALL: Final = {"ProjectionType": "ALL"}
TABLES: Final[tuple[dict[str, Any], ...]] = (
    {
        "TableName": "things",
        "KeySchema": _keys("pk"),
        "AttributeDefinitions": _attributes(pk="S", a="S"),
        "GlobalSecondaryIndexes": [
            {"IndexName": "too-by-a", "KeySchema": _keys("a"), "Projection": _ALL},
            {"IndexName": "by-a", "KeySchema": _keys("a"), "Projection": {"ProjectionType": "KEYS_ONLY"}},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    },
    {
        "TableName": "pairs",
        "KeySchema": _keys("pk", "sk"),
        "AttributeDefinitions": _attributes(pk="S", sk="N"),
        "BillingMode": "PAY_PER_REQUEST",
    },
    {
        "TableName": "texts",
        "KeySchema": _keys("pk", "sk"),
        "AttributeDefinitions": _attributes(pk="S", sk="S"),
        "BillingMode": "PAY_PER_REQUEST",
    },
    {
        "TableName": "blobs",
        "KeySchema": _keys("pk"),
        "AttributeDefinitions": _attributes(pk="B"),
        "BillingMode": "PAY_PER_REQUEST",
    },
)
