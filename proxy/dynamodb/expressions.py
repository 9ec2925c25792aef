"""DynamoDB's expression language: text to a tree of plain values, and back to text.

A text is parsed once and remembered; each request binds its own names and values into that tree, which is where the
checks are made that need no item. The module must not look at items: `evaluate` does.

Sources (developer guide): "Using expressions in DynamoDB" and the pages under it: "Condition and filter expressions,
operators, and functions", "Using update expressions", "Using projection expressions", "Key condition expressions for
the Query operation", "Expression attribute names (aliases)"; "Quotas in Amazon DynamoDB" for the limits.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal as OneOf
from typing import NamedTuple, NoReturn, TypeAlias

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.reserved import RESERVED
from proxy.dynamodb.values import TYPES, Value, canonical, kind, order, show

MAX_EXPRESSION_BYTES = 4096
MAX_OPERATORS = 300
MAX_IN_OPERANDS = 100

Parameter: TypeAlias = OneOf[
    "ConditionExpression", "FilterExpression", "KeyConditionExpression", "UpdateExpression", "ProjectionExpression"
]

# --- the tree ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A document path: the attribute's name first, then names in maps and indexes in lists."""

    parts: tuple[str | int, ...]

    def __str__(self) -> str:
        """As DynamoDB shows a path in its messages: `[a, b, [0]]`."""
        return "[" + ", ".join(f"[{part}]" if type(part) is int else str(part) for part in self.parts) + "]"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that came with the request."""

    value: Value


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`:name`, before the request's values are bound. No bound tree holds one."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its operands. `size`, `if_not_exists` and `list_append` give values, all others conditions."""

    function: str
    operands: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`; the operator is one of = <> < <= > >=."""

    operator: str
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`, both bounds included."""

    operand: "Operand"
    low: "Operand"
    high: "Operand"


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (options)`."""

    operand: "Operand"
    options: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class And:
    """Two terms or more."""

    terms: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Two terms or more."""

    terms: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The term is false."""

    term: "Condition"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left + right` or `left - right`, in SET only."""

    operator: str
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class Set:
    """SET: the attribute becomes the value."""

    path: Path
    value: "Operand | Arithmetic"


@dataclass(frozen=True, slots=True)
class Remove:
    """REMOVE: the attribute, or the element of a list, goes."""

    path: Path


@dataclass(frozen=True, slots=True)
class Add:
    """ADD: a number is added to a number, a set to a set."""

    path: Path
    value: "Operand"


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE: the members of a set are taken out of a set."""

    path: Path
    value: "Operand"


@dataclass(frozen=True, slots=True)
class Update:
    """An update expression's actions in the order they were written.

    `legacy` marks one that came as AttributeUpdates: the same deeds, but DynamoDB refuses them in other words.
    """

    actions: tuple["Action", ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Projection:
    """The paths that an answer is to hold, in the order they were written."""

    paths: tuple[Path, ...]


Operand: TypeAlias = Path | Literal | Placeholder | Call
Condition: TypeAlias = Comparison | Between | In | Call | And | Or | Not
Action: TypeAlias = Set | Remove | Add | Delete
Tree: TypeAlias = Condition | Update | Projection


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """What a Query asks of a key: one value of the hash key, and perhaps a range of the range key.

    `operator` is one of = < <= > >= BETWEEN begins_with, or None for the whole hash key; `operands` holds two values
    for BETWEEN, one for the others, none for None.
    """

    hash_value: Value
    operator: str | None = None
    operands: tuple[Value, ...] = ()


class Printed(NamedTuple):
    """An expression as a request carries it: its text, and the names and values that the text refers to."""

    text: str
    names: dict[str, str]
    values: dict[str, Value]


# --- names and values of a request ------------------------------------------------------------------------------------

_NAME_KEY = re.compile(r"#[0-9a-zA-Z_]+", re.ASCII).fullmatch
_VALUE_KEY = re.compile(r":[0-9a-zA-Z_]+", re.ASCII).fullmatch


@dataclass(slots=True)
class Bindings:
    """ExpressionAttributeNames and ExpressionAttributeValues of one request, and which of them were used.

    Made by `bindings`; handed to each parse of the request; `check_all_used` is asked when all of them are parsed.
    """

    names: Mapping[str, str]
    values: Mapping[str, Value]
    used_names: set[str] = field(default_factory=set)
    used_values: set[str] = field(default_factory=set)

    def check_all_used(self) -> None:
        """Raise ValidationException when the request carries a name or a value that no expression refers to."""
        for parameter, given, used in (
            ("ExpressionAttributeNames", self.names, self.used_names),
            ("ExpressionAttributeValues", self.values, self.used_values),
        ):
            if len(given) > len(used):
                spare = ", ".join(key for key in given if key not in used)
                raise validation(f"Value provided in {parameter} unused in expressions: keys: {{{spare}}}")


def bindings(names: Mapping[str, str] | None = None, values: Mapping[str, Value] | None = None) -> Bindings:
    """Check a request's names and values; the values are made canonical. None stands for a parameter left out.

    Raises ValidationException for an empty map, a key of the wrong form, or a value that is not valid.
    """
    if names is not None:
        _check_keys("ExpressionAttributeNames", names, _NAME_KEY)
    if values is None:
        return Bindings(names or {}, {})
    _check_keys("ExpressionAttributeValues", values, _VALUE_KEY)
    bound: dict[str, Value] = {}
    for key, value in values.items():
        try:
            bound[key] = canonical(value)
        except DynamoDBError as error:
            if error.code != "ValidationException":
                raise
            raise validation(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}"
            ) from error
    return Bindings(names or {}, bound)


def _check_keys(parameter: str, given: Mapping[str, object], form: Callable[[str], object]) -> None:
    if not given:
        raise validation(f"{parameter} must not be empty")
    for key in given:
        if not form(key):
            raise validation(f'{parameter} contains invalid key: Syntax error; key: "{key}"')


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse_condition(text: str, given: Bindings) -> Condition:
    """A ConditionExpression, bound. Raises ValidationException with DynamoDB's words, as all of these do."""
    return _bound_condition("ConditionExpression", text, given)


def parse_filter(text: str, given: Bindings) -> Condition:
    """A FilterExpression, bound."""
    return _bound_condition("FilterExpression", text, given)


def parse_key_condition(text: str, given: Bindings) -> Condition:
    """A KeyConditionExpression, bound; `key_condition` makes a KeyCondition of it."""
    return _bound_condition("KeyConditionExpression", text, given)


def parse_update(text: str, given: Bindings) -> Update:
    """An UpdateExpression, bound."""
    parsed = _parse("UpdateExpression", text)
    given.used_names |= parsed.names
    given.used_values |= parsed.values
    tree = parsed.tree
    assert isinstance(tree, Update)
    return _Binder("UpdateExpression", given).update(tree)


def parse_projection(text: str, given: Bindings) -> Projection:
    """A ProjectionExpression, bound."""
    parsed = _parse("ProjectionExpression", text)
    given.used_names |= parsed.names
    tree = parsed.tree
    assert isinstance(tree, Projection)
    binder = _Binder("ProjectionExpression", given)
    paths = tuple(binder.path(path) for path in tree.paths)
    binder.check_disjoint(paths)
    return Projection(paths)


def _bound_condition(parameter: Parameter, text: str, given: Bindings) -> Condition:
    parsed = _parse(parameter, text)
    given.used_names |= parsed.names
    given.used_values |= parsed.values
    tree = parsed.tree
    assert not isinstance(tree, Update | Projection)
    return _Binder(parameter, given).condition(tree)


class _Parsed(NamedTuple):
    tree: Tree
    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=4096)
def _parse(parameter: Parameter, text: str) -> _Parsed:
    """The tree of a text before binding: names as they are written (`#n`), values as placeholders."""
    if not text:
        raise _invalid(parameter, "The expression can not be empty;")
    size = len(text.encode())
    if size > MAX_EXPRESSION_BYTES:
        raise _invalid(parameter, f"Expression size has exceeded the maximum allowed size; expression size: {size}")
    parser = _Parser(parameter, text)
    tree: Tree
    if parameter == "UpdateExpression":
        tree = parser.update()
    elif parameter == "ProjectionExpression":
        tree = parser.projection()
    else:
        tree = parser.condition()
    return _Parsed(tree, frozenset(parser.names), frozenset(parser.values))


def _invalid(parameter: str, reason: str) -> DynamoDBError:
    return validation(f"Invalid {parameter}: {reason}")


_TOKEN = re.compile(
    r"(?P<name>[a-zA-Z][a-zA-Z0-9_]*|\#[a-zA-Z0-9_]+)|(?P<value>:[a-zA-Z0-9_]+)|(?P<index>[0-9]+)"
    r"|(?P<mark><>|<=|>=|[<>=()\[\],.+-])|(?P<stray>\S)",
    re.ASCII,
)
_END = "<EOF>"
_COMPARATORS = frozenset(("=", "<>", "<", "<=", ">", ">="))
_CONDITION_WORDS = frozenset(("AND", "OR", "NOT", "BETWEEN", "IN"))
_SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")
_CONDITION_FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
_UPDATE_FUNCTIONS = {"if_not_exists": 2, "list_append": 2}


class _Token(NamedTuple):
    kind: str  # name, value, index, mark, word, stray or end
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _Level:
    """What stands between one opening parenthesis and its closing one, as far as it has been read.

    `groups` are the terms of OR that are complete; `terms` the terms of the AND being read; `nots` the NOTs waiting for
    the next term; `wrapped` says that all there is so far is one term in parentheses of its own.
    """

    groups: list[Condition] = field(default_factory=list)
    terms: list[Condition] = field(default_factory=list)
    nots: int = 0
    wrapped: bool = False


class _Parser:
    """One pass over a text's tokens. Refusals that need the whole of it are collected, and the first due raised."""

    def __init__(self, parameter: Parameter, text: str) -> None:
        self.parameter = parameter
        self.text = text
        self.names: set[str] = set()
        self.values: set[str] = set()
        words = _SECTIONS if parameter == "UpdateExpression" else _CONDITION_WORDS
        self.tokens = [_token(match, words) for match in _TOKEN.finditer(text)]
        self.tokens.append(_Token("end", _END, len(text), len(text)))
        self.at = 0
        self.operators = 0
        # DynamoDB looks at the whole text before it says any of these, and says the first kind in this order.
        self.redundant: str | None = None
        self.unknown_function: str | None = None
        self.misused_function: str | None = None
        self.reserved: str | None = None
        self.repeated_section: str | None = None

    # A condition is read with a stack of its own instead of Python's: a request must not be able to exhaust that.
    def condition(self) -> Condition:
        levels = [_Level()]
        while True:
            level = levels[-1]
            token = self.tokens[self.at]
            if token.text == "NOT" and token.kind == "word":
                self.at += 1
                self._count_operator()
                level.nots += 1
                continue
            if token.text == "(":
                self.at += 1
                levels.append(_Level())
                continue
            read: Operand | Condition = self._operand()
            is_operand, wrapped = True, False
            while True:
                # `read` is complete; see what follows it in the level that is now on top.
                level = levels[-1]
                token = self.tokens[self.at]
                if is_operand:
                    comparison = self._comparison(read)  # type: ignore[arg-type]
                    if comparison is not None:
                        read, is_operand, wrapped = comparison, False, False
                        continue
                    bare = not (level.groups or level.terms or level.nots)
                    if token.text == ")" and len(levels) > 1 and bare:
                        # `(a) = :v`, or a function in parentheses: still either operand or condition.
                        self._close(wrapped)
                        levels.pop()
                        wrapped = True
                        continue
                    if not isinstance(read, Call):
                        self._syntax_error()
                    if read.function == "size" or read.function in _UPDATE_FUNCTIONS:
                        self._misuse(read.function)
                    is_operand = False
                    continue
                term: Condition = read  # type: ignore[assignment]
                alone = not (level.groups or level.terms or level.nots)
                for _ in range(level.nots):
                    term = Not(term)
                level.nots = 0
                level.terms.append(term)
                level.wrapped = wrapped and alone
                if token.kind == "word" and token.text in ("AND", "OR"):
                    self.at += 1
                    self._count_operator()
                    if token.text == "OR":
                        level.groups.append(_joined(And, level.terms))
                        level.terms = []
                    level.wrapped = False
                    break
                level.groups.append(_joined(And, level.terms))
                read = _joined(Or, level.groups)
                if token.text == ")" and len(levels) > 1:
                    self._close(level.wrapped)
                    levels.pop()
                    wrapped = True
                    continue
                if token.kind == "end" and len(levels) == 1:
                    self._raise_collected()
                    return read
                self._syntax_error()

    def update(self) -> Update:
        actions: list[Action] = []
        seen: set[str] = set()
        while True:
            section = self._take("word")
            if section in seen and self.repeated_section is None:
                self.repeated_section = section
            seen.add(section)
            while True:
                actions.append(self._action(section))
                if self.tokens[self.at].text != ",":
                    break
                self.at += 1
            if self.tokens[self.at].kind == "end":
                self._raise_collected()
                return Update(tuple(actions))

    def projection(self) -> Projection:
        paths = [self._path()]
        while self.tokens[self.at].text == ",":
            self.at += 1
            paths.append(self._path())
        if self.tokens[self.at].kind != "end":
            self._syntax_error()
        self._raise_collected()
        return Projection(tuple(paths))

    def _action(self, section: str) -> Action:
        path = self._path()
        if section == "REMOVE":
            return Remove(path)
        if section != "SET":
            if self.tokens[self.at].kind != "value":
                self._syntax_error()
            value = self._operand()
            return Add(path, value) if section == "ADD" else Delete(path, value)
        self._expect("=")
        return Set(path, self._set_value())

    def _set_value(self) -> Operand | Arithmetic:
        # The sum as a whole may stand in parentheses, and so may each of its sides.
        start = self.at
        opened = self.tokens[start].text == "("
        if opened:
            self.at += 1
        left = self._operand()
        if opened and self.tokens[self.at].text == ")":
            self.at = start
            opened = False
            left = self._operand()
        value: Operand | Arithmetic = left
        operator = self.tokens[self.at].text
        if operator in ("+", "-"):
            self.at += 1
            self._count_operator()
            value = Arithmetic(operator, left, self._operand())
        if opened:
            self._expect(")")
        return value

    def _comparison(self, left: Operand) -> Condition | None:
        """What follows an operand to make a condition of it, or None where nothing does."""
        token = self.tokens[self.at]
        operands: tuple[Operand, ...]
        if token.text in _COMPARATORS:
            self.at += 1
            self._count_operator()
            right = self._operand()
            self._check_values(left, right)
            return Comparison(token.text, left, right)
        if token.kind != "word":
            return None
        if token.text == "BETWEEN":
            self.at += 1
            self._count_operator()
            low = self._operand()
            self._expect("AND")
            high = self._operand()
            self._check_values(left, low, high)
            return Between(left, low, high)
        if token.text == "IN":
            self.at += 1
            self._count_operator()
            self._expect("(")
            operands = self._operands()
            self._check_values(left, *operands)
            if len(operands) > MAX_IN_OPERANDS:
                raise _invalid(
                    self.parameter,
                    f"The IN operator is provided with too many operands; number of operands: {len(operands)}",
                )
            return In(left, operands)
        return None

    def _operands(self) -> tuple[Operand, ...]:
        operands = [self._operand()]
        while self.tokens[self.at].text == ",":
            self.at += 1
            operands.append(self._operand())
        self._expect(")")
        return tuple(operands)

    def _operand(self) -> Operand:
        opened = 0
        while self.tokens[self.at].text == "(":
            self.at += 1
            opened += 1
        token = self.tokens[self.at]
        read: Operand
        if token.kind == "value":
            self.at += 1
            self.values.add(token.text)
            read = Placeholder(token.text)
        elif token.kind == "name" and token.text[0] != "#" and self.tokens[self.at + 1].text == "(":
            self.at += 2
            read = self._call(token.text)
        else:
            read = self._path()
        for closed in range(opened):
            self._close(closed > 0)
        return read

    def _call(self, function: str) -> Call:
        self._count_operator()
        in_update = self.parameter == "UpdateExpression"
        if function not in _CONDITION_FUNCTIONS and function not in _UPDATE_FUNCTIONS:
            if self.unknown_function is None:
                self.unknown_function = function
        elif (function in _UPDATE_FUNCTIONS) != in_update:
            self._misuse(function)
        operands = self._operands()
        for operand in operands:
            # Only `if_not_exists` may stand inside another function, and only in an update.
            if isinstance(operand, Call) and operand.function != "if_not_exists":
                self._misuse(operand.function)
        return Call(function, operands)

    def _path(self) -> Path:
        parts: list[str | int] = [self._name()]
        while True:
            mark = self.tokens[self.at].text
            if mark == ".":
                self.at += 1
                parts.append(self._name())
            elif mark == "[":
                self.at += 1
                parts.append(int(self._take("index")))
                self._expect("]")
            else:
                return Path(tuple(parts))

    def _name(self) -> str:
        text = self._take("name")
        if text[0] == "#":
            self.names.add(text)
        elif text.upper() in RESERVED and self.reserved is None:
            self.reserved = text
        return text

    def _take(self, wanted: str) -> str:
        token = self.tokens[self.at]
        if token.kind != wanted:
            self._syntax_error()
        self.at += 1
        return token.text

    def _expect(self, text: str) -> None:
        if self.tokens[self.at].text != text:
            self._syntax_error()
        self.at += 1

    def _close(self, redundant: bool) -> None:
        self._expect(")")
        if redundant and self.redundant is None:
            self.redundant = "The expression has redundant parentheses;"

    def _check_values(self, *operands: Operand) -> None:
        for operand in operands:
            if isinstance(operand, Call) and operand.function != "size":
                self._misuse(operand.function)

    def _misuse(self, function: str) -> None:
        if self.misused_function is None:
            self.misused_function = function

    def _count_operator(self) -> None:
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise _invalid(
                self.parameter, f"The expression contains too many operators; operator count: {self.operators}"
            )

    def _raise_collected(self) -> None:
        if self.redundant is not None:
            raise _invalid(self.parameter, self.redundant)
        if self.reserved is not None and self.parameter == "UpdateExpression":
            raise self._reserved_error()
        if self.unknown_function is not None:
            raise _invalid(self.parameter, f"Invalid function name; function: {self.unknown_function}")
        if self.misused_function is not None:
            raise _invalid(
                self.parameter,
                f"The function is not allowed to be used this way in an expression; function: {self.misused_function}",
            )
        if self.reserved is not None:
            raise self._reserved_error()
        if self.repeated_section is not None:
            raise _invalid(
                self.parameter,
                f'The "{self.repeated_section}" section can only be used once in an update expression;',
            )

    def _reserved_error(self) -> DynamoDBError:
        return _invalid(self.parameter, f"Attribute name is a reserved keyword; reserved keyword: {self.reserved}")

    def _syntax_error(self) -> NoReturn:
        # DynamoDB shows the token that it could not take, and the text from the one before it to the one after it.
        token = self.tokens[self.at]
        before = self.tokens[max(self.at - 1, 0)]
        after = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        shown = _END if token.kind == "end" else self.text[token.start : token.end]
        near = self.text[before.start : after.end].rstrip()
        raise _invalid(self.parameter, f'Syntax error; token: "{shown}", near: "{near}"')


def _token(match: "re.Match[str]", words: Iterable[str]) -> _Token:
    text, sort = match[0], match.lastgroup
    assert sort is not None
    word = text.upper()
    if sort == "name" and word in words:
        return _Token("word", word, match.start(), match.end())
    return _Token(sort, text, match.start(), match.end())


def _joined(junction: type[And] | type[Or], terms: list[Condition]) -> Condition:
    return terms[0] if len(terms) == 1 else junction(tuple(terms))


# --- binding ----------------------------------------------------------------------------------------------------------

_LONG_TYPES = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "L": "LIST",
    "M": "MAP",
}
_ORDERED = frozenset("SNB")
_UNSIZED = frozenset(("N", "BOOL", "NULL"))
_SETS = frozenset(("SS", "NS", "BS"))


class _Binder:
    """Puts one request's names and values in a parsed tree, and refuses what is wrong whatever the item holds."""

    __slots__ = ("names", "parameter", "values")

    def __init__(self, parameter: Parameter, given: Bindings) -> None:
        self.parameter = parameter
        self.names = given.names
        self.values = given.values

    def condition(self, tree: Condition) -> Condition:
        if isinstance(tree, Comparison):
            return self._comparison(tree)
        if isinstance(tree, And):
            return And(tuple([self.condition(term) for term in tree.terms]))
        if isinstance(tree, Call):
            return self._predicate(tree)
        if isinstance(tree, Or):
            return Or(tuple([self.condition(term) for term in tree.terms]))
        if isinstance(tree, Not):
            return Not(self.condition(tree.term))
        if isinstance(tree, Between):
            return self._between(tree)
        operand = self.operand(tree.operand)
        options = tuple([self.operand(option) for option in tree.options])
        self._check_distinct("IN", operand, options)
        return In(operand, options)

    def update(self, tree: Update) -> Update:
        paths = [self.path(action.path) for action in tree.actions]
        try:
            values = [None if isinstance(action, Remove) else self._value(action.value) for action in tree.actions]
        except DynamoDBError:
            # DynamoDB misses names before it misses values, wherever in the text they stand.
            for action in tree.actions:
                if not isinstance(action, Remove):
                    for path in _read_paths(action.value):
                        self.path(path)
            raise
        self.check_disjoint(paths)
        bound: list[Action] = []
        for action, path, value in zip(tree.actions, paths, values, strict=True):
            if value is None:
                bound.append(Remove(path))
            elif isinstance(action, Set):
                self._check_set_value(value)
                bound.append(Set(path, value))
            else:
                assert isinstance(value, Literal)
                self._check_section_type("ADD" if isinstance(action, Add) else "DELETE", value)
                bound.append(Add(path, value) if isinstance(action, Add) else Delete(path, value))
        return Update(tuple(bound))

    def path(self, path: Path) -> Path:
        parts = path.parts
        for part in parts:
            if type(part) is str and part[0] == "#":
                break
        else:
            return path
        return Path(tuple([self._name(part) if type(part) is str else part for part in parts]))

    def operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Path):
            return self.path(operand)
        if isinstance(operand, Placeholder):
            value = self.values.get(operand.name)
            if value is None:
                raise self._invalid(
                    f"An expression attribute value used in expression is not defined; attribute value: {operand.name}"
                )
            return Literal(value)
        if isinstance(operand, Call):
            bound = Call(operand.function, tuple([self.operand(each) for each in operand.operands]))
            if operand.function == "size":
                self._check_arity(bound)
                self._check_type(bound.operands[0], "size", refused=_UNSIZED)
            return bound
        return operand

    def check_disjoint(self, paths: Sequence[Path]) -> None:
        """No path may be another's ancestor or its equal, nor take for a list what another takes for a map."""
        if len({path.parts[0] for path in paths}) == len(paths):
            return
        first: DynamoDBError | None = None
        earlier: list[Path] = []
        for path in paths:
            for other in earlier:
                relation = _relation(other.parts, path.parts)
                if relation is None:
                    continue
                error = self._invalid(
                    f"Two document paths {relation} with each other; must remove or rewrite one of these paths; "
                    f"path one: {other}, path two: {path}"
                )
                if relation == "overlap":
                    raise error
                first = first or error
            earlier.append(path)
        if first is not None:
            raise first

    def _name(self, name: str) -> str:
        if name[0] != "#":
            return name
        meant = self.names.get(name)
        if meant is None:
            raise self._invalid(
                f"An expression attribute name used in the document path is not defined; attribute name: {name}"
            )
        return meant

    def _comparison(self, tree: Comparison) -> Comparison:
        operator = tree.operator
        left, right = self.operand(tree.left), self.operand(tree.right)
        self._check_distinct(operator, left, (right,))
        if operator not in ("=", "<>"):
            self._check_type(left, operator, allowed=_ORDERED)
            self._check_type(right, operator, allowed=_ORDERED)
        return Comparison(operator, left, right)

    def _between(self, tree: Between) -> Between:
        operand, low, high = self.operand(tree.operand), self.operand(tree.low), self.operand(tree.high)
        self._check_distinct("BETWEEN", operand, (low, high))
        for each in (operand, low, high):
            self._check_type(each, "BETWEEN", allowed=_ORDERED)
        if isinstance(low, Literal) and isinstance(high, Literal):
            compared = order(low.value, high.value)
            if compared is None or compared > 0:
                rule = (
                    "same data type for lower and upper bounds"
                    if compared is None
                    else "upper bound to be greater than or equal to lower bound"
                )
                raise self._invalid(
                    f"The BETWEEN operator requires {rule}; "
                    f"lower bound operand: AttributeValue: {show(low.value)}, "
                    f"upper bound operand: AttributeValue: {show(high.value)}"
                )
        return Between(operand, low, high)

    def _predicate(self, tree: Call) -> Call:
        function = tree.function
        bound = Call(function, tuple([self.operand(operand) for operand in tree.operands]))
        self._check_arity(bound)
        operands = bound.operands
        self._check_distinct(function, operands[0], operands[1:])
        if function in ("attribute_exists", "attribute_not_exists"):
            self._check_is_path(operands[0], function)
        elif function == "begins_with":
            for operand in operands:
                self._check_type(operand, function, allowed=frozenset("SB"))
        elif function == "attribute_type":
            self._check_named_type(operands[1])
        return bound

    def _value(self, value: Operand | Arithmetic) -> Operand | Arithmetic:
        if isinstance(value, Arithmetic):
            return Arithmetic(value.operator, self.operand(value.left), self.operand(value.right))
        return self.operand(value)

    def _check_set_value(self, value: Operand | Arithmetic) -> None:
        if isinstance(value, Arithmetic):
            for side in (value.left, value.right):
                self._check_set_value(side)
                self._check_type(side, value.operator, allowed=frozenset("N"))
        elif isinstance(value, Call):
            self._check_arity(value)
            for operand in value.operands:
                self._check_set_value(operand)
            if value.function == "if_not_exists":
                self._check_is_path(value.operands[0], value.function)
            else:
                for operand in value.operands:
                    self._check_type(operand, value.function, allowed=frozenset("L"))

    def _check_section_type(self, section: str, literal: Literal) -> None:
        tag = kind(literal.value)
        if tag not in _SETS and not (section == "ADD" and tag == "N"):
            raise self._invalid(
                "Incorrect operand type for operator or function; "
                f"operator: {section}, operand type: {_LONG_TYPES[tag]}"
            )

    def _check_arity(self, call: Call) -> None:
        wanted = _CONDITION_FUNCTIONS.get(call.function) or _UPDATE_FUNCTIONS[call.function]
        if len(call.operands) != wanted:
            raise self._invalid(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {call.function}, number of operands: {len(call.operands)}"
            )

    def _check_is_path(self, operand: Operand, function: str) -> None:
        if not isinstance(operand, Path):
            raise self._invalid(f"Operator or function requires a document path; operator or function: {function}")

    def _check_named_type(self, operand: Operand) -> None:
        known = _known_type(operand)
        if known != "S":
            self._wrong_type("attribute_type", known or "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
        assert isinstance(operand, Literal)
        named = operand.value["S"]
        if named not in TYPES:
            raise self._invalid(
                f"Invalid attribute type name found; type: {named}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
            )

    def _check_type(
        self,
        operand: Operand,
        function: str,
        *,
        allowed: frozenset[str] | None = None,
        refused: frozenset[str] = frozenset(),
    ) -> None:
        known = _known_type(operand)
        if known is not None and (known in refused or (allowed is not None and known not in allowed)):
            self._wrong_type(function, known)

    def _check_distinct(self, operator: str, first: Operand, rest: Iterable[Operand]) -> None:
        if isinstance(first, Path) and first in rest:
            raise self._invalid(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {operator}, first operand: {first}"
            )

    def _wrong_type(self, function: str, found: str) -> NoReturn:
        raise self._invalid(
            f"Incorrect operand type for operator or function; operator or function: {function}, operand type: {found}"
        )

    def _invalid(self, reason: str) -> DynamoDBError:
        return _invalid(self.parameter, reason)


def _known_type(operand: Operand) -> str | None:
    """The type that an operand has whatever the item holds, if there is one."""
    if isinstance(operand, Literal):
        return kind(operand.value)
    if isinstance(operand, Call):
        return {"size": "N", "list_append": "L"}.get(operand.function)
    return None


def _read_paths(value: Operand | Arithmetic) -> Iterator[Path]:
    """The paths in a SET's value, in the order they are written."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Arithmetic):
        yield from _read_paths(value.left)
        yield from _read_paths(value.right)
    elif isinstance(value, Call):
        for operand in value.operands:
            yield from _read_paths(operand)


def _relation(one: tuple[str | int, ...], two: tuple[str | int, ...]) -> str | None:
    for mine, theirs in zip(one, two, strict=False):
        if type(mine) is not type(theirs):
            return "conflict"
        if mine != theirs:
            return None
    return "overlap"


# --- what a tree refers to --------------------------------------------------------------------------------------------


def condition_paths(tree: Condition) -> Iterator[Path]:
    """Every path a condition reads, in the order they are written, repeats included."""
    if isinstance(tree, And | Or):
        for term in tree.terms:
            yield from condition_paths(term)
    elif isinstance(tree, Not):
        yield from condition_paths(tree.term)
    elif isinstance(tree, Comparison):
        yield from _read_paths(tree.left)
        yield from _read_paths(tree.right)
    elif isinstance(tree, Between):
        for operand in (tree.operand, tree.low, tree.high):
            yield from _read_paths(operand)
    elif isinstance(tree, In):
        for operand in (tree.operand, *tree.options):
            yield from _read_paths(operand)
    else:
        yield from _read_paths(tree)


def top_level(paths: Iterable[Path]) -> frozenset[str]:
    """The names of the attributes that the paths start from."""
    return frozenset(str(path.parts[0]) for path in paths)


# --- key conditions ---------------------------------------------------------------------------------------------------

_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_REFUSED_IN_KEYS = {Or: "OR", Not: "NOT", In: "IN"}


def key_condition(tree: Condition, hash_key: tuple[str, str], range_key: tuple[str, str] | None = None) -> KeyCondition:
    """What a bound KeyConditionExpression asks of a key, given the (name, type) of its one or two attributes.

    Raises ValidationException where the condition is not of the form that Query can serve: the hash key equal to a
    value, and at most one condition on the range key ("Key condition expressions for the Query operation").
    """
    found: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for term in _key_terms(tree):
        name, operator, operands = _key_term(term)
        if name in found:
            raise validation("KeyConditionExpressions must only contain one condition per key")
        found[name] = (operator, operands)
    return assemble_key_condition(found, hash_key, range_key)


def assemble_key_condition(
    found: Mapping[str, tuple[str, tuple[Value, ...]]],
    hash_key: tuple[str, str],
    range_key: tuple[str, str] | None,
) -> KeyCondition:
    """A KeyCondition from conditions by attribute name: operator and operands as KeyCondition has them."""
    if len(found) > 2:
        raise validation("Conditions can be of length 1 or 2 only")
    name, wanted = hash_key
    if name not in found:
        raise validation(f"Query condition missed key schema element: {name}")
    if len(found) == 2:
        if range_key is None:
            raise validation("Query key condition not supported")
        if range_key[0] not in found:
            raise validation(f"Query condition missed key schema element: {range_key[0]}")
    operator, operands = found[name]
    if operator != "=":
        raise validation("Query key condition not supported")
    _check_key_operands(name, wanted, operands)
    if len(found) == 1:
        return KeyCondition(operands[0])
    assert range_key is not None
    range_operator, range_operands = found[range_key[0]]
    _check_key_operands(*range_key, range_operands)
    return KeyCondition(operands[0], range_operator, range_operands)


def _check_key_operands(name: str, wanted: str, operands: tuple[Value, ...]) -> None:
    for operand in operands:
        if wanted not in operand:
            raise validation(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
            )
        if operand[wanted] == "":
            what = "string" if wanted == "S" else "binary"
            raise validation(
                "One or more parameter values are not valid. "
                f"The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}"
            )


def _key_terms(tree: Condition) -> Iterator[Condition]:
    if isinstance(tree, And):
        for term in tree.terms:
            yield from _key_terms(term)
    else:
        yield tree


def _key_term(term: Condition) -> tuple[str, str, tuple[Value, ...]]:
    operands: tuple[Operand, ...]
    if isinstance(term, Comparison):
        operator, operands = term.operator, (term.left, term.right)
        refused = "<>" if operator == "<>" else None
    elif isinstance(term, Between):
        operator, operands, refused = "BETWEEN", (term.operand, term.low, term.high), None
    elif isinstance(term, Call):
        operator, operands = term.function, term.operands
        refused = None if operator == "begins_with" else operator
    else:
        operator, operands, refused = "", (), _REFUSED_IN_KEYS[type(term)]
    if refused is not None:
        raise validation(f"Invalid operator used in KeyConditionExpression: {refused}")
    if any(isinstance(operand, Call) for operand in operands):
        raise validation("KeyConditionExpressions cannot contain nested operations")
    if operator in ("BETWEEN", "begins_with") and not isinstance(operands[0], Path):
        raise validation(
            "Invalid condition in KeyConditionExpression: "
            f"{operator} operator must have the key attribute as its first operand"
        )
    paths = [operand for operand in operands if isinstance(operand, Path)]
    values = tuple(operand.value for operand in operands if isinstance(operand, Literal))
    if not paths:
        raise validation("Invalid condition in KeyConditionExpression: No key attribute specified")
    if len(paths) > 1:
        raise validation("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
    if len(paths[0].parts) > 1:
        raise validation("KeyConditionExpressions cannot have conditions on nested attributes")
    if not isinstance(operands[0], Path):
        operator = _MIRRORED[operator]
    return str(paths[0].parts[0]), operator, values


# --- printing ---------------------------------------------------------------------------------------------------------

_BARE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*", re.ASCII).fullmatch


def unparse(tree: Condition | Update | Projection) -> Printed:
    """A bound tree as a request would carry it; parsing the text with these names and values gives the tree again."""
    printer = _Printer()
    if isinstance(tree, Update):
        text = printer.update(tree)
    elif isinstance(tree, Projection):
        text = ", ".join(map(printer.path, tree.paths))
    else:
        text = printer.condition(tree)
    return Printed(text, {key: name for name, key in printer.names.items()}, printer.values)


class _Printer:
    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Value] = {}

    def condition(self, tree: Condition) -> str:
        if isinstance(tree, And):
            return " AND ".join(self._inner(term, And | Or) for term in tree.terms)
        if isinstance(tree, Or):
            return " OR ".join(self._inner(term, Or) for term in tree.terms)
        if isinstance(tree, Not):
            return "NOT " + self._inner(tree.term, And | Or)
        if isinstance(tree, Comparison):
            return f"{self.operand(tree.left)} {tree.operator} {self.operand(tree.right)}"
        if isinstance(tree, Between):
            return f"{self.operand(tree.operand)} BETWEEN {self.operand(tree.low)} AND {self.operand(tree.high)}"
        if isinstance(tree, In):
            return f"{self.operand(tree.operand)} IN ({', '.join(map(self.operand, tree.options))})"
        return self.operand(tree)

    def _inner(self, term: Condition, wrapped: object) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, wrapped) else text  # type: ignore[arg-type]

    def update(self, tree: Update) -> str:
        sections: dict[str, list[str]] = {}
        for action in tree.actions:
            path = self.path(action.path)
            if isinstance(action, Set):
                sections.setdefault("SET", []).append(f"{path} = {self._set_value(action.value)}")
            elif isinstance(action, Remove):
                sections.setdefault("REMOVE", []).append(path)
            else:
                section = "ADD" if isinstance(action, Add) else "DELETE"
                sections.setdefault(section, []).append(f"{path} {self.operand(action.value)}")
        return " ".join(f"{section} {', '.join(actions)}" for section, actions in sections.items())

    def _set_value(self, value: Operand | Arithmetic) -> str:
        if isinstance(value, Arithmetic):
            return f"{self.operand(value.left)} {value.operator} {self.operand(value.right)}"
        return self.operand(value)

    def operand(self, operand: Operand) -> str:
        if isinstance(operand, Path):
            return self.path(operand)
        if isinstance(operand, Literal):
            key = f":v{len(self.values)}"
            self.values[key] = operand.value
            return key
        if isinstance(operand, Placeholder):
            return operand.name
        return f"{operand.function}({', '.join(map(self.operand, operand.operands))})"

    def path(self, path: Path) -> str:
        text = ""
        for part in path.parts:
            if type(part) is int:
                text += f"[{part}]"
            else:
                text += ("." if text else "") + self._name(str(part))
        return text

    def _name(self, name: str) -> str:
        if _BARE_NAME(name) and name.upper() not in RESERVED and name.upper() not in _SECTIONS:
            return name
        return self.names.setdefault(name, f"#n{len(self.names)}")
