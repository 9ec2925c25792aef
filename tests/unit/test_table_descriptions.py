"""Descriptions of tables are a foreign format: what is not understood is left out and named; nothing else breaks."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.migrate.preflight.item_checks import ProblemKind, check_table

DESCRIPTION: dict[str, Any] = {
    "TableName": "orders",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "customer", "AttributeType": "S"},
        {"AttributeName": "placed", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-customer",
            "IndexStatus": "ACTIVE",
            "KeySchema": [
                {"AttributeName": "customer", "KeyType": "HASH"},
                {"AttributeName": "placed", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        },
    ],
}


def with_index(**changes: Any) -> dict[str, Any]:
    """The description with a second index, `other`, changed; a change of None takes the member away."""
    found = copy.deepcopy(DESCRIPTION)
    index = {**copy.deepcopy(DESCRIPTION["GlobalSecondaryIndexes"][0]), "IndexName": "other", **changes}
    found["GlobalSecondaryIndexes"].append({name: value for name, value in index.items() if value is not None})
    return found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"IndexStatus": "DELETING"}, "being deleted"),
        ({"KeySchema": None}, "lacks 'KeySchema'"),
        ({"KeySchema": []}, "has no hash attribute"),
        ({"KeySchema": [{"AttributeName": "gone", "KeyType": "HASH"}]}, "key attribute gone is not defined"),
        ({"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}] * 2}, "names an attribute twice"),
        ({"KeySchema": [{"AttributeName": f"a{n}", "KeyType": "HASH"} for n in range(5)]}, "more than 4 hash or range"),
        ({"KeySchema": [{"AttributeName": "id", "KeyType": "VECTOR"}]}, "lacks 'VECTOR'"),
    ],
)
def test_an_index_that_is_not_understood_is_left_out_and_named(changes: dict[str, Any], why: str) -> None:
    schema = TableSchema.from_description(with_index(**changes))
    assert set(schema.indexes) == {"by-customer"}
    assert why in schema.left_out["other"]


def test_a_local_index_has_one_attribute_of_each_kind() -> None:
    keys = [("id", "HASH"), ("placed", "RANGE"), ("customer", "RANGE")]
    local = {
        "IndexName": "local",
        "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in keys],
        "Projection": {"ProjectionType": "ALL"},
    }
    schema = TableSchema.from_description({**DESCRIPTION, "LocalSecondaryIndexes": [local]})
    assert schema.left_out["local"] == "its key has several hash or range attributes"


def test_a_vector_index_is_left_out_and_named() -> None:
    schema = TableSchema.from_description({**DESCRIPTION, "VectorIndexes": [{"IndexName": "by-meaning"}]})
    assert "vector index" in schema.left_out["by-meaning"]
    [problem] = check_table(DocumentMapping(schema), schema)
    assert (problem.kind, problem.attribute) == (ProblemKind.INDEX, "indexes.by-meaning")


def test_an_index_without_a_projection_holds_everything() -> None:
    schema = TableSchema.from_description(with_index(Projection=None))
    assert schema.indexes["other"].projected is None
    assert not schema.left_out


@pytest.mark.parametrize("member", ["TableName", "KeySchema", "AttributeDefinitions"])
def test_a_table_whose_own_key_is_not_understood_is_refused(member: str) -> None:
    with pytest.raises(ValueError, match=member):
        TableSchema.from_description({name: value for name, value in DESCRIPTION.items() if name != member})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["IndexName", "KeySchema", "KeyType", "AttributeName", "Projection", "IndexStatus"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON, st.sampled_from(["GlobalSecondaryIndexes", "LocalSecondaryIndexes"]))
def test_whatever_stands_for_an_index_the_table_is_understood(anything: Any, where: str) -> None:
    found = copy.deepcopy(DESCRIPTION)
    found.setdefault(where, []).append(anything)
    schema = TableSchema.from_description(found)
    assert schema.hash == "id"
    assert "by-customer" in {**schema.indexes, **schema.left_out}


@given(_JSON, st.sampled_from(sorted(DESCRIPTION)))
def test_whatever_stands_for_a_member_the_table_is_understood_or_refused(anything: Any, member: str) -> None:
    try:
        schema = TableSchema.from_description({**DESCRIPTION, member: anything})
    except ValueError:
        return
    assert set(schema.types.values()) <= {"S", "N", "B"} or schema.left_out or member == "AttributeDefinitions"


@pytest.mark.parametrize(("letter", "most"), [("x", 1024), ("\u00e9", 512), ("\u96ea", 341), ("\U0001f600", 256)])
def test_the_limit_of_a_sort_key_is_in_bytes(letter: str, most: int) -> None:
    """ "Quotas in Amazon DynamoDB", Sort keys: 1,024 bytes of UTF-8."""
    keys = [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "customer", "KeyType": "RANGE"}]
    schema = TableSchema.from_description({**DESCRIPTION, "KeySchema": keys})
    schema.check_key(schema.key_of({"id": {"S": "a"}, "customer": {"S": letter * most}}))
    with pytest.raises(DynamoDBError, match="rangekey"):
        schema.check_key(schema.key_of({"id": {"S": "a"}, "customer": {"S": letter * (most + 1)}}))
