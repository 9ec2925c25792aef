"""Global indexes whose key has several hash and several range attributes, in the pure rooms.

Sources: developer guide, "Multi-attribute keys pattern"; what DynamoDB itself answered: dynamodb-conformance, tier 1,
multiAttributeGsiKey, and moto's tests that are verified against AWS (test_dynamodb_multi_attribute_gsi).
"""

import tomllib
from functools import cmp_to_key
from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.item_writes import apply, read_write
from proxy.dynamodb.pages import Page, PageRequest, read_query, read_scan
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, order
from proxy.mapping.compatibility import misfits
from proxy.mapping.describe_table import describe
from proxy.mapping.digest import mapping_digest
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.load import LoadedMapping, MappingError, parse
from proxy.migrate.mapping_draft.draft import draft_mapping
from proxy.migrate.mapping_draft.render import render_migrations, render_toml
from proxy.migrate.preflight.index_checks import check_indexes
from proxy.migrate.schema import ddl
from proxy.stores.dsql.sql.ranges import range_query
from proxy.stores.dsql.sql.statements import Statements

TYPES = {"id": "S", "h1": "S", "h2": "N", "r1": "S", "r2": "N"}


def description(hashes: str = "h1 h2", ranges: str = "r1 r2", projection: str = "ALL") -> dict[str, Any]:
    keys = [*((name, "HASH") for name in hashes.split()), *((name, "RANGE") for name in ranges.split())]
    return {
        "TableName": "T",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in TYPES.items()],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by",
                "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in keys],
                "Projection": {"ProjectionType": projection},
            }
        ],
    }


UNEQUAL = "RANGE key attributes"
BECAUSE = "must have equality conditions specified in the query because a condition is present on key attribute"
SCHEMA = TableSchema.from_description(description())


def item(key: str, h1: str | None, h2: int | None, r1: str | None, r2: int | None) -> Item:
    found = {"h1": ("S", h1), "h2": ("N", h2), "r1": ("S", r1), "r2": ("N", r2)}
    return {"id": {"S": key}} | {name: {tag: str(held)} for name, (tag, held) in found.items() if held is not None}


ITEMS = [
    item("a", "x", 1, "m", 2),
    item("b", "x", 1, "m", 10),
    item("c", "x", 1, "n", 1),
    item("d", "x", 2, "m", 3),
    item("e", "y", 1, "m", 4),
    item("f", None, 1, "m", 5),
    item("g", "x", None, "m", 6),
    item("h", "x", 1, None, 7),
    item("i", "x", 1, "m", None),
]


def query(condition: str, **more: Any) -> PageRequest:
    values = {
        ":1": {"N": "1"},
        ":2": {"N": "2"},
        ":9": {"N": "9"},
        ":x": {"S": "x"},
        ":m": {"S": "m"},
        ":n": {"S": "n"},
    }
    used = {name: value for name, value in values.items() if name in condition}
    request = {
        "TableName": "T",
        "IndexName": "by",
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": used,
    }
    return read_query(SCHEMA, request | more)


def shown(request: PageRequest) -> list[str]:
    found = [each for each in ITEMS if request.show(each) is not None]
    names = request.schema.index_keys(request.index)[1]

    def compare(one: Item, other: Item) -> int:
        return next((step for name in names if (step := order(one[name], other[name]) or 0)), 0)

    return [each["id"]["S"] for each in sorted(found, key=cmp_to_key(compare), reverse=not request.forward)]


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ("h1 = :x AND h2 = :1", "abc"),
        ("h2 = :1 AND h1 = :x", "abc"),
        ("h1 = :x AND h2 = :1 AND r1 = :m", "ab"),
        ("r1 = :m AND h1 = :x AND h2 = :1", "ab"),
        ("h1 = :x AND h2 = :1 AND r1 > :m", "c"),
        ("h1 = :x AND h2 = :1 AND begins_with(r1, :m)", "ab"),
        ("h1 = :x AND h2 = :1 AND r1 = :m AND r2 = :2", "a"),
        ("h1 = :x AND h2 = :1 AND r1 = :m AND r2 > :2", "b"),
        ("h1 = :x AND h2 = :1 AND r1 = :m AND r2 BETWEEN :1 AND :9", "a"),
        ("h1 = :x AND h2 = :1 AND r1 = :n AND r2 < :1", ""),
    ],
)
def test_a_query_takes_all_hash_attributes_and_range_attributes_from_the_first_on(condition: str, keys: str) -> None:
    assert "".join(shown(query(condition))) == keys


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("h1 = :x", "Query condition missed key schema element: h2"),
        ("h2 = :1", "Query condition missed key schema element: h1"),
        ("h2 = :1 AND r1 = :m", "Query condition missed key schema element: h1"),
        ("h1 = :x AND h2 > :1", "Query key condition not supported"),
        (
            "h1 = :x AND h2 = :1 AND r2 = :2",
            f"{UNEQUAL} r1 {BECAUSE} r2",
        ),
        (
            "h1 = :x AND h2 = :1 AND r1 > :m AND r2 = :2",
            f"{UNEQUAL} r1 {BECAUSE} r2",
        ),
        (
            "h1 = :x AND h2 = :1 AND r1 = :2",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "h1 = :x AND h2 = :1 AND r1 = :m AND r2 = :x",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        ("h1 = :x AND h2 = :1 AND q = :m", "Query condition missed key schema element: r1"),
        (
            "h1 = :x AND h2 = :1 AND r1 = :m AND r2 = :2 AND q = :9",
            "The number of query conditions (5) exceeds the number of key attributes defined in the schema (4)",
        ),
    ],
)
def test_other_key_conditions_are_refused(condition: str, message: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        query(condition)
    assert (caught.value.code, caught.value.message) == ("ValidationException", message)


def test_the_index_holds_what_has_every_key_attribute() -> None:
    index = SCHEMA.indexes["by"]
    assert [each["id"]["S"] for each in ITEMS if SCHEMA.in_index(index, each)] == list("abcde")
    scan = read_scan(SCHEMA, {"TableName": "T", "IndexName": "by"})
    assert [each["id"]["S"] for each in ITEMS if scan.show(each) is not None] == list("abcde")


def test_what_the_index_projects_has_all_its_keys() -> None:
    schema = TableSchema.from_description(description(projection="KEYS_ONLY"))
    assert schema.held_names(schema.indexes["by"]) == frozenset({"id", "h1", "h2", "r1", "r2"})


def test_a_cursor_has_the_table_key_and_every_index_key_attribute() -> None:
    request = query("h1 = :x AND h2 = :1", Limit=1)
    page = Page(request)
    page.add(ITEMS[0])
    cursor = page.document()["LastEvaluatedKey"]
    assert cursor == {name: ITEMS[0][name] for name in ("id", "h1", "h2", "r1", "r2")}
    assert query("h1 = :x AND h2 = :1", ExclusiveStartKey=cursor).start == cursor
    for lacking in ("h2", "r2", "id"):
        partial = {name: value for name, value in cursor.items() if name != lacking}
        with pytest.raises(DynamoDBError, match="The provided starting key is invalid"):
            query("h1 = :x AND h2 = :1", ExclusiveStartKey=partial)
    with pytest.raises(DynamoDBError, match="outside query boundaries"):
        query("h1 = :x AND h2 = :2", ExclusiveStartKey=cursor)
    with pytest.raises(DynamoDBError, match="does not match the range key predicate"):
        query("h1 = :x AND h2 = :1 AND r1 = :n", ExclusiveStartKey=cursor)


def test_a_filter_may_name_no_key_attribute_of_the_index() -> None:
    with pytest.raises(DynamoDBError, match="Primary key attribute: r2"):
        query(
            "h1 = :x AND h2 = :1",
            FilterExpression="r2 > :9",
            ExpressionAttributeValues={":x": {"S": "x"}, ":1": {"N": "1"}, ":9": {"N": "9"}},
        )


@pytest.mark.parametrize("name", ["h1", "h2", "r1", "r2"])
def test_a_write_keeps_each_key_attribute_to_its_type(name: str) -> None:
    wrong: Item = {"id": {"S": "k"}, name: {"BOOL": True}}
    with pytest.raises(DynamoDBError, match=f"Type mismatch for Index Key {name} Expected: {TYPES[name]} Actual: BOOL"):
        read_write("Put", SCHEMA, {"TableName": "T", "Item": wrong}, action="PutItem")
    update = {
        "TableName": "T",
        "Key": {"id": {"S": "k"}},
        "UpdateExpression": f"SET {name} = :v",
        "ExpressionAttributeValues": {":v": {"BOOL": True}},
    }
    with pytest.raises(DynamoDBError, match="the secondary index key to unsupported type"):
        apply(read_write("Update", SCHEMA, update, action="UpdateItem"), None)


def test_a_write_takes_no_empty_or_too_long_key_attribute() -> None:
    for name, text in (("h1", ""), ("r1", ""), ("h1", "h" * 2049), ("r1", "r" * 1025)):
        with pytest.raises(DynamoDBError) as caught:
            read_write(
                "Put", SCHEMA, {"TableName": "T", "Item": {"id": {"S": "k"}, name: {"S": text}}}, action="PutItem"
            )
        assert caught.value.code == "ValidationException"


MAPPING: dict[str, Any] = {
    "table": "T",
    "sql_table": "t",
    "key": {"columns": ["id"]},
    "columns": {
        "id": {"type": "text"},
        "one": {"attribute": "h1", "type": "text"},
        "two": {"attribute": "h2", "type": "numeric(20,2)"},
        "r1": {"type": "text"},
        "r2": {"type": "bigint"},
    },
    "indexes": {"by": {"hash": ["h1", "h2"], "range": ["r1", "r2"], "sql_index": "t_by"}},
}


def loaded(**index: Any) -> LoadedMapping:
    return parse(MAPPING | {"indexes": {"by": {**MAPPING["indexes"]["by"], **index}}}, "t.toml")


def test_a_mapping_file_names_them_in_lists() -> None:
    mapping = loaded().mapping
    span = mapping.span(SCHEMA.indexes["by"])
    assert span.own_columns == ("one", "two", "r1", "r2")
    assert span.hash_values([{"S": "x"}, {"N": "1"}]) == [("x", 1)]
    assert span.hash_values([{"S": "x"}, {"N": "0.001"}]) is None
    assert [sort.operand(value) for sort, value in zip(span.sorts, ({"S": "m"}, {"N": "2"}), strict=True)] == ["m", 2]
    assert misfits(mapping, SCHEMA) == ()
    assert TableSchema.from_description(describe(mapping)).indexes["by"] == SCHEMA.indexes["by"]


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"hash": []}, "indexes.by.hash: must be a name, or a list of 1 to 4 different names"),
        ({"range": ["r1", "r1"]}, "indexes.by.range: must be a name, or a list of 1 to 4 different names"),
        ({"hash": ["h1", "h2", "r1", "r2", "id"]}, "indexes.by.hash: must be a name, or a list of 1 to 4"),
        ({"hash": ["h1", "colour"]}, "indexes.by.hash: 'colour' is neither a column's attribute nor a composite"),
        ({"range": ["r1", "colour"]}, "indexes.by.range: 'colour' is no column's attribute"),
    ],
)
def test_a_list_that_is_none_is_refused_by_its_place(index: dict[str, Any], said: str) -> None:
    with pytest.raises(MappingError, match=said.replace("(", r"\(")):
        loaded(**index)


@pytest.mark.parametrize("index", [{"hash": "h1"}, {"range": "r1"}, {"hash": ["h2", "h1"]}, {"range": ["r2", "r1"]}])
def test_a_mapping_of_another_key_does_not_fit_the_table(index: dict[str, Any]) -> None:
    [said] = misfits(loaded(**index).mapping, SCHEMA)
    assert said == "indexes.by: the table's index is on hash h1, h2, range r1, r2; give these as hash and range"
    assert mapping_digest(loaded(**index).mapping) != mapping_digest(loaded().mapping)


def test_one_name_and_a_list_of_one_are_the_same_mapping() -> None:
    one, listed = loaded(hash="h1", range="r1"), loaded(hash=["h1"], range=["r1"])
    assert mapping_digest(one.mapping) == mapping_digest(listed.mapping)


def test_a_draft_maps_the_index_as_it_is() -> None:
    drafted = draft_mapping(SCHEMA, ITEMS)
    assert 'hash = ["h1", "h2"]\nrange = ["r1", "r2"]\n' in render_toml(drafted)
    statements = render_migrations(drafted)
    assert any('("h1", "h2", "r1", "r2", "id")' in text for text in statements.values()), statements
    mapping = parse(tomllib.loads(render_toml(drafted)), "drafted.toml").mapping
    assert misfits(mapping, SCHEMA) == ()
    assert not list(check_indexes(mapping, statements.values()))


def test_preflight_names_a_sql_index_that_begins_otherwise() -> None:
    made = ["CREATE INDEX ASYNC t_by ON t (one, r1, two, r2, id)"]
    [found] = check_indexes(loaded().mapping, made)
    assert found.reason == "t_by does not begin with one, two, r1, r2, by which it is queried"


def test_a_document_mapping_has_a_column_for_each_and_one_index_on_all() -> None:
    mapping = DocumentMapping(SCHEMA)
    assert [column.name for column in mapping.columns] == ["id", "h1", "h2", "r1", "r2", "item"]
    [statement] = ddl.create_indexes(mapping, "public").values()
    assert (
        '("h1", "h2", "r1", "r2", "id") WHERE "h1" IS NOT NULL AND "h2" IS NOT NULL AND "r1" IS NOT NULL' in statement
    )


def test_a_sql_index_has_as_many_columns_as_dsql_takes() -> None:
    """At most 8 ("Cluster quotas and database limits in Amazon Aurora DSQL")."""
    names = [f"h{n}" for n in range(4)] + [f"r{n}" for n in range(4)]
    table = description(" ".join(names[:4]), " ".join(names[4:]))
    table["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", *names)]
    mapping = DocumentMapping(TableSchema.from_description(table))
    [statement] = ddl.create_indexes(mapping, "public").values()
    assert f"({', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}) WHERE" in statement


def test_the_statement_is_one_range_of_the_index_in_its_order() -> None:
    statements = Statements("public", DocumentMapping(SCHEMA))
    request = query("h1 = :x AND h2 = :1 AND r1 = :m AND r2 > :2", ExclusiveStartKey=ITEMS[1])
    found = range_query(statements, request)
    assert found is not None
    start = found.start_with({})
    assert start == ("m", 10, "b")
    sql, parameters = found.next(start, 7)
    assert '"h1" = $1 AND "h2" = $2' in sql
    assert '"r1" = $3 AND "r2" > $4 AND "r1" >= $5 AND ("r1", "r2", "id") > ($5, $6, $7)' in sql
    assert sql.endswith('ORDER BY "r1", "r2", "id" LIMIT $8')
    assert parameters == ("x", 1, "m", 2, "m", 10, "b", 7)
