"""Tables as CreateTable and UpdateTable define them, without a DynamoDB."""

from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.tables import definitions
from proxy.settings import DSQL, Settings
from proxy.settings.shadow import StagesSettings

PREFIX = "arn:aws:dynamodb:us-east-1:000000000000"
KEY = [{"AttributeName": "id", "KeyType": "HASH"}]
ID = {"AttributeName": "id", "AttributeType": "S"}
STATE = {"AttributeName": "state", "AttributeType": "S"}
INDEX: dict[str, Any] = {
    "IndexName": "by-state",
    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
REQUEST: dict[str, Any] = {
    "TableName": "orders",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": KEY,
    "AttributeDefinitions": [ID, STATE],
    "GlobalSecondaryIndexes": [INDEX],
}


def made(**more: Any) -> dict[str, Any]:
    return definitions.create({**REQUEST, **more}, PREFIX, "an-id", 1.0)


def test_a_definition_becomes_a_description() -> None:
    described = made()
    assert described["TableArn"] == f"{PREFIX}:table/orders"
    assert described["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    [index] = described["GlobalSecondaryIndexes"]
    assert index["IndexArn"] == f"{PREFIX}:table/orders/index/by-state"
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    provisioned = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    described = made(BillingMode="PROVISIONED", ProvisionedThroughput=provisioned)
    assert described["ProvisionedThroughput"] == {**provisioned, "NumberOfDecreasesToday": 0}
    assert "BillingModeSummary" not in described


def test_what_has_no_effect_is_described_as_it_was_asked_for() -> None:
    throughput = {"MaxReadRequestUnits": 7}
    described = made(
        TableClass="STANDARD_INFREQUENT_ACCESS",
        OnDemandThroughput=throughput,
        SSESpecification={"Enabled": True, "KMSMasterKeyId": "a-key"},
    )
    assert described["TableClassSummary"] == {"TableClass": "STANDARD_INFREQUENT_ACCESS"}
    assert described["OnDemandThroughput"] == throughput
    assert described["SSEDescription"] == {
        "Status": "ENABLED",
        "SSEType": "KMS",
        "KMSMasterKeyArn": "arn:aws:kms:us-east-1:000000000000:key/a-key",
    }
    assert definitions.update({"TableClass": "STANDARD"}, described)["TableClassSummary"] == {"TableClass": "STANDARD"}


@pytest.mark.parametrize(
    "more",
    [
        {"TableName": "a"},
        {"TableName": "a b*c"},
        {"TableName": None},
        {"KeySchema": []},
        {"KeySchema": None},
        {"AttributeDefinitions": [ID]},
        {"AttributeDefinitions": [ID, STATE, {"AttributeName": "spare", "AttributeType": "N"}]},
        {"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "BOOL"}, STATE]},
        {"GlobalSecondaryIndexes": [INDEX, INDEX]},
    ],
)
def test_what_is_no_table_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(DynamoDBError) as refused:
        made(**more)
    assert refused.value.code == "ValidationException"


PAIR = [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
AT = {"AttributeName": "at", "AttributeType": "N"}
BARE = {"GlobalSecondaryIndexes": None, "AttributeDefinitions": [ID]}
ENUM = "failed to satisfy constraint: Member must satisfy enum value set:"
INVALID = "One or more parameter values were invalid: "


def local(*key: dict[str, Any], **more: Any) -> dict[str, Any]:
    index = {"IndexName": "local", "KeySchema": list(key), "Projection": {"ProjectionType": "ALL"}}
    return {"KeySchema": PAIR, "GlobalSecondaryIndexes": None, "LocalSecondaryIndexes": [index | more]}


# What is asked for, and the words of AWS (see `definition_rules` for where they come from).
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        BARE | {"KeySchema": [KEY[0], {"AttributeName": "at", "KeyType": "SORT"}]},
        f"1 validation error detected: Value 'SORT' at 'keySchema.2.member.keyType' {ENUM} [HASH, RANGE]",
    ),
    (
        {"GlobalSecondaryIndexes": [INDEX | {"KeySchema": [{"AttributeName": "state", "KeyType": "SORT"}]}]},
        (
            "1 validation error detected: Value 'SORT' at 'globalSecondaryIndexes.1.member.keySchema.1.member.keyType' "
            f"{ENUM} [HASH, RANGE]"
        ),
    ),
    (
        {"BillingMode": "FREE", "AttributeDefinitions": [ID, STATE | {"AttributeType": "SS"}]},
        (
            f"2 validation errors detected: Value 'FREE' at 'billingMode' {ENUM} [PROVISIONED, PAY_PER_REQUEST]; "
            f"Value 'SS' at 'attributeDefinitions.2.member.attributeType' {ENUM} [B, N, S]"
        ),
    ),
    (
        BARE | {"KeySchema": [*PAIR, {"AttributeName": "x", "KeyType": "RANGE"}]},
        (
            "1 validation error detected: Value '[KeySchemaElement(attributeName=id, keyType=HASH), "
            "KeySchemaElement(attributeName=at, keyType=RANGE), KeySchemaElement(attributeName=x, keyType=RANGE)]' at "
            "'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2"
        ),
    ),
    (
        {"GlobalSecondaryIndexes": [{"IndexName": "by-state", "KeySchema": INDEX["KeySchema"]}]},
        (
            "1 validation error detected: Value null at 'globalSecondaryIndexes.1.member.projection' failed to satisfy "
            "constraint: Member must not be null"
        ),
    ),
    (
        {"BillingMode": None},
        f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
    ),
    (
        {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
        (
            f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
            "PAY_PER_REQUEST"
        ),
    ),
    (
        BARE | {"KeySchema": [{"AttributeName": "id", "KeyType": "RANGE"}]},
        "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
    ),
    (
        BARE | {"KeySchema": [KEY[0], {"AttributeName": "id", "KeyType": "RANGE"}]},
        "Both the Hash Key and the Range Key element in the KeySchema have the same name",
    ),
    (
        BARE | {"KeySchema": [KEY[0], {"AttributeName": "at", "KeyType": "HASH"}], "AttributeDefinitions": [ID, AT]},
        "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
    ),
    (
        {"GlobalSecondaryIndexes": None},
        (
            f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        ),
    ),
    (BARE | {"KeySchema": PAIR}, "Invalid KeySchema: Some index key attribute have no definition"),
    (
        BARE | {"AttributeDefinitions": [AT]},
        (
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [id], "
            "AttributeDefinitions: [at]"
        ),
    ),
    (
        {"AttributeDefinitions": [ID]},
        (
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [state], "
            "AttributeDefinitions: [id]"
        ),
    ),
    (
        {"AttributeDefinitions": [ID, STATE, AT]},
        (
            f"{INVALID}Some AttributeDefinitions are not used. AttributeDefinitions: [id, state, at], keys used: "
            "[id, state]"
        ),
    ),
    ({"GlobalSecondaryIndexes": []}, f"{INVALID}List of GlobalSecondaryIndexes is empty"),
    ({"LocalSecondaryIndexes": []}, f"{INVALID}List of LocalSecondaryIndexes is empty"),
    ({"GlobalSecondaryIndexes": [INDEX, INDEX]}, f"{INVALID}Duplicate index name: by-state"),
    (
        {"GlobalSecondaryIndexes": [INDEX | {"Projection": {}}]},
        f"{INVALID}Unknown ProjectionType: null",
    ),
    (
        {"GlobalSecondaryIndexes": [INDEX | {"Projection": {"ProjectionType": "ALL", "NonKeyAttributes": ["a"]}}]},
        f"{INVALID}ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    (
        {"GlobalSecondaryIndexes": [INDEX | {"Projection": {"ProjectionType": "INCLUDE"}}]},
        f"{INVALID}ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
    ),
    (
        local(*KEY, {"AttributeName": "state", "KeyType": "RANGE"}) | {"KeySchema": KEY},
        f"{INVALID}Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
    ),
    (
        local(*KEY) | {"AttributeDefinitions": [ID, AT]},
        f"{INVALID}Index KeySchema does not have a range key for index: local",
    ),
    (
        local({"AttributeName": "state", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"})
        | {"AttributeDefinitions": [ID, STATE, AT]},
        (
            f"{INVALID}Index KeySchema does not have the same leading hash key as table KeySchema for index: local. "
            "index hash key: state, table hash key: id"
        ),
    ),
    (
        {"GlobalSecondaryIndexes": [INDEX | {"IndexName": f"i{n:02}"} for n in range(21)]},
        f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of 20",
    ),
]


@pytest.mark.parametrize(("more", "words"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_no_table_is_refused_in_dynamodbs_words(more: dict[str, Any], words: str) -> None:
    with pytest.raises(DynamoDBError) as refused:
        made(**more)
    assert (refused.value.code, refused.value.message) == ("ValidationException", words)


@pytest.mark.parametrize(
    "member", ["VectorIndexes", "ResourcePolicy", "GlobalTableSourceArn", "ReplicaUpdates", "SomethingNew"]
)
def test_what_a_table_on_dsql_cannot_have_is_refused_by_name(member: str) -> None:
    with pytest.raises(DynamoDBError) as at_creation:
        made(**{member: [{"a": 1}]})
    with pytest.raises(DynamoDBError) as at_change:
        definitions.update({member: [{"a": 1}]}, made())
    words = f"{member} is not available: these tables are served from Aurora DSQL"
    assert (at_creation.value.message, at_change.value.message) == (words, words)


UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}


def test_an_update_must_change_something_that_can_be() -> None:
    provisioned = made(BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    refused: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"AttributeDefinitions": [ID | {"AttributeType": "N"}]}, made(), "At least one of"),
        ({"ProvisionedThroughput": UNITS}, made(), "Neither ReadCapacityUnits nor"),
        ({"ProvisionedThroughput": UNITS}, provisioned, "will not change"),
        ({"ProvisionedThroughput": UNITS | {"ReadCapacityUnits": 0}}, provisioned, "greater than or equal to 1"),
        ({"BillingMode": "PROVISIONED"}, made(), "must both be specified"),
    ]
    for request, present, words in refused:
        with pytest.raises(DynamoDBError, match=words):
            definitions.update(request, present)
    more = UNITS | {"ReadCapacityUnits": 9}
    assert definitions.update({"ProvisionedThroughput": more}, provisioned)["ProvisionedThroughput"] == {
        **more,
        "NumberOfDecreasesToday": 0,
    }
    to_provisioned = definitions.update({"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}, made())
    assert to_provisioned["BillingModeSummary"] == {"BillingMode": "PROVISIONED"}
    change = {"Update": {"IndexName": "by-state", "ProvisionedThroughput": UNITS}}
    [index] = definitions.update({"GlobalSecondaryIndexUpdates": [change]}, provisioned)["GlobalSecondaryIndexes"]
    assert index["ProvisionedThroughput"]["WriteCapacityUnits"] == 6


def test_an_index_comes_and_goes_with_its_attribute() -> None:
    without = definitions.update({"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-state"}}]}, made())
    assert "GlobalSecondaryIndexes" not in without
    assert without["AttributeDefinitions"] == [ID]
    again = definitions.update(
        {"AttributeDefinitions": [ID, STATE], "GlobalSecondaryIndexUpdates": [{"Create": INDEX}]}, without
    )
    assert again["GlobalSecondaryIndexes"] == made()["GlobalSecondaryIndexes"]
    for change, code in (
        ({"Create": INDEX}, "ValidationException"),
        ({"Delete": {"IndexName": "unheard-of"}}, "ResourceNotFoundException"),
        ({"Rename": {"IndexName": "by-state"}}, "SerializationException"),
    ):
        with pytest.raises(DynamoDBError) as refused:
            definitions.update({"GlobalSecondaryIndexUpdates": [change]}, made())
        assert refused.value.code == code


def test_a_protected_table_is_not_deleted_until_it_is_not() -> None:
    protected = made(DeletionProtectionEnabled=True)
    with pytest.raises(DynamoDBError, match="protected against deletion"):
        definitions.refuse_protected(protected)
    definitions.refuse_protected(definitions.update({"DeletionProtectionEnabled": False}, protected))


def test_the_setting_needs_every_table_to_be_complete_and_pinned() -> None:
    dsql = DSQL(dsn="postgresql://nobody@127.0.0.1:1/x")
    assert Settings(stage="complete", dsql=dsql, control_plane="dsql").control_plane == "dsql"
    with pytest.raises(ValueError, match="control_plane"):
        Settings(stage="live", dsql=dsql, control_plane="dsql")
    with pytest.raises(ValueError, match="control_plane"):
        Settings(stage="off", dsql=dsql, control_plane="dsql", stages=StagesSettings(table="crossfade_stages"))
