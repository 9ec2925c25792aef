"""The request parameters that hold an expression, and how a fault in one is worded."""

from typing import Literal as OneOf
from typing import TypeAlias

from proxy.dynamodb.errors import DynamoDBError, validation

Parameter: TypeAlias = OneOf[
    "ConditionExpression", "FilterExpression", "KeyConditionExpression", "UpdateExpression", "ProjectionExpression"
]


def invalid(parameter: str, reason: str) -> DynamoDBError:
    return validation(f"Invalid {parameter}: {reason}")
