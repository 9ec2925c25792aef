"""What a request may look like: names, enums, ranges, lists, members that must be there, and JSON types."""

from __future__ import annotations

from typing import Any, Final

from tests.rules.rule import API, ERRORS, NAMING, NOT_FOUND, QUOTAS, SERIALIZATION, Rule, invalid

ONE: Final = "1 validation error detected: "
FAILED: Final = "failed to satisfy constraint: Member must"
PATTERN: Final = f"{FAILED} satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
ENUM: Final = f"{FAILED} satisfy enum value set: "
CAPACITY: Final = f"Value 'X' at 'returnConsumedCapacity' {ENUM}[INDEXES, TOTAL, NONE]"
METRICS: Final = f"Value 'X' at 'returnItemCollectionMetrics' {ENUM}[SIZE, NONE]"
RETURN: Final = (
    "Failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
)
MAP_KEYS: Final = (
    "failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to "
    "255, Member must have length greater than or equal to 3, Member must satisfy regular expression pattern: "
    "[a-zA-Z0-9_.-]+]"
)
KEY: Final = {"pk": {"S": "k"}}
PAGED: Final = {
    "Query": {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "k"}}},
    "Scan": {},
}
SINGLE: Final[dict[str, dict[str, Any]]] = {
    "GetItem": {"Key": KEY},
    "PutItem": {"Item": KEY},
    "UpdateItem": {"Key": KEY},
    "DeleteItem": {"Key": KEY},
    **PAGED,
}
LONG: Final = "n" * 256
MANY_KEYS: Final = [{"pk": {"S": f"k{number}"}} for number in range(101)]
MANY_WRITES: Final = [{"DeleteRequest": {"Key": key}} for key in MANY_KEYS[:26]]


def names() -> list[Rule]:
    """Names of tables and indexes, looked at before the table is (D5)."""
    rules = []
    for action, request in SINGLE.items():
        page = f"{NAMING}; {API}{action}"
        for name, said in (
            (None, f"Value null at 'tableName' {FAILED} not be null"),
            ("", f"Value at 'TableName' {FAILED} have length greater than or equal to 1"),
            ("a b*c", f"Value 'a b*c' at 'tableName' {PATTERN}"),
            ("ab", f"Value 'ab' at 'tableName' {FAILED} have length greater than or equal to 3"),
            (LONG, f"Value '{LONG}' at 'tableName' {FAILED} have length less than or equal to 255"),
        ):
            rules.append(invalid(page, action, {**request, "TableName": name}, ONE + said))
        rules.append(
            Rule(
                ERRORS,
                action,
                {**request, "TableName": "nowhere"},
                NOT_FOUND,
                "Requested resource not found",
            )
        )
    for action, request in PAGED.items():
        for name, said in (
            ("i?ndex", f"Value 'i?ndex' at 'indexName' {PATTERN}"),
            ("ab", f"Value 'ab' at 'indexName' {FAILED} have length greater than or equal to 3"),
            (LONG, f"Value '{LONG}' at 'indexName' {FAILED} have length less than or equal to 255"),
        ):
            rules.append(invalid(NAMING, action, {**request, "TableName": "things", "IndexName": name}, ONE + said))
    return rules


def enums() -> list[Rule]:
    """Members with few values, whether or not the table is there (D5, D6)."""
    rules = []
    for action, request in SINGLE.items():
        for table in ("things", "nowhere"):
            asked = {**request, "TableName": table, "ReturnConsumedCapacity": "X"}
            rules.append(invalid(API + action, action, asked, ONE + CAPACITY))
    for action in ("PutItem", "DeleteItem"):
        wrong = {"ReturnValues": "X", "ReturnConsumedCapacity": "X", "ReturnItemCollectionMetrics": "X"}
        rules += [
            invalid(
                API + action, action, {**SINGLE[action], "TableName": "nowhere", "ReturnValues": "X"}, ONE + RETURN
            ),
            invalid(
                API + action,
                action,
                {**SINGLE[action], "TableName": "nowhere"} | wrong,
                f"3 validation errors detected: {CAPACITY}; {METRICS}; {RETURN}",
            ),
        ]
        for allowed in ("ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"):
            rules.append(
                invalid(
                    API + action,
                    action,
                    {**SINGLE[action], "TableName": "things", "ReturnValues": allowed},
                    f"{ONE}ReturnValues can only be ALL_OLD or NONE",
                )
            )
    update = {**SINGLE["UpdateItem"], "TableName": "nowhere"}
    none: dict[str, Any] = {"TableName": "", "ReturnConsumedCapacity": "X", "ReturnValues": "X"}
    rules += [
        invalid(f"{API}UpdateItem", "UpdateItem", update | {"ReturnValues": "X"}, ONE + RETURN),
        invalid(
            "Conformance, validation-ordering/updateItem",
            "UpdateItem",
            update | {"ReturnValues": "X", "ReturnConsumedCapacity": "X"},
            ONE + RETURN,
        ),
        invalid(
            "Conformance, validation-ordering/updateItem",
            "UpdateItem",
            none,
            f"4 validation errors detected: {CAPACITY}; Value '' at 'tableName' {FAILED} have length greater than or "
            f"equal to 1; Value 'X' at 'returnValues' {ENUM}[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]; "
            f"Value null at 'key' {FAILED} not be null",
        ),
    ]
    for action in ("PutItem", "UpdateItem", "DeleteItem"):
        rules.append(
            invalid(
                API + action,
                action,
                {**SINGLE[action], "TableName": "things", "ReturnValuesOnConditionCheckFailure": "X"},
                f"{ONE}Value 'X' at 'returnValuesOnConditionCheckFailure' {ENUM}[ALL_OLD, NONE]",
            )
        )
    for action, request in PAGED.items():
        rules.append(
            invalid(
                API + action,
                action,
                {**request, "TableName": "nowhere", "Select": "X"},
                f"{ONE}Value 'X' at 'select' {ENUM}"
                "[SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
            )
        )
    for action, request in (
        ("BatchGetItem", {"RequestItems": {"nowhere": {"Keys": [KEY]}}}),
        ("BatchWriteItem", {"RequestItems": {"nowhere": [{"PutRequest": {"Item": KEY}}]}}),
        ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "nowhere", "Key": KEY}}]}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "nowhere", "Item": KEY}}]}),
    ):
        rules.append(invalid(API + action, action, request | {"ReturnConsumedCapacity": "X"}, ONE + CAPACITY))
        rules.append(Rule(API + action, action, request, NOT_FOUND, "Requested resource not found"))
        if "Write" in action:
            wrong = {"ReturnConsumedCapacity": "X", "ReturnItemCollectionMetrics": "X"}
            both = f"2 validation errors detected: {CAPACITY}; {METRICS}"
            rules.append(invalid("Conformance, validation-ordering", action, request | wrong, both))
    return rules


def ranges() -> list[Rule]:
    """Numbers: Limit, Segment and TotalSegments."""
    rules: list[Rule] = []
    for action, request in PAGED.items():
        said = f"{ONE}Value at 'Limit' {FAILED} have value greater than or equal to 1"
        asked = {**request, "TableName": "things"}
        rules.extend(invalid(API + action, action, {**asked, "Limit": limit}, said) for limit in (0, -1))
    for segment, total, said in (
        (-1, 4, f"{ONE}Value at 'Segment' {FAILED} have value greater than or equal to 0"),
        (0, 0, f"{ONE}Value at 'TotalSegments' {FAILED} have value greater than or equal to 1"),
        (0, 1_000_001, f"{ONE}Value at 'TotalSegments' {FAILED} have value less than or equal to 1000000"),
        (5, 5, "The Segment parameter is zero-based and must be less than parameter TotalSegments"),
        (
            None,
            4,
            (
                "The Segment parameter is required but was not present in the request when parameter TotalSegments is "
                "present"
            ),
        ),
        (
            0,
            None,
            (
                "The TotalSegments parameter is required but was not present in the request when Segment parameter is "
                "present"
            ),
        ),
    ):
        scan: dict[str, Any] = {"TableName": "things", "Segment": segment, "TotalSegments": total}
        rules.append(invalid(f"{API}Scan", "Scan", scan, said))
    return rules


def lists() -> list[Rule]:
    """How many parts a request has, and what each must be (L8, D4)."""
    batch_get, batch_write = f"{API}BatchGetItem", f"{API}BatchWriteItem"
    shown = '{"bad!name":{"Keys":[{"pk":{"S":"k"}}]}}'
    put_and_delete = {"PutRequest": {"Item": KEY}, "DeleteRequest": {"Key": KEY}}
    union = (
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
    )
    bad: dict[str, Any] = {"RequestItems": {"bad!name": {"Keys": [KEY]}}}
    rules = []
    for action, lists in (("BatchGetItem", {"Keys": []}), ("BatchWriteItem", [])):
        page = API + action
        rules += [
            invalid(page, action, {}, f"{ONE}Value null at 'requestItems' {FAILED} not be null"),
            invalid(
                page,
                action,
                {"RequestItems": {}},
                f"{ONE}Value at 'RequestItems' {FAILED} have length greater than or equal to 1",
            ),
            Rule(page, action, {"RequestItems": []}, SERIALIZATION, "Unrecognized collection type java.util.Map"),
            invalid(
                page,
                action,
                {"RequestItems": {"things": lists}},
                f"{ONE}Value at 'RequestItems.things.member.Keys' {FAILED} have length greater than or equal to 1"
                if action == "BatchGetItem"
                else f"{ONE}Value '{{things=[]}}' at 'requestItems' failed to satisfy constraint: Map value must "
                "satisfy constraint: [Member must have length less than or equal to 25, Member must have length "
                "greater than or equal to 1]",
            ),
        ]
    rules += [
        invalid(
            batch_get,
            "BatchGetItem",
            {"RequestItems": {"things": {"Keys": MANY_KEYS}}},
            f"{ONE}Value at 'RequestItems.things.member.Keys' {FAILED} have length less than or equal to 100",
        ),
        invalid(
            batch_get,
            "BatchGetItem",
            {"RequestItems": {"things": {"Keys": MANY_KEYS[:60]}, "nowhere": {"Keys": MANY_KEYS[:60]}}},
            "Too many items requested for the BatchGetItem call",
        ),
        invalid(
            batch_get,
            "BatchGetItem",
            {"RequestItems": {"things": {}}},
            f"{ONE}Value null at 'requestItems.things.member.keys' {FAILED} not be null",
        ),
        invalid("Conformance, batchGetItem", "BatchGetItem", bad, f"{ONE}Value '{shown}' at 'requestItems' {MAP_KEYS}"),
        invalid(
            "Conformance, validation-ordering/batchOperations",
            "BatchGetItem",
            bad | {"ReturnConsumedCapacity": "X"},
            f"2 validation errors detected: Value '{shown}' at 'requestItems' {MAP_KEYS}; {CAPACITY}",
        ),
        invalid(
            "Conformance, batchGetItem",
            "BatchGetItem",
            {
                "RequestItems": {
                    "things": {"Keys": [KEY], "ProjectionExpression": "pk"},
                    "texts": {"Keys": [{"pk": {"S": "a"}, "sk": {"S": "b"}}], "AttributesToGet": ["pk"]},
                }
            },
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}",
        ),
        invalid(
            batch_get,
            "BatchGetItem",
            {"RequestItems": {"things": {"Keys": [KEY, KEY]}}},
            "Provided list of item keys contains duplicates",
        ),
        invalid(
            batch_write,
            "BatchWriteItem",
            {"RequestItems": {"things": MANY_WRITES}},
            f"{ONE}Value at 'RequestItems.things.member' {FAILED} have length less than or equal to 25",
        ),
        invalid(
            batch_write,
            "BatchWriteItem",
            {"RequestItems": {"things": MANY_WRITES[:20], "nowhere": MANY_WRITES[:20]}},
            "Too many items requested for the BatchWriteItem call",
        ),
        invalid(f"{API}WriteRequest", "BatchWriteItem", {"RequestItems": {"things": [put_and_delete]}}, union),
        invalid(f"{API}WriteRequest", "BatchWriteItem", {"RequestItems": {"things": [{}]}}, union),
        invalid(
            f"{API}PutRequest",
            "BatchWriteItem",
            {"RequestItems": {"things": [{"PutRequest": {}}]}},
            f"{ONE}Value null at 'requestItems.things.member.1.member.putRequest.item' {FAILED} not be null",
        ),
        invalid(
            "Conformance, batchWriteItem",
            "BatchWriteItem",
            {"RequestItems": {"bad!name": [{"PutRequest": {"Item": KEY}}]}},
            f"{ONE}Value '{{bad!name=[WriteRequest(putRequest=PutRequest(item={{pk={{S=k}}}}))]}}' at 'requestItems' "
            f"{MAP_KEYS}",
        ),
        invalid(
            batch_write,
            "BatchWriteItem",
            {"RequestItems": {"things": [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]}},
            "Provided list of item keys contains duplicates",
        ),
    ]
    return rules


def required() -> list[Rule]:
    """Members that must be there, and JSON of other types."""
    rules = []
    for action, member in (("GetItem", "key"), ("PutItem", "item"), ("UpdateItem", "key"), ("DeleteItem", "key")):
        said = f"{ONE}Value null at '{member}' {FAILED} not be null"
        rules.append(invalid(API + action, action, {"TableName": "things"}, said))
    for member, given, said in (
        ("TableName", 5, "NUMBER_VALUE cannot be converted to String"),
        ("TableName", {}, "Start of structure or map found where not expected"),
        ("Key", [], "Unrecognized collection type java.util.Map"),
        ("Key", "k", "Unexpected field type"),
        ("ConsistentRead", 1, "NUMBER_VALUE cannot be converted to Boolean"),
        ("ConsistentRead", "true", "Unexpected token received from parser"),
        ("AttributesToGet", {}, "Start of structure or map found where not expected"),
        ("ProjectionExpression", True, "TRUE_VALUE cannot be converted to String"),
    ):
        request: dict[str, Any] = {"TableName": "things", "Key": KEY, member: given}
        rules.append(Rule(ERRORS, "GetItem", request, SERIALIZATION, said))
    for given, said in (
        ("5", "STRING_VALUE cannot be converted to Integer"),
        (True, "TRUE_VALUE cannot be converted to Integer"),
    ):
        rules.append(Rule(ERRORS, "Scan", {"TableName": "things", "Limit": given}, SERIALIZATION, said))
    rules.append(
        invalid(
            QUOTAS,
            "GetItem",
            {"TableName": "things", "Key": KEY, "AttributesToGet": []},
            f"{ONE}Value '[]' at 'attributesToGet' {FAILED} have length greater than or equal to 1",
        )
    )
    return rules


RULES: Final = [*names(), *enums(), *ranges(), *lists(), *required()]
