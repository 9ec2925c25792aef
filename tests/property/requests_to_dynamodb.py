"""Tables, and requests to them, made by chance: all ten operations, legacy parameters, mistakes.

Chance is a `random.Random`: Hypothesis's own where failures are to be shrunk, a plain one where speed matters (drawing
a request from strategies costs 50 times what asking it costs). Keys and names come from small pools, so that
operations meet the same items again and again. Expressions keep to the forms that ministack reads as AWS does; the
others have tests of their own (`test_dynamodb_expressions`).
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, TypeVar

from proxy.dynamodb.expressions.ast import (
    Action,
    Add,
    And,
    Arithmetic,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    Delete,
    FunctionCall,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Projection,
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.expressions.printer import unparse
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, Value, canonical

T = TypeVar("T")
Request = dict[str, Any]

HASH, RANGE = "type:id", "0"
INDEXED = ("x.y", "日", "A1_")
NAMES = ("a", "b", "c", "Name", "size", "#h", "日", "A1_")
_BINARIES = tuple(b64encode(data).decode() for data in (b"\x00", b"a", b"ab", b"\xff", b"\xff\xff"))
_KEYS: Mapping[str, tuple[str, ...]] = {
    "S": ("a", "ab", "b", "é", "😀", "~"),
    "N": ("0", "1", "-1", "1.5", "10", "9", "12345678901234567890.5"),
    "B": _BINARIES,
}
_TEXTS = ("", "a", "ab", "b", "é", "日本", "😀", "a b", "z" * 40)
_NUMBERS = ("0", "1", "-1", "2", "10", "0.5", "8.5", "1700000000000", "9" * 38, "1" + "0" * 125, "0." + "0" * 129 + "1")
_COMPARATORS = ("=", "<", "<=", ">", ">=")


class Asking(NamedTuple):
    """An action and its parameters; `mistaken` where something has been made wrong with them on purpose."""

    action: str
    request: Request
    mistaken: bool = False


# --- values -----------------------------------------------------------------------------------------------------------


def scalar(chance: Random) -> Value:
    kind = chance.choice("SSNNBbn")
    if kind == "b":
        return {"BOOL": chance.random() < 0.5}
    if kind == "n":
        return {"NULL": True}
    return ordered(chance, kind)


def ordered(chance: Random, kind: str | None = None) -> Value:
    """A value that has an order."""
    kind = kind or chance.choice("SNB")
    return {kind: chance.choice({"S": _TEXTS, "N": _NUMBERS, "B": _BINARIES}[kind])}


def value(chance: Random, depth: int = 2) -> Value:
    kind = chance.randrange(8) if depth else 0
    if kind == 5:
        return members(chance)
    if kind == 6:
        return {"L": [value(chance, depth - 1) for _ in range(chance.randrange(4))]}
    if kind == 7:
        return {"M": {chance.choice(NAMES): value(chance, depth - 1) for _ in range(chance.randrange(4))}}
    return scalar(chance)


def members(chance: Random) -> Value:
    """A set."""
    kind = chance.choice("SNB")
    pool = {"S": _TEXTS[1:], "N": _NUMBERS, "B": _BINARIES}[kind]
    return canonical({f"{kind}S": sorted({chance.choice(pool) for _ in range(chance.randint(1, 3))})})


# --- tables -----------------------------------------------------------------------------------------------------------


def definition(chance: Random) -> Request:
    """The parameters of CreateTable, but for the name: keys of every type, up to three indexes, sparse by nature."""
    types = {HASH: chance.choice("SNB")}
    key_schema = [{"AttributeName": HASH, "KeyType": "HASH"}]
    if chance.randrange(3):
        types[RANGE] = chance.choice("SNB")
        key_schema.append({"AttributeName": RANGE, "KeyType": "RANGE"})
    table_keys = tuple(types)
    listed: dict[str, list[Request]] = {"GlobalSecondaryIndexes": [], "LocalSecondaryIndexes": []}
    for number in range(chance.randrange(4)):
        local = RANGE in types and chance.randrange(4) == 0
        hash_name = HASH if local else chance.choice((*INDEXED, *INDEXED, *table_keys))
        others = [name for name in (*INDEXED, *INDEXED, *table_keys) if name != hash_name]
        schema = [{"AttributeName": hash_name, "KeyType": "HASH"}]
        if local or chance.randrange(4):
            schema.append({"AttributeName": chance.choice(others), "KeyType": "RANGE"})
        for element in schema:
            types.setdefault(element["AttributeName"], chance.choice("SNB"))
        listed["LocalSecondaryIndexes" if local else "GlobalSecondaryIndexes"].append(
            {"IndexName": f"index-{number}", "KeySchema": schema, "Projection": _index_projection(chance)}
        )
    return {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        "KeySchema": key_schema,
    } | {parameter: indexes for parameter, indexes in listed.items() if indexes}


def _index_projection(chance: Random) -> Request:
    kind = chance.choice(("ALL", "ALL", "KEYS_ONLY", "INCLUDE"))
    return {"ProjectionType": kind} | ({"NonKeyAttributes": ["a", "Name"]} if kind == "INCLUDE" else {})


# --- requests ---------------------------------------------------------------------------------------------------------


class Requests:
    """Makes requests to one table. `item` makes what is put there, if not any item; `names` are its attributes'."""

    def __init__(
        self, schema: TableSchema, item: Callable[[Random], Item] | None = None, names: Sequence[str] = NAMES
    ) -> None:
        self._schema = schema
        self._item = item or self._any_item
        self._names = names
        self._known: list[Item] = []

    def sequence(self, chance: Random, length: int, *, mistakes: float = 0.15) -> list[Asking]:
        return [self.any(chance, mistaken=chance.random() < mistakes) for _ in range(length)]

    def any(self, chance: Random, *, mistaken: bool = False) -> Asking:
        """Any request; with a mistake in it, where asked for."""
        action, request, _ = chance.choice(_WEIGHTED)(self, chance)
        # A deep copy: a mistake must not reach into the pools.
        request = json.loads(json.dumps(request))
        if mistaken:
            part = chance.choice(_parts(action, request))
            chance.choice(_MISTAKES)(chance, part, self._schema)
        return Asking(action, request, mistaken)

    def key(self, chance: Random) -> Item:
        if self._known and chance.randrange(3):
            return chance.choice(self._known)
        if self._item != self._any_item:
            return self._key_of(self._item(chance))
        return {name: self._key_value(chance, name) for name in self._schema.key_names}

    def item(self, chance: Random) -> Item:
        made = self._item(chance)
        if self._known and chance.randrange(2) and self._item == self._any_item:
            made |= chance.choice(self._known)
        self._known = [*self._known[-5:], self._key_of(made)]
        return made

    def _key_of(self, item: Item) -> Item:
        return {name: item[name] for name in self._schema.key_names}

    def _key_value(self, chance: Random, name: str) -> Value:
        kind = self._schema.types[name]
        return {kind: chance.choice(_KEYS[kind])}

    def _any_item(self, chance: Random) -> Item:
        item: Item = {chance.choice(NAMES): value(chance) for _ in range(chance.randrange(5))}
        for name in self._schema.types:
            item.pop(name, None)
            if name in self._schema.key_names or chance.randrange(4):
                item[name] = self._key_value(chance, name)
            elif chance.randrange(30) == 0:
                item[name] = scalar(chance)
        return item

    # -- expressions ---------------------------------------------------------------------------------------------------

    def path(self, chance: Random) -> Path:
        head = chance.choice((*self._names, *self._schema.types))
        if chance.randrange(4):
            return Path((head,))
        deeper = [chance.choice((*NAMES, 0, 1)) for _ in range(chance.randint(1, 2))]
        return Path((head, *deeper))

    def paths(self, chance: Random) -> list[Path]:
        """Such as may stand together: none leads into another."""
        kept: list[Path] = []
        for _ in range(chance.randint(1, 4)):
            path = self.path(chance)
            if all(path.parts[0] != other.parts[0] for other in kept):
                kept.append(path)
        return kept

    def condition(self, chance: Random, depth: int = 2) -> Condition:
        kind = chance.randrange(12 if depth else 9)
        path = self.path(chance)
        if kind <= 2:
            operator = chance.choice((*_COMPARATORS, "<>"))
            if operator in ("=", "<>"):
                return ComparisonCondition(operator, path, Literal(self._likely(chance, path)))
            return ComparisonCondition(operator, path, Literal(self._likely(chance, path, in_order=True)))
        if kind == 3:
            return FunctionCall(chance.choice(("attribute_exists", "attribute_not_exists")), (path,))
        if kind == 4:
            return FunctionCall(
                "attribute_type", (path, Literal({"S": chance.choice(("S", "N", "B", "L", "M", "NULL"))}))
            )
        if kind == 5:
            return FunctionCall("contains", (path, Literal(scalar(chance))))
        if kind == 6:
            low, high = chance.choice((("a", "b"), ("", "é"), ("b", "b"))), chance.choice((("0", "1"), ("-1", "10")))
            tag, (one, two) = chance.choice((("S", low), ("N", high)))
            return BetweenCondition(path, Literal({tag: one}), Literal({tag: two}))
        if kind == 7:
            return In(path, tuple(Literal(self._likely(chance, path)) for _ in range(chance.randint(1, 3))))
        if kind == 8:
            return ComparisonCondition(
                chance.choice(_COMPARATORS), FunctionCall("size", (path,)), Literal({"N": chance.choice("0123")})
            )
        if kind == 9:
            return Not(self.condition(chance, depth - 1))
        terms = (self.condition(chance, depth - 1), self.condition(chance, depth - 1))
        return And(terms) if kind == 10 else Or(terms)

    def _likely(self, chance: Random, path: Path, *, in_order: bool = False) -> Value:
        name = path.parts[0]
        if len(path.parts) == 1 and name in self._schema.types and chance.randrange(4):
            return self._key_value(chance, str(name))
        return ordered(chance) if in_order else value(chance)

    def update(self, chance: Random) -> Update:
        """One that DynamoDB takes as text; the item may still not bear it."""
        actions: dict[str, list[Action]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}
        for path in self.paths(chance):
            if path.parts[0] in self._schema.key_names and chance.randrange(10):
                continue
            # ADD and DELETE are for top-level attributes ("Using update expressions in DynamoDB").
            nested = len(path.parts) > 1
            indexed = path.parts[0] in self._schema.types
            some = ("SET", "SET", "REMOVE")
            section = chance.choice(some if nested or indexed else (*some, "ADD", "DELETE"))
            if section == "SET":
                actions[section].append(Set(path, self._assigned(chance, path)))
            elif section == "REMOVE":
                actions[section].append(Remove(path))
            elif section == "ADD":
                added = members(chance) if chance.randrange(2) else {"N": chance.choice(_NUMBERS[:8])}
                actions[section].append(Add(path, Literal(added)))
            else:
                actions[section].append(Delete(path, Literal(members(chance))))
        made = tuple(action for section in actions.values() for action in section)
        return Update(made or (Set(Path(("a",)), Literal({"S": "a"})),))

    def _assigned(self, chance: Random, path: Path) -> Operand | Arithmetic:
        kind = chance.randrange(7)
        if kind == 0:
            return FunctionCall("if_not_exists", (path, Literal(self._likely(chance, path))))
        if kind == 1:
            listed: Operand = FunctionCall("if_not_exists", (path, Literal({"L": []})))
            return FunctionCall("list_append", (listed, Literal({"L": [value(chance, 1)]})))
        if kind == 2:
            return Arithmetic(chance.choice("+-"), path, Literal({"N": chance.choice(_NUMBERS[:8])}))
        if kind == 3:
            return self.path(chance)
        return Literal(self._likely(chance, path))

    def _old_conditions(self, chance: Random) -> Request:
        """QueryFilter, ScanFilter, or Expected with operators."""
        found: Request = {}
        for path in self.paths(chance)[:3]:
            operators = ("EQ", "NE", "LT", "LE", "GT", "GE", "CONTAINS", "NULL", "NOT_NULL", "IN", "BETWEEN")
            operator = chance.choice(operators)
            listed: list[Value] = []
            if operator == "BETWEEN":
                listed = [{"N": "-1"}, {"N": "10"}]
            elif operator == "IN":
                listed = [{"S": chance.choice(_TEXTS)} for _ in range(chance.randint(1, 3))]
            elif operator in ("EQ", "NE"):
                listed = [self._likely(chance, path)]
            elif operator not in ("NULL", "NOT_NULL"):
                listed = [ordered(chance)]
            found[str(path.parts[0])] = {"ComparisonOperator": operator} | (
                {"AttributeValueList": listed} if listed else {}
            )
        return found

    def _expected(self, chance: Random) -> Request:
        """`Expected` in its older form: a value, or that there is none."""
        return {
            str(path.parts[0]): {"Exists": False} if chance.randrange(2) else {"Value": self._likely(chance, path)}
            for path in self.paths(chance)[:2]
        }

    def _attribute_updates(self, chance: Random) -> Request:
        found: Request = {}
        for path in self.paths(chance)[:3]:
            name = str(path.parts[0])
            if name in self._schema.key_names and chance.randrange(10):
                continue
            action = chance.choice(("PUT", "ADD", "DELETE", "DELETE", None))
            entry: Request = {} if action is None else {"Action": action}
            if action == "ADD":
                entry["Value"] = members(chance) if chance.randrange(2) else {"N": chance.choice(_NUMBERS[:8])}
            elif action == "DELETE" and chance.randrange(2):
                entry["Value"] = members(chance)
            elif action != "DELETE":
                entry["Value"] = self._likely(chance, path)
            found[name] = entry
        return found or {"a": {"Value": {"S": "a"}}}

    # -- operations ----------------------------------------------------------------------------------------------------

    def _with_condition(self, chance: Random, made: "_Parameters", *, legacy: bool) -> None:
        if chance.randrange(2):
            return
        if legacy:
            expected = self._old_conditions(chance) if chance.randrange(2) else self._expected(chance)
            made.request["Expected"] = expected
            if len(expected) > 1 and chance.randrange(2):
                made.request["ConditionalOperator"] = chance.choice(("AND", "OR"))
        else:
            made.expression("ConditionExpression", self.condition(chance))
        if chance.randrange(2):
            made.request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"

    def _with_projection(self, chance: Random, made: "_Parameters", *, legacy: bool = False) -> None:
        if chance.randrange(3):
            return
        if legacy:
            made.request["AttributesToGet"] = [str(path.parts[0]) for path in self.paths(chance)]
        else:
            made.expression("ProjectionExpression", Projection(tuple(self.paths(chance))))

    def get_item(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name, Key=self.key(chance))
        self._with_projection(chance, made, legacy=_rarely(chance))
        return Asking("GetItem", made.request)

    def put_item(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name, Item=self.item(chance))
        self._with_condition(chance, made, legacy=_rarely(chance))
        if chance.randrange(2):
            made.request["ReturnValues"] = chance.choice(("ALL_OLD", "NONE"))
        return Asking("PutItem", made.request)

    def delete_item(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name, Key=self.key(chance))
        self._with_condition(chance, made, legacy=_rarely(chance))
        if chance.randrange(2):
            made.request["ReturnValues"] = chance.choice(("ALL_OLD", "NONE"))
        return Asking("DeleteItem", made.request)

    def update_item(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name, Key=self.key(chance))
        legacy = _rarely(chance)
        if legacy:
            made.request["AttributeUpdates"] = self._attribute_updates(chance)
        elif chance.randrange(10):
            made.expression("UpdateExpression", self.update(chance))
        self._with_condition(chance, made, legacy=legacy)
        if chance.randrange(4):
            kinds = ("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE")
            made.request["ReturnValues"] = chance.choice(kinds)
        return Asking("UpdateItem", made.request)

    def query(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name)
        index_name = self._with_index(chance, made)
        (hash_name,), ranges = self._schema.index_keys(self._schema.indexes.get(index_name or ""))
        range_name = ranges[0] if ranges else None
        hash_value = self._key_value(chance, hash_name)
        ranged = None if range_name is None or chance.randrange(2) else self._range_condition(chance, range_name)
        legacy = _rarely(chance)
        if legacy:
            listed: Request = {hash_name: {"ComparisonOperator": "EQ", "AttributeValueList": [hash_value]}}
            if ranged is not None and range_name is not None:
                operator, operands = ranged
                listed[range_name] = {"ComparisonOperator": _LEGACY[operator], "AttributeValueList": operands}
            made.request["KeyConditions"] = listed
        else:
            text, names, bound = "#hk = :hk", {"#hk": hash_name}, {":hk": hash_value}
            if ranged is not None and range_name is not None:
                operator, operands = ranged
                text += " AND " + _RANGE_TEXTS[operator]
                names["#rk"] = range_name
                bound |= {f":r{n}": operand for n, operand in enumerate(operands)}
            made.text("KeyConditionExpression", text, names, bound)
        self._with_page(chance, made, "QueryFilter", legacy=legacy)
        if chance.randrange(2):
            made.request["ScanIndexForward"] = chance.random() < 0.5
        return Asking("Query", made.request)

    def scan(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name)
        self._with_index(chance, made)
        self._with_page(chance, made, "ScanFilter", legacy=_rarely(chance))
        return Asking("Scan", made.request)

    def _range_condition(self, chance: Random, name: str) -> tuple[str, list[Value]]:
        operators = [o for o in _RANGE_TEXTS if o != "begins_with" or self._schema.types[name] != "N"]
        operator = chance.choice(operators)
        return operator, [self._key_value(chance, name) for _ in range(2 if operator == "BETWEEN" else 1)]

    def _with_index(self, chance: Random, made: "_Parameters") -> str | None:
        if not self._schema.indexes or chance.randrange(3) == 0:
            return None
        name = chance.choice(sorted(self._schema.indexes))
        made.request["IndexName"] = name
        return name

    def _with_page(self, chance: Random, made: "_Parameters", old_filter: str, *, legacy: bool) -> None:
        if legacy:
            if chance.randrange(2):
                made.request[old_filter] = self._old_conditions(chance)
                if len(made.request[old_filter]) > 1 and chance.randrange(2):
                    made.request["ConditionalOperator"] = chance.choice(("AND", "OR"))
        elif chance.randrange(3) == 0:
            made.expression("FilterExpression", self.condition(chance))
        self._with_projection(chance, made, legacy=legacy)
        if chance.randrange(4) == 0:
            kinds = ("COUNT", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES")
            made.request["Select"] = chance.choice(kinds)
        if chance.randrange(2):
            made.request["Limit"] = chance.randint(1, 4)

    def _different_keys(self, chance: Random, most: int) -> list[Item]:
        found: list[Item] = []
        for _ in range(chance.randint(1, most)):
            key = self.key(chance)
            if key not in found or chance.randrange(30) == 0:
                found.append(key)
        return found

    def batch_get(self, chance: Random) -> Asking:
        made = _Parameters(self._schema.name, Keys=self._different_keys(chance, 5))
        self._with_projection(chance, made, legacy=_rarely(chance))
        del made.request["TableName"]
        return Asking("BatchGetItem", {"RequestItems": {self._schema.name: made.request}})

    def batch_write(self, chance: Random) -> Asking:
        entries: list[Request] = []
        for key in self._different_keys(chance, 5):
            if chance.randrange(3):
                item = self._item(chance)
                entries.append({"PutRequest": {"Item": (item | key) if self._item == self._any_item else item}})
            else:
                entries.append({"DeleteRequest": {"Key": key}})
        return Asking("BatchWriteItem", {"RequestItems": {self._schema.name: entries}})

    def transact_get(self, chance: Random) -> Asking:
        parts = []
        for key in self._different_keys(chance, 4):
            made = _Parameters(self._schema.name, Key=key)
            self._with_projection(chance, made)
            parts.append({"Get": made.request})
        return Asking("TransactGetItems", {"TransactItems": parts})

    def transact_write(self, chance: Random) -> Asking:
        parts: list[Request] = []
        for key in self._different_keys(chance, 4):
            kind = chance.choice(("Put", "Update", "Delete", "ConditionCheck"))
            if kind == "Put":
                item = self._item(chance)
                made = _Parameters(self._schema.name, Item=(item | key) if self._item == self._any_item else item)
            else:
                made = _Parameters(self._schema.name, Key=key)
            if kind == "Update":
                made.expression("UpdateExpression", self.update(chance))
            if kind == "ConditionCheck" or chance.randrange(4) == 0:
                made.expression("ConditionExpression", self.condition(chance))
                if chance.randrange(2):
                    made.request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            parts.append({kind: made.request})
        return Asking("TransactWriteItems", {"TransactItems": parts})


class _Parameters:
    """A request in the making: each expression has placeholders of its own."""

    def __init__(self, table: str, **parameters: Any) -> None:
        self.request: Request = {"TableName": table, **parameters}
        self._marks = iter("ABCDE")

    def expression(self, parameter: str, tree: Condition | Update | Projection) -> None:
        printed = unparse(tree)
        mark = next(self._marks)
        text = re.sub(r"([#:])([nv][0-9]+)", rf"\g<1>{mark}\2", printed.text)
        names = {f"#{mark}{placeholder[1:]}": name for placeholder, name in printed.names.items()}
        self.text(parameter, text, names, {f":{mark}{p[1:]}": bound for p, bound in printed.values.items()})

    def text(self, parameter: str, text: str, names: Mapping[str, str], bound: Mapping[str, Value]) -> None:
        self.request[parameter] = text
        if names:
            self.request.setdefault("ExpressionAttributeNames", {}).update(names)
        if bound:
            self.request.setdefault("ExpressionAttributeValues", {}).update(bound)


def _rarely(chance: Random) -> bool:
    return chance.randrange(5) == 0


_LEGACY = {"=": "EQ", "<": "LT", "<=": "LE", ">": "GT", ">=": "GE", "BETWEEN": "BETWEEN", "begins_with": "BEGINS_WITH"}
_RANGE_TEXTS = {operator: f"#rk {operator} :r0" for operator in _COMPARATORS} | {
    "BETWEEN": "#rk BETWEEN :r0 AND :r1",
    "begins_with": "begins_with(#rk, :r0)",
}
_WEIGHTED: Sequence[Callable[[Requests, Random], Asking]] = (
    Requests.put_item,
    Requests.put_item,
    Requests.put_item,
    Requests.update_item,
    Requests.update_item,
    Requests.update_item,
    Requests.delete_item,
    Requests.get_item,
    Requests.query,
    Requests.query,
    Requests.query,
    Requests.scan,
    Requests.scan,
    Requests.batch_get,
    Requests.batch_write,
    Requests.batch_write,
    Requests.transact_get,
    Requests.transact_write,
    Requests.transact_write,
)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def _parts(action: str, request: Request) -> list[Request]:
    """What of a request has parameters of its own."""
    if action.startswith("Transact"):
        return [part for entry in request["TransactItems"] for part in entry.values()]
    if action == "BatchWriteItem":
        return [part for entries in request["RequestItems"].values() for entry in entries for part in entry.values()]
    if action == "BatchGetItem":
        return list(request["RequestItems"].values())
    return [request]


def _keyed(part: Request) -> Item:
    found: Item = part.get("Key") or part.get("Item") or (part.get("Keys") or [{}])[0]
    return found


def _lose_key(chance: Random, part: Request, schema: TableSchema) -> None:
    _keyed(part).pop(chance.choice(schema.key_names), None)


def _mistype_key(chance: Random, part: Request, schema: TableSchema) -> None:
    _keyed(part)[chance.choice(schema.key_names)] = value(chance)


def _empty_key(chance: Random, part: Request, schema: TableSchema) -> None:
    name = chance.choice(schema.key_names)
    if schema.types[name] != "N":
        _keyed(part)[name] = {schema.types[name]: ""}


def _widen_key(chance: Random, part: Request, schema: TableSchema) -> None:
    part.get("Key", {})["more"] = {"S": "x"}


def _idle_name(chance: Random, part: Request, schema: TableSchema) -> None:
    part.setdefault("ExpressionAttributeNames", {})["#idle"] = "a"


def _idle_value(chance: Random, part: Request, schema: TableSchema) -> None:
    part.setdefault("ExpressionAttributeValues", {})[":idle"] = {"S": "a"}


def _lost_binding(chance: Random, part: Request, schema: TableSchema) -> None:
    bound = part.get("ExpressionAttributeValues") or part.get("ExpressionAttributeNames")
    if bound:
        del bound[chance.choice(sorted(bound))]


def _no_index(chance: Random, part: Request, schema: TableSchema) -> None:
    part["IndexName"] = "nowhere"


_BAD_VALUES: tuple[Any, ...] = (
    {"N": "x"},
    {"N": ""},
    {"N": "1e126"},
    {"N": "1e-131"},
    {"N": "1" * 39},
    {"SS": []},
    {"NS": ["1", "1.0"]},
    {"SS": ["a", "a"]},
    {"S": "a", "N": "1"},
    {},
    {"M": {"a": {"N": "x"}}},
)


def _bad_value(chance: Random, part: Request, schema: TableSchema) -> None:
    part.get("Item", {})["a"] = chance.choice(_BAD_VALUES)


def _respell(chance: Random, part: Request, schema: TableSchema) -> None:
    """No mistake: numbers in another spelling."""
    for parameter in ("Item", "ExpressionAttributeValues"):
        for name, held in part.get(parameter, {}).items():
            if "N" in held and "." not in held["N"] and name not in schema.types:
                held["N"] = chance.choice(("{}.0", "{}e0", "{}.00")).format(held["N"])


def _zero_limit(chance: Random, part: Request, schema: TableSchema) -> None:
    part["Limit"] = chance.choice((0, -1))


def _odd_start(chance: Random, part: Request, schema: TableSchema) -> None:
    names = chance.choice((schema.key_names, (schema.hash,), (*schema.key_names, "a")))
    part["ExclusiveStartKey"] = {n: {schema.types.get(n, "S"): _KEYS[schema.types.get(n, "S")][0]} for n in names}


def _odd_segments(chance: Random, part: Request, schema: TableSchema) -> None:
    part |= chance.choice(({"Segment": 2, "TotalSegments": 2}, {"Segment": 0}, {"TotalSegments": 2}))


def _long_key(chance: Random, part: Request, schema: TableSchema) -> None:
    name = chance.choice(schema.key_names)
    if schema.types[name] == "S":
        _keyed(part)[name] = {"S": "k" * (2049 if name == schema.hash else 1025)}


def _broken_expression(chance: Random, part: Request, schema: TableSchema) -> None:
    for parameter in ("ConditionExpression", "FilterExpression", "UpdateExpression", "ProjectionExpression"):
        if parameter in part:
            part[parameter] = chance.choice(("", "a =", "SET", "(a = b", "a b", "size(a)", part[parameter] + " ,"))


def _mixture(chance: Random, part: Request, schema: TableSchema) -> None:
    part["AttributesToGet"] = ["a"]
    part["ConditionalOperator"] = "AND"


def _odd_return_values(chance: Random, part: Request, schema: TableSchema) -> None:
    part["ReturnValues"] = chance.choice(("ALL_NEW", "UPDATED_OLD", "SOME"))


def _odd_select(chance: Random, part: Request, schema: TableSchema) -> None:
    kinds = ("ALL", "COUNT", "ALL_PROJECTED_ATTRIBUTES", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES")
    part["Select"] = chance.choice(kinds)


def _consistent(chance: Random, part: Request, schema: TableSchema) -> None:
    part["ConsistentRead"] = True


_MISTAKES = (
    _lose_key,
    _mistype_key,
    _empty_key,
    _widen_key,
    _idle_name,
    _idle_value,
    _lost_binding,
    _no_index,
    _bad_value,
    _respell,
    _zero_limit,
    _odd_start,
    _odd_segments,
    _long_key,
    _broken_expression,
    _mixture,
    _odd_return_values,
    _odd_select,
    _consistent,
)
