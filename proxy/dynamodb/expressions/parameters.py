"""The request parameters that hold an expression, and how a fault in one is worded."""

from typing import Literal as OneOf
from typing import TypeAlias

from proxy.dynamodb.errors import DynamoDBError, validation

MAX_EXPRESSION_BYTES = 4096
MAX_OPERATORS = 300
MAX_IN_OPERANDS = 100
MAX_PATH_LEVELS = 32
MAX_LIST_INDEX = 2**31 - 1

Parameter: TypeAlias = OneOf[
    "ConditionExpression", "FilterExpression", "KeyConditionExpression", "UpdateExpression", "ProjectionExpression"
]


def invalid(parameter: str, reason: str) -> DynamoDBError:
    return validation(f"Invalid {parameter}: {reason}")
