"""PartiQL in the pure room: what statements say, what they are refused for, and the operations that they become.

Sources: developer guide, "PartiQL reference for DynamoDB". The words of refusals are AWS's own, as dynamodb-conformance
(tiers 2 and 3, partiql) has recorded them.
"""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.partiql.parser import parse_statement
from proxy.dynamodb.partiql.read_plans import plan_select
from proxy.dynamodb.partiql.requests import canceled, decode_token, encode_token, read_statement
from proxy.dynamodb.partiql.statements import DeleteStatement, InsertStatement, SelectStatement, UpdateStatement
from proxy.dynamodb.partiql.write_plans import plan_exists, plan_write
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item

MALFORMED = "Statement wasn't well formed, can't be processed: "
LEFTOVER = f"{MALFORMED}Unexpected token after expression"
ONLY_ALL_OLD = "Only RETURNING ALL OLD * is allowed in DELETE statements."
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
SCHEMA = TableSchema.from_description(
    {
        "TableName": "T",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": n, "AttributeType": "N" if n == "sk" else "S"} for n in ("pk", "sk", "g", "l", "h1", "h2")
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "keys",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
            {
                "IndexName": "several",
                "KeySchema": [{"AttributeName": "h1", "KeyType": "HASH"}, {"AttributeName": "h2", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "local",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    }
)


def refusal(statement: str, *parameters: Any) -> str:
    with pytest.raises(DynamoDBError) as caught:
        parse_statement(statement, parameters)
    assert caught.value.code == "ValidationException"
    return caught.value.message


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("'it''s'", {"S": "it's"}),
        ("7.31e6", {"N": "7310000"}),
        ("-.73e1", {"N": "-7.3"}),
        ("TRUE", {"BOOL": True}),
        ("null", {"NULL": True}),
        ("[1, 'a', ?]", {"L": [{"N": "1"}, {"S": "a"}, {"BOOL": False}]}),
        ("{'m': {'x': 1}}", {"M": {"m": {"M": {"x": {"N": "1"}}}}}),
        ("<<'a', 'b'>>", {"SS": ["a", "b"]}),
        ("<<1, 2>>", {"NS": ["1", "2"]}),
        ("?", {"BOOL": False}),
    ],
)
def test_values(literal: str, value: Any) -> None:
    parameters = [{"BOOL": False}] if "?" in literal else []
    found = parse_statement(f"INSERT INTO \"T\" VALUE {{'pk': {literal}}}", parameters)
    assert found == InsertStatement("T", {"pk": value})


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM \"T\" WHERE pk = 'a' -- a note",
        "select * from \"T\" -- a note\nwhere pk = 'a'",
        "-- a note\nSELECT * FROM T WHERE pk = 'a'",
        "SELECT * FROM \"T\" /* a\nnote */ WHERE 'a' = pk",
        "SELECT * FROM \"T\" WHERE (pk = 'a')",
    ],
)
def test_comments_case_and_parentheses_say_nothing(statement: str) -> None:
    found = parse_statement(statement)
    assert isinstance(found, SelectStatement)
    assert plan_select(found, SCHEMA, consistent=False).action == "Query"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SLECT * FROM T", f"{MALFORMED}Expected data manipulation"),
        ("SELECT * FROM T WHERE pk = 1 foo", LEFTOVER),
        ("SELECT * FROM T WHERE pk = 1 e5", LEFTOVER),
        ("SELECT * FROM T WHERE pk = 1)", LEFTOVER),
        ("INSERT INTO T VALUE {'pk': 1} foo", LEFTOVER),
        ("INSERT INTO T t VALUE {'pk': 1}", LEFTOVER),
        ("UPDATE T SET a = 9 WHERE pk = 1 foo", LEFTOVER),
        ("DELETE FROM T WHERE pk = 1 ORDER BY pk", LEFTOVER),
        ("SELECT * FROM T ORDER BY pk WHERE pk = 1", LEFTOVER),
        ("SELECT * FROM T WHERE pk = 1 LIMIT 5", LEFTOVER),
        ("SELECT * FROM T WHERE", f"{MALFORMED}Unexpected term"),
        ("SELECT * FROM T WHERE pk = 1e2147483648", MALFORMED),
        ("SELECT * FROM T WHERE pk = 1e99999999999", MALFORMED),
        ("SELECT * FROM T WHERE pk = 1.5e-2147483647", MALFORMED),
        ("SELECT * FROM T WHERE pk = 1 # note", MALFORMED),
        ("SELECT * FROM T WHERE pk = 1 /* note", f"{MALFORMED}"),
        ('SELECT * FROM "T', MALFORMED),
        ("SELECT * FROM T t WHERE pk = 'x'", "Aliasing is not supported"),
        ("SELECT * FROM T AS t WHERE pk = 'x'", "Aliasing is not supported"),
        ("UPDATE T t SET a = 3 WHERE pk = 'x'", "Aliasing is not supported"),
        ("DELETE FROM T t WHERE pk = 'x'", "Aliasing is not supported"),
        ('SELECT * FROM "T"."i"."x"', "A path may contain at most 2 components in the FROM clause"),
        ('SELECT * FROM ""', "Path component cannot be an empty string"),
        ("SELECT * FROM T WHERE pk = 1e126", f"{OVERFLOW} under root"),
        ("INSERT INTO T VALUE {'pk': 1, 'm': {'x': 1e126}}", f"{OVERFLOW} under root.x"),
        ("INSERT INTO T VALUE {'pk': 1, 'l': [1, 1e126]}", f"{OVERFLOW} under root[1]"),
        ("SELECT * FROM T WHERE pk = ?", "Number of parameters in request and statement don't match."),
        (
            "SELECT * FROM T WHERE attribute_exists('a')",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "SELECT * FROM T WHERE attribute_exists(a, b)",
            (
                "Incorrect number of operands for operator or function; operator or function: attribute_exists, "
                "number of operands: 2"
            ),
        ),
        ("SELECT attribute_exists(a) FROM T", "Unexpected path component at 1:8:16"),
        ("SELECT * FROM T WHERE EXISTS(a)", "Unrecognized function: exists at 1:23:6"),
        ("SELECT * FROM T WHERE a.inner = 1", f"{MALFORMED}Invalid path dot component"),
        (
            "SELECT * FROM T WHERE a < true",
            "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
        ),
        (
            "UPDATE T SET t = set_add(s, <<'x'>>) WHERE pk = 'x'",
            "The first argument to SET_ADD must equal the assignment value at 1:18:7",
        ),
        (
            "UPDATE T SET s = set_add(s, 'x') WHERE pk = 'x'",
            "The second argument to SET_ADD must be a value with type SET at 1:26:1",
        ),
        ("UPDATE T SET s = set_delete(s) WHERE pk = 'x'", "SET_DELETE must have exactly two arguments at 1:18:10"),
        ("UPDATE T SET s = set_add(s, <<>>) WHERE pk = 'x'", "Empty bags are not supported"),
        (
            "INSERT INTO T VALUE {'pk': set_add(<<'a'>>, <<'b'>>)}",
            "Unsupported data type: set_add under key root at 1:28:7",
        ),
        (
            "DELETE FROM T WHERE pk = 'x' RETURNING MODIFIED OLD *",
            f"Invalid returning clause: RETURNING MODIFIED OLD *. {ONLY_ALL_OLD}",
        ),
    ],
)
def test_a_statement_that_cannot_be_read_is_refused_in_dynamodbs_words(statement: str, message: str) -> None:
    assert refusal(statement) == message


@given(st.text(alphabet="SELCTFROMWHpk='\"?*{}[]<>,.()- 01eE/\n", max_size=60))
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    with contextlib.suppress(DynamoDBError):
        assert parse_statement(text).table


def plan(statement: str, *parameters: Any) -> Any:
    found = parse_statement(statement, parameters)
    assert isinstance(found, SelectStatement)
    return plan_select(found, SCHEMA, consistent=False)


@pytest.mark.parametrize(
    ("where", "action", "conditions"),
    [
        ("pk = 'a' AND sk = 1", "GetItem", None),
        ("pk = 'a'", "Query", ["pk = :v0"]),
        ("pk = 'a' AND sk > 1 AND sk < 5", "Query", ["pk = :v0 AND sk > :v1"]),
        ("sk BETWEEN 1 AND 5 AND pk = 'a'", "Query", ["pk = :v0 AND sk BETWEEN :v1 AND :v2"]),
        ("pk = 'a' AND NOT sk = 1", "Query", ["pk = :v0"]),
        ("pk = 'a' AND begins_with(x, 'p')", "Query", ["pk = :v0"]),
        ("pk IN ['a', 'b', 'a']", "Query", ["pk = :v0", "pk = :v0"]),
        ("pk = 'a' AND sk = 1 OR pk = 'b'", "Query", ["pk = :v0", "pk = :v0"]),
        ("pk = 'a' OR x = 1", "Scan", [None]),
        ("pk > 'a'", "Scan", [None]),
        ("x = 1", "Scan", [None]),
    ],
)
def test_the_reads_that_a_select_is(where: str, action: str, conditions: list[str | None] | None) -> None:
    found = plan(f'SELECT * FROM "T" WHERE {where}')
    assert found.action == action
    if conditions is not None:
        assert [request.get("KeyConditionExpression") for request in found.requests] == conditions


ITEM: Item = {
    "pk": {"S": "a"},
    "sk": {"N": "1"},
    "s": {"S": "str"},
    "nul": {"NULL": True},
    "flag": {"BOOL": True},
    "m": {"M": {"sub": {"S": "x"}}},
    "l": {"L": [{"S": "first"}]},
    "ss": {"SS": ["a", "b"]},
}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_exists(ss)", True),
        ("NOT attribute_exists(nope)", True),
        ("ATTRIBUTE_EXISTS(ss) = true", True),
        ("attribute_exists(ss) = false", False),
        ("(attribute_exists(nope) OR attribute_exists(m.sub))", True),
        ("m.sub = 'x'", True),
        ("l[0] = 'first'", True),
        ("size(s) = 3", True),
        ("attribute_type(ss, 'SS')", True),
        ("nul IS NULL", True),
        ("s IS NOT NULL", True),
        ("flag IS BOOL", True),
        ("s IS BOOL", False),
        ("nope IS MISSING", True),
        ("s IS NOT MISSING", True),
        ("s IN ('str', 'x')", True),
        ("s NOT IN ['str']", False),
        ("s <> 'x' AND s != 'y'", True),
        ("contains(ss, 'b')", True),
        ("begins_with(\"s\", 'st')", True),
        ("sk BETWEEN 0 AND 2", True),
    ],
)
def test_a_condition_holds_as_dynamodbs_does(condition: str, holds: bool) -> None:
    assert bool(plan(f"SELECT * FROM T WHERE pk = 'a' AND {condition}").rows([ITEM])) is holds


def test_a_column_is_named_by_the_last_name_of_its_path() -> None:
    rows = plan("SELECT pk, m.sub, l[0], nope FROM T WHERE pk = 'a'").rows([ITEM])
    assert rows == [{"pk": {"S": "a"}, "sub": {"S": "x"}, "l": {"S": "first"}}]


@pytest.mark.parametrize(
    ("statement", "forward", "hashes"),
    [
        ("SELECT * FROM T WHERE pk = 'a' ORDER BY sk", True, ["a"]),
        ("SELECT * FROM T WHERE pk = 'a' ORDER BY sk DESC", False, ["a"]),
        ("SELECT * FROM T WHERE pk IN ['b', 'a'] ORDER BY pk", True, ["a", "b"]),
        ("SELECT * FROM T WHERE pk IN ['a', 'b'] ORDER BY pk DESC, sk DESC", False, ["b", "a"]),
    ],
)
def test_order(statement: str, forward: bool, hashes: list[str]) -> None:
    found = plan(statement)
    assert all(request.get("ScanIndexForward", True) is forward for request in found.requests)
    assert [request["ExpressionAttributeValues"][":v0"]["S"] for request in found.requests] == hashes


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM T ORDER BY sk", "Must have WHERE clause in the statement when using ORDER BY clause."),
        (
            "SELECT * FROM T WHERE x = 1 ORDER BY sk",
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
        ),
        (
            "SELECT * FROM T WHERE pk = 'a' ORDER BY x",
            "Variable reference x in ORDER BY clause must be part of the primary key",
        ),
        (
            "SELECT * FROM T WHERE pk IN ['a', 'b'] ORDER BY sk",
            "Crossfade: ORDER BY the sort key takes one value of the partition key; order by the partition key first",
        ),
        ('SELECT * FROM "T"."none"', "The table does not have the specified index"),
        (
            'SELECT * FROM "T"."several" WHERE h1 = \'a\'',
            (
                "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or "
                "multi-attribute RANGE keys."
            ),
        ),
        (
            'SELECT x, y FROM "T"."keys"',
            "One or more parameter values were invalid: Global secondary index keys does not project [x, y]",
        ),
        (
            'SELECT pk FROM "T"."keys" WHERE g = \'a\' AND x = 1',
            (
                "One or more parameter values were invalid: Secondary index keys does not project one or more filter "
                "attributes: [x]"
            ),
        ),
        (
            "SELECT pk FROM \"T\".\"local\" WHERE pk IN ['a', 'b'] AND NOT x = 1",
            (
                "One or more parameter values were invalid: Secondary index local does not project one or more filter "
                "attributes: [x]"
            ),
        ),
    ],
)
def test_a_select_that_the_table_does_not_allow(statement: str, message: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        plan(statement)
    assert caught.value.message == message


def test_an_index_shows_and_filters_what_it_holds() -> None:
    item = ITEM | {"g": {"S": "g"}, "x": {"N": "1"}}
    assert plan('SELECT * FROM "T"."keys" WHERE NOT x = 1').rows([item]) == [
        {name: item[name] for name in ("pk", "sk", "g")}
    ]
    assert plan('SELECT pk FROM "T"."keys" WHERE x = 1').rows([item]) == []
    reaching = plan('SELECT x FROM "T"."local" WHERE pk = \'a\'')
    assert reaching.requests[0]["Select"] == "ALL_ATTRIBUTES"
    assert reaching.rows([item]) == [{"x": {"N": "1"}}]


def write(statement: str, *parameters: Any) -> Any:
    found = parse_statement(statement, parameters)
    assert isinstance(found, InsertStatement | UpdateStatement | DeleteStatement)
    planned = plan_write(found, SCHEMA)
    return planned.action, planned.request


def test_the_writes_that_statements_are() -> None:
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    where = "WHERE pk = 'a' AND sk = 1"
    action, request = write("INSERT INTO T VALUE {'pk': 'a', 'sk': 1}")
    assert (action, request["Item"]) == ("PutItem", key)
    assert request["ConditionExpression"] == "attribute_not_exists(pk)"
    action, request = write(f"UPDATE T SET n = n + 1, x = list_append(x, ?) REMOVE m.q[2] {where} AND n < 5", {"L": []})
    assert (action, request["Key"]) == ("UpdateItem", key)
    assert request["UpdateExpression"] == "SET n = n + :v0, x = list_append(x, :v1) REMOVE m.q[2]"
    assert request["ConditionExpression"] == "attribute_exists(pk) AND n < :v2"
    action, request = write(
        f"FROM T {where} SET s = SET_ADD(s, <<1>>) SET r = set_delete(r, <<'x'>>) RETURNING ALL NEW *"
    )
    assert request["UpdateExpression"] == "ADD s :v0 DELETE r :v1"
    assert request["ReturnValues"] == "ALL_NEW"
    action, request = write(f"DELETE FROM T {where} RETURNING ALL OLD *")
    assert (action, request) == ("DeleteItem", {"TableName": "T", "Key": key, "ReturnValues": "ALL_OLD"})


@pytest.mark.parametrize("where", ["", "WHERE pk = 'a'", "WHERE pk = 'a' AND sk > 1", "WHERE pk = 'a' OR sk = 1"])
def test_a_write_names_the_whole_key(where: str) -> None:
    for statement in (f"UPDATE T SET a = 1 {where}", f"DELETE FROM T {where}"):
        with pytest.raises(DynamoDBError) as caught:
            write(statement)
        assert caught.value.message == "Where clause does not contain a mandatory equality on all key attributes"


def test_exists_takes_a_condition_beside_the_key() -> None:
    found: Any = parse_statement("EXISTS(SELECT * FROM T WHERE pk = 'a' AND sk = 1 AND x IS MISSING)")
    planned = plan_exists(found, SCHEMA)
    assert (planned.kind, planned.request["ConditionExpression"]) == ("ConditionCheck", "attribute_not_exists(x)")
    with pytest.raises(DynamoDBError, match="must contain a single item read with additional condition"):
        plan_exists(parse_statement("EXISTS(SELECT * FROM T WHERE pk = 'a' AND sk = 1)"), SCHEMA)  # type: ignore[arg-type]


def test_a_token_is_of_its_statement_and_parameters() -> None:
    part = {"Statement": "SELECT * FROM T WHERE pk = ?", "Parameters": [{"S": "a"}]}
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    assert decode_token(part, encode_token(part, 2, key)) == (2, key)
    for other, token, message in (
        ({**part, "Parameters": [{"S": "b"}]}, encode_token(part, 2, key), "NextToken does not match request"),
        (part, "nothing of the kind", "Invalid NextToken"),
    ):
        with pytest.raises(DynamoDBError, match=message):
            decode_token(other, token)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, "Value null at 'statement' failed to satisfy constraint: Member must not be null"),
        ({"Statement": ""}, "Member must have length greater than or equal to 1"),
        ({"Statement": "x" * 8193}, "Member must have length less than or equal to 8192"),
        ({"Statement": "SELECT * FROM T", "Parameters": []}, "Member must have length greater than or equal to 1"),
        ({"Statement": "SELECT * FROM T", "Parameters": [{"S": "a"}]}, "Number of parameters in request and statement"),
        (
            {"Statement": "SELECT * FROM T WHERE a = ?", "Parameters": [{"N": "abc"}]},
            "cannot be converted to a numeric",
        ),
    ],
)
def test_the_members_of_a_statement(part: dict[str, Any], message: str) -> None:
    with pytest.raises(DynamoDBError, match=message):
        read_statement(part)


def test_a_cancelled_transaction_names_the_insert_that_found_an_item() -> None:
    failed = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
    document = {"__type": "x#TransactionCanceledException", "CancellationReasons": [failed, failed, {"Code": "None"}]}
    told = canceled(document, [True, False, True])
    assert [reason["Code"] for reason in told["CancellationReasons"]] == [
        "DuplicateItem",
        "ConditionalCheckFailed",
        "None",
    ]
    assert told["Message"].endswith("[DuplicateItem, ConditionalCheckFailed, None]")
