"""Values and keys: what an attribute, a key and an item may be."""

from __future__ import annotations

from typing import Any, Final

from tests.rules.forms import ONE
from tests.rules.rule import API, CANCELED, NAMING, QUOTAS, Rule, invalid

WRONG: Final = "One or more parameter values were invalid: "
NOT_VALID: Final = "One or more parameter values are not valid. "
NUMERIC: Final = "The parameter cannot be converted to a numeric value"
OVERFLOW: Final = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW: Final = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
NESTED: Final = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)
MISMATCH: Final = "The provided key element does not match the schema"
LAYERS: Final = "Conformance, error-messages/valueLayers"
EMPTY: Final = f"{NOT_VALID}The AttributeValue for a key attribute cannot contain an empty"
CANCEL: Final = "Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError]"
KEY: Final = {"pk": {"S": "k"}}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


# The value, what the present layer says of it, and what the older one says where its words are others.
VALUES: Final[list[tuple[Any, str, str | None]]] = [
    ({"N": "abc"}, f"{NUMERIC}: abc", f"{NUMERIC}: abc"),
    ({"N": ""}, f"{NUMERIC}: ", NUMERIC),
    ({"N": "1e126"}, OVERFLOW, OVERFLOW),
    ({"N": "-1e126"}, OVERFLOW, OVERFLOW),
    ({"N": "1e2147483647"}, OVERFLOW, UNDERFLOW),
    ({"N": "1e-131"}, UNDERFLOW, UNDERFLOW),
    ({"N": "0e126"}, OVERFLOW, OVERFLOW),
    (
        {"N": "1" * 39},
        "Attempting to store more than 38 significant digits in a Number",
        "Attempting to store more than 38 significant digits in a Number",
    ),
    ({"NS": ["1", "x"]}, f"{NUMERIC}: x", f"{NUMERIC}: x"),
    ({"M": {"x": {"L": [{"N": "1.2.3"}]}}}, f"{NUMERIC}: 1.2.3", f"{NUMERIC}: 1.2.3"),
    ({"NULL": False}, f"{WRONG}Null attribute value types must have the value of true", None),
    ({"SS": []}, f"{WRONG}An string set  may not be empty", None),
    ({"NS": []}, f"{WRONG}An number set  may not be empty", None),
    ({"BS": []}, f"{WRONG}Binary sets should not be empty", None),
    (
        {"SS": ["b", "a", "b"]},
        f'{WRONG}Input collection ["a", "b", "b"] contains duplicates.',
        f"{WRONG}Input collection [b, a, b] contains duplicates.",
    ),
    (
        {"BS": ["/w==", "AA==", "AA=="]},
        f'{WRONG}Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.',
        f"{WRONG}Input collection [/w==, AA==, AA==]of type BS contains duplicates.",
    ),
    (
        {"NS": ["2", "1", "2.0"]},
        f"{WRONG}Input collection contains duplicates.",
        "Input collection contains duplicates",
    ),
    (
        {},
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        None,
    ),
    (
        {"S": "a", "N": "1"},
        (
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
            "datatypes"
        ),
        None,
    ),
    (nested(32), NESTED, NESTED),
    ({"M": {"": {"S": "x"}}}, "Empty attribute name", "Empty attribute name"),
]


def values() -> list[Rule]:
    """Each bad value on each surface, whether or not the table is there."""
    rules = []
    for value, present, otherwise in VALUES:
        older = present if otherwise is None else otherwise
        item = {**KEY, "v": value}
        wrapped = f"ExpressionAttributeValues contains invalid value: {older} for key :v"
        bound = {"ExpressionAttributeValues": {":v": value}}
        filtered = {"FilterExpression": "v = :v"}
        condition = {"ConditionExpression": "v = :v"}
        pages = f"{NAMING}; {LAYERS}"
        for table in ("things", "nowhere"):
            put = {"TableName": table, "Item": item}
            keyed = {"TableName": table, "Key": KEY}
            rules += [
                invalid(pages, "PutItem", put, ONE + present),
                invalid(pages, "UpdateItem", {**keyed, "UpdateExpression": "SET v = :v", **bound}, ONE + present),
                invalid(pages, "DeleteItem", {**keyed, **condition, **bound}, ONE + present),
                invalid(pages, "DeleteItem", {"TableName": table, "Key": {"pk": value}}, ONE + present),
                invalid(pages, "GetItem", {"TableName": table, "Key": {"pk": value}}, present),
                invalid(pages, "BatchGetItem", {"RequestItems": {table: {"Keys": [{"pk": value}]}}}, present),
                invalid(
                    pages,
                    "Query",
                    {
                        "TableName": table,
                        "KeyConditionExpression": "pk = :p",
                        **filtered,
                        "ExpressionAttributeValues": {":p": {"S": "k"}, ":v": value},
                    },
                    present,
                ),
                invalid(pages, "Scan", {"TableName": table, **filtered, **bound}, wrapped),
                invalid(pages, "BatchWriteItem", {"RequestItems": {table: [{"PutRequest": {"Item": item}}]}}, older),
                invalid(pages, "TransactWriteItems", {"TransactItems": [{"Put": put}]}, older),
                invalid(
                    pages,
                    "TransactWriteItems",
                    {"TransactItems": [{"Delete": {**keyed, **condition, **bound}}]},
                    wrapped,
                ),
                invalid(
                    pages,
                    "TransactGetItems",
                    {"TransactItems": [{"Get": {"TableName": table, "Key": {"pk": value}}}]},
                    older,
                ),
            ]
    return rules


LONG_HASH: Final = f"{WRONG}Size of hashkey has exceeded the maximum size limit of2048 bytes"
LONG_RANGE: Final = f"{WRONG}Size of rangekey has exceeded the maximum size limit of1024 bytes"

# A table, a key that none of its items has, and what is said of it in a put's item; in a `Key` the same is said of an
# impossible value, and `MISMATCH` of a key of another form.
IMPOSSIBLE: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("things", {"pk": {"S": ""}}, f"{EMPTY} string value. Key: pk"),
    ("blobs", {"pk": {"B": ""}}, f"{EMPTY} binary value. Key: pk"),
    ("texts", {"pk": {"S": "a"}, "sk": {"S": ""}}, f"{EMPTY} string value. Key: sk"),
    ("things", {"pk": {"S": "k" * 2049}}, LONG_HASH),
    ("things", {"pk": {"S": "é" * 1025}}, LONG_HASH),
    ("texts", {"pk": {"S": "a"}, "sk": {"S": "s" * 1025}}, LONG_RANGE),
    ("texts", {"pk": {"S": "a"}, "sk": {"S": "é" * 513}}, LONG_RANGE),
]
OF_ANOTHER_FORM: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("things", {"pk": {"N": "5"}}, f"{WRONG}Type mismatch for key pk expected: S actual: N"),
    ("things", {"pk": {"L": []}}, f"{WRONG}Type mismatch for key pk expected: S actual: L"),
    ("things", {"x": {"S": "a"}}, f"{WRONG}Missing the key pk in the item"),
    ("things", {}, f"{WRONG}Missing the key pk in the item"),
    ("pairs", {"pk": {"S": "a"}}, f"{WRONG}Missing the key sk in the item"),
]


def keys() -> list[Rule]:
    """Keys that no item has: each operation's answer. In a transaction a key of another form cancels at its member, and
    an impossible value refuses the request (D3)."""
    rules = []
    page = f"{QUOTAS}; {API}PutItem"
    for table, key, in_item in (*IMPOSSIBLE, *OF_ANOTHER_FORM):
        cancels = (table, key, in_item) in OF_ANOTHER_FORM
        in_key = MISMATCH if cancels else in_item
        keyed = {"TableName": table, "Key": key}
        rules += [
            invalid(page, "PutItem", {"TableName": table, "Item": key}, in_item),
            invalid(page, "GetItem", keyed, in_key),
            invalid(page, "UpdateItem", keyed, in_key),
            invalid(page, "DeleteItem", keyed, in_key),
            invalid(page, "BatchGetItem", {"RequestItems": {table: {"Keys": [key]}}}, in_key),
            invalid(page, "BatchWriteItem", {"RequestItems": {table: [{"PutRequest": {"Item": key}}]}}, in_key),
            invalid(page, "BatchWriteItem", {"RequestItems": {table: [{"DeleteRequest": {"Key": key}}]}}, in_key),
        ]
        parts: list[tuple[str, dict[str, Any], str]] = [
            ("TransactWriteItems", {"Put": {"TableName": table, "Item": key}}, in_item),
            ("TransactWriteItems", {"Delete": keyed}, in_key),
            ("TransactWriteItems", {"Update": {**keyed, "UpdateExpression": "REMOVE x"}}, in_key),
            (
                "TransactWriteItems",
                {"ConditionCheck": {**keyed, "ConditionExpression": "attribute_exists(x)"}},
                in_key,
            ),
            ("TransactGetItems", {"Get": keyed}, in_key),
        ]
        for action, part, said in parts:
            asked = {"TransactItems": [part]}
            rules.append(
                Rule(f"{API}{action}; conformance", action, asked, CANCELED, CANCEL, (said,))
                if cancels
                else invalid(f"{API}{action}; conformance", action, asked, said)
            )
    for more in ({"pk": {"S": "k"}, "more": {"S": "x"}},):
        for action in ("GetItem", "UpdateItem", "DeleteItem"):
            rules.append(invalid(API + action, action, {"TableName": "things", "Key": more}, MISMATCH))
    return rules


def indexes() -> list[Rule]:
    """What an index's key may be: a type that is not the index's, nothing, and too much of it."""
    page = "Conformance, error-messages/indexKeyValues and transactIndexKeys"
    type_mismatch = f"{WRONG}Type mismatch for Index Key a Expected: S Actual: N IndexName: by-a"
    put_empty = (
        f"{NOT_VALID}A value specified for a secondary index key is not supported. The AttributeValue for a key "
        "attribute cannot contain an empty string value. IndexName: by-a, IndexKey: a"
    )
    set_empty = (
        f"{NOT_VALID}The update expression attempted to update a secondary index key to a value that is not "
        "supported. The AttributeValue for a key attribute cannot contain an empty string value."
    )
    typed, empty = {**KEY, "a": {"N": "5"}}, {**KEY, "a": {"S": ""}}

    def put(item: dict[str, Any]) -> dict[str, Any]:
        return {"TableName": "things", "Item": item}

    def update(value: dict[str, Any]) -> dict[str, Any]:
        return {
            "TableName": "things",
            "Key": KEY,
            "UpdateExpression": "SET a = :v",
            "ExpressionAttributeValues": {":v": value},
        }

    def batch(item: dict[str, Any]) -> dict[str, Any]:
        return {"RequestItems": {"things": [{"PutRequest": {"Item": item}}]}}

    def transact(**part: Any) -> dict[str, Any]:
        return {"TransactItems": [part]}

    return [
        invalid(page, "PutItem", put(typed), type_mismatch),
        invalid(page, "PutItem", put(empty), put_empty),
        invalid(page, "BatchWriteItem", batch(typed), type_mismatch),
        invalid(page, "BatchWriteItem", batch(empty), put_empty),
        invalid(
            f"{API}TransactWriteItems",
            "UpdateItem",
            update({"N": "5"}),
            "The update expression attempted to update the secondary index key to unsupported type",
        ),
        invalid(page, "UpdateItem", update({"S": ""}), set_empty),
        invalid(
            QUOTAS,
            "UpdateItem",
            update({"S": "a" * 2049}),
            "The update expression attempted to update the secondary index key beyond allowed size limits",
        ),
        Rule(page, "TransactWriteItems", transact(Put=put(typed)), CANCELED, CANCEL, (type_mismatch,)),
        Rule(page, "TransactWriteItems", transact(Update=update({"N": "5"})), CANCELED, CANCEL, (type_mismatch,)),
        invalid(page, "TransactWriteItems", transact(Put=put(empty)), put_empty),
        invalid(page, "TransactWriteItems", transact(Update=update({"S": ""})), set_empty),
    ]


def sizes() -> list[Rule]:
    """An item's 400 KB, by what is known when."""
    large = {**KEY, "v": {"S": "x" * 409_597}}
    put = {"TableName": "things", "Item": large}
    growth = {
        "TableName": "things",
        "Key": KEY,
        "UpdateExpression": "SET v = :v",
        "ExpressionAttributeValues": {":v": large["v"]},
    }
    too_large = "Item size has exceeded the maximum allowed size"
    updated = "Item size to update has exceeded the maximum allowed size"
    page = f"{QUOTAS}; conformance, limits/itemSizeBySurface"
    return [
        invalid(page, "PutItem", put, ONE + too_large),
        invalid(page, "BatchWriteItem", {"RequestItems": {"things": [{"PutRequest": {"Item": large}}]}}, too_large),
        invalid(page, "TransactWriteItems", {"TransactItems": [{"Put": put}]}, too_large),
        invalid(page, "UpdateItem", growth, updated),
        Rule(page, "TransactWriteItems", {"TransactItems": [{"Update": growth}]}, CANCELED, CANCEL, (updated,)),
        invalid(
            page, "PutItem", {"TableName": "things", "Item": {**KEY, "": {"S": "x"}}}, f"{ONE}Empty attribute name"
        ),
        invalid(
            page,
            "PutItem",
            {"TableName": "things", "Item": {**KEY, "n" * 65_536: {"S": "x"}}},
            f"{ONE}{WRONG}Attribute name is too large, must be less than 65536 bytes",
        ),
    ]


RULES: Final = [*values(), *keys(), *indexes(), *sizes()]
