"""Expressions by example: what is accepted, and DynamoDB's words for what is not."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions.ast import (
    And,
    Arithmetic,
    ComparisonCondition,
    Condition,
    FunctionCall,
    In,
    Literal,
    Not,
    Or,
    Path,
    Set,
    condition_paths,
    top_level,
)
from proxy.dynamodb.expressions.key_conditions import KeyCondition, key_condition
from proxy.dynamodb.expressions.parse import (
    parse_condition,
    parse_filter,
    parse_key_condition,
    parse_projection,
    parse_update,
)
from proxy.dynamodb.expressions.placeholders import Bindings, bindings
from proxy.dynamodb.expressions.printer import unparse
from proxy.dynamodb.expressions.reserved_words import RESERVED
from proxy.dynamodb.values import Value

ONE = {"N": "1"}
TWO = {"N": "2"}
TEXT = {"S": "x"}
V = {":v": ONE}


def read(parse: Callable[[str, Bindings], Any], text: str, names: Any, values: Any) -> None:
    given = bindings(names, values)
    parse(text, given)
    given.check_all_used()


def refusal(parse: Callable[[str, Bindings], Any], text: str, names: Any, values: Any) -> str:
    with pytest.raises(DynamoDBError) as caught:
        read(parse, text, names, values)
    assert caught.value.code == "ValidationException"
    return caught.value.message


def condition(text: str, values: dict[str, Value] | None = None, names: dict[str, str] | None = None) -> Condition:
    return parse_condition(text, bindings(names, values))


def is_one(name: str) -> ComparisonCondition:
    return ComparisonCondition("=", Path((name,)), Literal(ONE))


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = :v", is_one("a")),
        ("  a=:v ", is_one("a")),
        ("(a) = (:v)", is_one("a")),
        ("(a = :v)", is_one("a")),
        ("a=:v AND b=:v and c=:v", And((is_one("a"), is_one("b"), is_one("c")))),
        ("a=:v OR b=:v AND c=:v", Or((is_one("a"), And((is_one("b"), is_one("c")))))),
        ("(a=:v OR b=:v) AND c=:v", And((Or((is_one("a"), is_one("b"))), is_one("c")))),
        ("NOT a=:v AND b=:v", And((Not(is_one("a")), is_one("b")))),
        ("not not a = :v", Not(Not(is_one("a")))),
        ("NOT (a=:v OR b=:v)", Not(Or((is_one("a"), is_one("b"))))),
        ("((a=:v) AND (b=:v))", And((is_one("a"), is_one("b")))),
        ("a IN (:v, b)", In(Path(("a",)), (Literal(ONE), Path(("b",))))),
        ("(size(a)) > :v", ComparisonCondition(">", FunctionCall("size", (Path(("a",)),)), Literal(ONE))),
        ("attribute_exists (a.b[0].c)", FunctionCall("attribute_exists", (Path(("a", "b", 0, "c")),))),
        ("(attribute_exists(a)) AND b=:v", And((FunctionCall("attribute_exists", (Path(("a",)),)), is_one("b")))),
        ("set = :v AND Remove1 = :v", None),
    ],
)
def test_conditions_are_read_with_the_documented_precedence(text: str, tree: Condition | None) -> None:
    if tree is None:
        assert "reserved keyword: set" in refusal(parse_condition, text, None, V)
    else:
        assert condition(text, V if ":v" in text else None) == tree


def test_between_binds_its_own_and() -> None:
    tree = condition("b BETWEEN a AND c AND a < b")
    assert isinstance(tree, And)
    assert unparse(tree).text == "b BETWEEN a AND c AND a < b"


def test_names_stand_for_any_attribute() -> None:
    tree = condition("#t = :v AND a.#x[2] = :v", V, {"#t": "type:id", "#x": "x.y"})
    assert tree == And((is_one("type:id"), ComparisonCondition("=", Path(("a", "x.y", 2)), Literal(ONE))))
    printed = unparse(tree)
    assert printed.text == "#n0 = :v0 AND a.#n1[2] = :v1"
    assert printed.names == {"#n0": "type:id", "#n1": "x.y"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The expression can not be empty;"),
        ("a = = :v", 'Syntax error; token: "=", near: "= = :v"'),
        ("a", 'Syntax error; token: "<EOF>", near: "a"'),
        ("attribute_not_exists(", 'Syntax error; token: "<EOF>", near: "("'),
        ("a > now()", 'Syntax error; token: ")", near: "()"'),
        ("a IN ()", 'Syntax error; token: ")", near: "()"'),
        ("a != :v", 'Syntax error; token: "!", near: "a !="'),
        ("a[:v] = :v", 'Syntax error; token: ":v", near: "[:v]"'),
        ("a = :v)", 'Syntax error; token: ")", near: ":v)"'),
        ("(NOT a) = :v", 'Syntax error; token: ")", near: "a) ="'),
        ("a = :v b = :v", 'Syntax error; token: "b", near: ":v b ="'),
        ("((a = :v))", "The expression has redundant parentheses;"),
        ("((a)) = :v", "The expression has redundant parentheses;"),
        ("a = ((:v))", "The expression has redundant parentheses;"),
        ("contains(((a)), :v)", "The expression has redundant parentheses;"),
        ("(b=:v AND ((a=:v)))", "The expression has redundant parentheses;"),
        ("dog(a)", "Invalid function name; function: dog"),
        ("SIZE(a) > :v", "Invalid function name; function: SIZE"),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        (
            "attribute_exists(a) < :v",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            "if_not_exists(a, b) = :v",
            "The function is not allowed to be used this way in an expression; function: if_not_exists",
        ),
        (
            "contains(a, size(b))",
            "The function is not allowed to be used this way in an expression; function: size",
        ),
        ("name = :v", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("a.Status = :v", "Attribute name is a reserved keyword; reserved keyword: Status"),
        (
            "#x = :v",
            "An expression attribute name used in the document path is not defined; attribute name: #x",
        ),
        ("a = :x", "An expression attribute value used in expression is not defined; attribute value: :x"),
        (
            "size(a, b) = :v",
            "Incorrect number of operands for operator or function; operator or function: size, number of operands: 2",
        ),
        (
            "begins_with(a)",
            (
                "Incorrect number of operands for operator or function; "
                "operator or function: begins_with, number of operands: 1"
            ),
        ),
        (
            "attribute_exists(:v)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "begins_with(a, :v)",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "size(:v) = :v",
            "Incorrect operand type for operator or function; operator or function: size, operand type: N",
        ),
        (
            "attribute_type(a, b)",
            (
                "Incorrect operand type for operator or function; operator or function: attribute_type, "
                "operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}"
            ),
        ),
        (
            "a = a",
            (
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: =, first operand: [a]"
            ),
        ),
        (
            "contains(a.b[0], a.b[0])",
            (
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: contains, first operand: [a, b, [0]]"
            ),
        ),
    ],
)
def test_a_condition_is_refused_in_dynamodbs_words(text: str, reason: str) -> None:
    values = {key: ONE for key in (":v",) if key in text} or None
    assert refusal(parse_condition, text, None, values) == f"Invalid ConditionExpression: {reason}"


@pytest.mark.parametrize(
    ("text", "values", "reason"),
    [
        (
            "a < :v",
            {":v": {"L": []}},
            "Incorrect operand type for operator or function; operator or function: <, operand type: L",
        ),
        (
            ":v >= a",
            {":v": {"BOOL": True}},
            "Incorrect operand type for operator or function; operator or function: >=, operand type: BOOL",
        ),
        (
            "a BETWEEN :v AND :w",
            {":v": {"SS": ["a"]}, ":w": {"SS": ["b"]}},
            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: SS",
        ),
        (
            "a BETWEEN :v AND :w",
            {":v": TWO, ":w": ONE},
            (
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
                "lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}"
            ),
        ),
        (
            "a BETWEEN :v AND :w",
            {":v": TWO, ":w": TEXT},
            (
                "The BETWEEN operator requires same data type for lower and upper bounds; "
                "lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {S:x}"
            ),
        ),
        (
            "attribute_type(a, :v)",
            {":v": {"S": "DOG"}},
            "Invalid attribute type name found; type: DOG, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            "attribute_type(a, :v)",
            V,
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N",
        ),
    ],
)
def test_constants_of_a_wrong_type_are_refused_before_any_item_is_seen(
    text: str, values: dict[str, Value], reason: str
) -> None:
    assert refusal(parse_filter, text, None, values) == f"Invalid FilterExpression: {reason}"


def test_the_limits_on_an_expression() -> None:
    many = ", ".join(":v" for _ in range(101))
    assert refusal(parse_condition, f"a IN ({many})", None, V) == (
        "Invalid ConditionExpression: The IN operator is provided with too many operands; number of operands: 101"
    )
    assert condition(f"a IN ({many[4:]})", V)
    assert condition(" AND ".join(["a=:v"] * 150), V)
    assert refusal(parse_condition, " AND ".join(["a=:v"] * 151), None, V) == (
        "Invalid ConditionExpression: The expression contains too many operators; operator count: 301"
    )
    long = "é" * 2047 + "a"
    assert refusal(parse_condition, f"{long}é", None, V).endswith("maximum allowed size; expression size: 4097")
    assert "Syntax error" in refusal(parse_condition, f"{long} ", None, V)


@pytest.mark.parametrize(
    "text", ["(" * 4000, "NOT " * 300 + "a=:v", "NOT " * 1000, "a=:v AND (" * 400, "f(" * 2000, "NOT (" * 299 + "a=:v"]
)
def test_no_text_exhausts_the_stack(text: str) -> None:
    assert refusal(parse_condition, text, None, V).startswith("Invalid ConditionExpression: ")


def test_names_and_values_of_a_request() -> None:
    assert refusal(parse_condition, "a = :v", {"#q": "x"}, V) == (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#q}"
    )
    assert refusal(parse_condition, "a = :v", None, V | {":w": TWO, ":z": TWO}) == (
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w, :z}"
    )
    for names, values, message in (
        ({}, V, "ExpressionAttributeNames must not be empty"),
        (None, {}, "ExpressionAttributeValues must not be empty"),
        ({"a": "x"}, V, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"'),
        ({"#": "x"}, V, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "#"'),
        (None, {":a-b": ONE}, 'ExpressionAttributeValues contains invalid key: Syntax error; key: ":a-b"'),
        (
            None,
            {":v": {"N": "b"}},
            "The parameter cannot be converted to a numeric value: b",
        ),
    ):
        assert refusal(parse_condition, "a = :v", names, values) == message


def test_a_request_s_expressions_share_its_names_and_values() -> None:
    given = bindings({"#a": "x", "#b": "y"}, {":v": ONE, ":w": TWO})
    parse_update("SET #a = :v", given)
    with pytest.raises(DynamoDBError):
        given.check_all_used()
    parse_condition("#b = :w", given)
    given.check_all_used()


def test_values_are_bound_in_canonical_form() -> None:
    assert condition("a = :v", {":v": {"N": "1.0"}}) == is_one("a")


def test_reserved_words_are_all_there() -> None:
    assert len(RESERVED) == 573
    assert {"NAME", "STATUS", "YEAR", "ZONE", "ABORT", "TTL"} <= RESERVED
    assert not {"REMOVE", "TITLE", "SHELF"} & RESERVED


def test_the_paths_that_a_condition_reads() -> None:
    tree = condition("a.b = c OR NOT size(d) IN (e[0], f) AND attribute_exists(g) AND h BETWEEN i AND j")
    assert top_level(condition_paths(tree)) == frozenset("acdefghij")


# --- updates ----------------------------------------------------------------------------------------------------------


def test_an_update_keeps_its_actions_in_order() -> None:
    tree = parse_update(
        "set a = (:v + b), c = (d) - :v, e = if_not_exists(f, :v) Remove g[2].h ADD i :v DELETE j :s",
        bindings(None, V | {":s": {"SS": ["x"]}}),
    )
    assert unparse(tree).text == (
        "SET a = :v0 + b, c = d - :v1, e = if_not_exists(f, :v2) REMOVE g[2].h ADD i :v3 DELETE j :v4"
    )
    assert tree.actions[0] == Set(Path(("a",)), Arithmetic("+", Literal(ONE), Path(("b",))))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The expression can not be empty;"),
        ("INVALID SYNTAX HERE", 'Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
        ("SET _123 = :v", 'Syntax error; token: "_", near: "SET _123"'),
        ("SET 123a = :v", 'Syntax error; token: "123", near: "SET 123a"'),
        ("SET hi-there = :v", 'Syntax error; token: "-", near: "hi-there"'),
        ("SET :v = :v", 'Syntax error; token: ":v", near: "SET :v ="'),
        ("SET a = :v + :v + :v", 'Syntax error; token: "+", near: ":v + :v"'),
        ("SET a = if_not_exists(a, :v+:v)", 'Syntax error; token: "+", near: ":v+:v"'),
        ("ADD a b", 'Syntax error; token: "b", near: "a b"'),
        ("REMOVE a,", 'Syntax error; token: "<EOF>", near: ","'),
        ("SET set = :v", 'Syntax error; token: "set", near: "SET set ="'),
        ("SET a = :v SET b = :v", 'The "SET" section can only be used once in an update expression;'),
        ("SET name = :v", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("SET a = f(b, c, d)", "Invalid function name; function: f"),
        (
            "SET a = attribute_exists(b)",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            "SET a = list_append(list_append(a, b), c)",
            "The function is not allowed to be used this way in an expression; function: list_append",
        ),
        (
            "SET a = list_append(:v)",
            (
                "Incorrect number of operands for operator or function; "
                "operator or function: list_append, number of operands: 1"
            ),
        ),
        (
            "SET a = list_append(a, :v)",
            "Incorrect operand type for operator or function; operator or function: list_append, operand type: N",
        ),
        (
            "SET a = if_not_exists(:v, :v)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        (
            "SET a = if_not_exists(if_not_exists(b, c), :v)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        (
            "SET #a = :z",
            "An expression attribute name used in the document path is not defined; attribute name: #a",
        ),
        (
            "SET a = :z, b = #b",
            "An expression attribute name used in the document path is not defined; attribute name: #b",
        ),
        (
            "SET a = :z",
            "An expression attribute value used in expression is not defined; attribute value: :z",
        ),
        (
            "SET a = :v REMOVE a",
            (
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a]"
            ),
        ),
        (
            "SET a.b[1].c = :v, a.b[1] = :v",
            (
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a, b, [1], c], path two: [a, b, [1]]"
            ),
        ),
        (
            "SET a.b = :v, a[1] = :v",
            (
                "Two document paths conflict with each other; must remove or rewrite one of these paths; "
                "path one: [a, b], path two: [a, [1]]"
            ),
        ),
        (
            "DELETE a :v",
            (
                "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, "
                "typeSet: ALLOWED_FOR_DELETE_OPERAND"
            ),
        ),
    ],
)
def test_an_update_is_refused_in_dynamodbs_words(text: str, reason: str) -> None:
    values = V if ":v" in text else None
    assert refusal(parse_update, text, None, values) == f"Invalid UpdateExpression: {reason}"


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("ADD a :v", TEXT, "operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND"),
        ("ADD a :v", {"L": []}, "operator: ADD, operand type: LIST, typeSet: ALLOWED_FOR_ADD_OPERAND"),
        ("SET a = b + :v", TEXT, "operator or function: +, operand type: S"),
        ("SET a = :v - b", {"L": []}, "operator or function: -, operand type: L"),
        ("SET a = b + list_append(c, :v)", {"L": []}, "operator or function: +, operand type: L"),
    ],
)
def test_an_operand_of_a_wrong_type_is_refused(text: str, value: Value, reason: str) -> None:
    message = f"Invalid UpdateExpression: Incorrect operand type for operator or function; {reason}"
    assert refusal(parse_update, text, None, {":v": value}) == message


# --- projections ------------------------------------------------------------------------------------------------------


def test_a_projection() -> None:
    tree = parse_projection("a, b.c[2], #x . y", bindings({"#x": "name"}))
    assert tree.paths == (Path(("a",)), Path(("b", "c", 2)), Path(("name", "y")))
    for text, reason in (
        ("", "The expression can not be empty;"),
        ("a b", 'Syntax error; token: "b", near: "a b"'),
        ("a,,b", 'Syntax error; token: ",", near: ",,b"'),
        ("name", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "a, b, a.c",
            (
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a, c]"
            ),
        ),
    ):
        assert refusal(parse_projection, text, None, None) == f"Invalid ProjectionExpression: {reason}"


# --- key conditions ---------------------------------------------------------------------------------------------------

P = {":p": {"S": "k"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p = :p", KeyCondition(({"S": "k"},))),
        (":p = p", KeyCondition(({"S": "k"},))),
        ("p = :p AND c < :c", KeyCondition(({"S": "k"},), "<", (ONE,))),
        (":c < c AND p = :p", KeyCondition(({"S": "k"},), ">", (ONE,))),
        ("((p = :p) AND (:c >= c))", KeyCondition(({"S": "k"},), "<=", (ONE,))),
        ("p = :p and c between :c and :d", KeyCondition(({"S": "k"},), "BETWEEN", (ONE, TWO))),
    ],
)
def test_key_conditions(text: str, expected: KeyCondition) -> None:
    values = {key: value for key, value in (P | {":c": ONE, ":d": TWO}).items() if key in text}
    tree = parse_key_condition(text, bindings(None, values))
    assert key_condition(tree, [("p", "S")], [("c", "N")]) == expected


def test_begins_with_on_a_text_key() -> None:
    tree = parse_key_condition("p = :p AND begins_with(c, :c)", bindings(None, P | {":c": TEXT}))
    assert key_condition(tree, [("p", "S")], [("c", "S")]) == KeyCondition(({"S": "k"},), "begins_with", (TEXT,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c = :c", "Query condition missed key schema element: p"),
        ("p = :p AND a = :c", "Query condition missed key schema element: c"),
        ("p > :p", "Query key condition not supported"),
        ("p = :p AND c <> :c", "Invalid operator used in KeyConditionExpression: <>"),
        ("p = :p OR c = :c", "Invalid operator used in KeyConditionExpression: OR"),
        ("p = :p AND NOT c = :c", "Invalid operator used in KeyConditionExpression: NOT"),
        ("p = :p AND c IN (:c)", "Invalid operator used in KeyConditionExpression: IN"),
        ("p = :p AND attribute_exists(c)", "Invalid operator used in KeyConditionExpression: attribute_exists"),
        ("p = :p AND size(c) = :c", "KeyConditionExpressions cannot contain nested operations"),
        ("p = :p AND c.d = :c", "KeyConditionExpressions cannot have conditions on nested attributes"),
        (
            "p = :p AND c > :c AND c < :c",
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ),
        (
            "p = :p AND c = :c AND a = :c",
            "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
        ),
        (
            "p = c",
            "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition",
        ),
        (":p = :c", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        (
            "p = :p AND :c BETWEEN c AND :c",
            (
                "Invalid condition in KeyConditionExpression: "
                "BETWEEN operator must have the key attribute as its first operand"
            ),
        ),
        (
            "p = :c",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "p = :p AND c = :p",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "p = :e",
            (
                "One or more parameter values are not valid. "
                "The AttributeValue for a key attribute cannot contain an empty string value. Key: p"
            ),
        ),
    ],
)
def test_a_key_condition_is_refused_in_dynamodbs_words(text: str, message: str) -> None:
    values = {key: value for key, value in (P | {":c": ONE, ":e": {"S": ""}}).items() if key in text}
    tree = parse_key_condition(text, bindings(None, values or None))
    with pytest.raises(DynamoDBError) as caught:
        key_condition(tree, [("p", "S")], [("c", "N")])
    assert caught.value.message == message


def test_a_table_without_range_key_takes_one_condition() -> None:
    tree = parse_key_condition("p = :p AND c = :c", bindings(None, P | {":c": ONE}))
    with pytest.raises(DynamoDBError) as caught:
        key_condition(tree, [("p", "S")])
    assert caught.value.message == (
        "The number of query conditions (2) exceeds the number of key attributes defined in the schema (1)"
    )
