"""JSON of another type than a member has: what the framework that reads requests for DynamoDB refuses.

All of it is SerializationException, but for null, which is a value that is left out. The words are those which public
test suites have observed on the service.
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from proxy.dynamodb.errors import DynamoDBError, serialization, validation

# The members of requests whose JSON has one type, whichever operation or part they stand in.
_JSON_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(
        (
            "ClientRequestToken",
            "ConditionExpression",
            "ConditionalOperator",
            "FilterExpression",
            "IndexName",
            "KeyConditionExpression",
            "ProjectionExpression",
            "ReturnConsumedCapacity",
            "ReturnItemCollectionMetrics",
            "ReturnValues",
            "ReturnValuesOnConditionCheckFailure",
            "Select",
            "TableName",
            "UpdateExpression",
        ),
        str,
    ),
    **dict.fromkeys(("ConsistentRead", "ScanIndexForward"), bool),
    **dict.fromkeys(("Limit", "Segment", "TotalSegments"), int),
    **dict.fromkeys(
        (
            "AttributeUpdates",
            "ExclusiveStartKey",
            "Expected",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "Item",
            "Key",
            "KeyConditions",
            "QueryFilter",
            "RequestItems",
            "ScanFilter",
        ),
        dict,
    ),
    **dict.fromkeys(("AttributesToGet", "Keys", "TransactItems"), list),
}


def check_json(members: Any) -> None:
    """Check that each member of a request, or of a part of one, has the JSON type of its name; members of other names
    are passed over. Raises SerializationException."""
    if type(members) is not dict:
        _refuse_shape(members, "Map")
    for name, content in members.items():
        wanted = _JSON_TYPES.get(name)
        if wanted is None or content is None or type(content) is wanted:
            continue
        if wanted is str:
            refuse(content, "String")
        if wanted is bool:
            refuse(content, "Boolean")
        if wanted is int:
            if type(content) is str:
                raise serialization("STRING_VALUE cannot be converted to Integer")
            refuse(content, "Integer")
        _refuse_shape(content, "Map" if wanted is dict else "List")


def _refuse_shape(content: Any, wanted: str) -> NoReturn:
    if wanted == "List" and isinstance(content, dict):
        raise serialization("Start of structure or map found where not expected")
    if wanted == "Map" and isinstance(content, list):
        raise serialization("Unrecognized collection type java.util.Map")
    raise serialization("Unexpected field type")


def expect_list(content: Any) -> None:
    if type(content) is not list:
        if isinstance(content, dict):
            raise serialization("Start of structure or map found where not expected")
        raise serialization("Unexpected field type")


def expect_texts(content: Any, wanted: str) -> None:
    expect_list(content)
    for text in content:
        if type(text) is not str:
            refuse(text, wanted)


def refuse(content: Any, wanted: str) -> NoReturn:
    """JSON of another type than the member has: the refusal of the framework that reads requests for DynamoDB."""
    raise _conversion_error(content, wanted)


def _conversion_error(content: Any, wanted: str) -> DynamoDBError:
    if content is None:
        return validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if isinstance(content, dict):
        return serialization("Start of structure or map found where not expected")
    if isinstance(content, list):
        java = {"Blob": "java.nio.ByteBuffer"}.get(wanted, f"java.lang.{wanted}")
        return serialization(f"Unrecognized collection type class {java}")
    if wanted == "Blob":
        return serialization("only base-64-encoded strings are convertible to bytes")
    if isinstance(content, str):
        return serialization("Unexpected token received from parser")
    token = (
        f"{str(content).upper()}_VALUE"
        if isinstance(content, bool)
        else ("NUMBER_VALUE" if isinstance(content, int) else "DECIMAL_VALUE")
    )
    return serialization(f"{token} cannot be converted to {wanted}")
