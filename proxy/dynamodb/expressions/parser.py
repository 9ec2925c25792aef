"""DynamoDB's expression language: a text to a tree, with names as they are written and placeholders for values.

A text is parsed once and kept; `binder` puts a request's names and values in the tree.

Sources (developer guide): "Condition and filter expressions, operators, and functions", "Using update expressions",
"Using projection expressions"; "Quotas in Amazon DynamoDB" for the limits.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, NoReturn

from proxy.dynamodb.expressions.ast import (
    CONDITION_FUNCTIONS,
    SECTIONS,
    UPDATE_FUNCTIONS,
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
    Not,
    Operand,
    Or,
    Path,
    Placeholder,
    Projection,
    Remove,
    Set,
    Tree,
    Update,
    joined,
)
from proxy.dynamodb.expressions.faults import ExpressionFaults
from proxy.dynamodb.expressions.parameters import (
    MAX_EXPRESSION_BYTES,
    MAX_IN_OPERANDS,
    MAX_LIST_INDEX,
    MAX_OPERATORS,
    MAX_PATH_LEVELS,
    Parameter,
    invalid,
)
from proxy.dynamodb.expressions.reserved_words import RESERVED
from proxy.dynamodb.expressions.tokens import END, tokenize


class Parsed(NamedTuple):
    """A text's tree, with the placeholders for names and for values that stand in it."""

    tree: Tree
    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=4096)
def parse(parameter: Parameter, text: str) -> Parsed:
    """The tree of a text before binding: names as they are written (`#n`), values as placeholders."""
    if not text:
        raise invalid(parameter, "The expression can not be empty;")
    size = len(text.encode())
    if size > MAX_EXPRESSION_BYTES:
        shown = "" if parameter == "UpdateExpression" else f" expression size: {size}"
        raise invalid(parameter, f"Expression size has exceeded the maximum allowed size;{shown}")
    parser = _Parser(parameter, text)
    tree: Tree
    if parameter == "UpdateExpression":
        tree = parser.update()
    elif parameter == "ProjectionExpression":
        tree = parser.projection()
    else:
        tree = parser.condition()
    return Parsed(tree, frozenset(parser.names), frozenset(parser.values))


_COMPARATORS = frozenset(("=", "<>", "<", "<=", ">", ">="))
_CONDITION_WORDS = frozenset(("AND", "OR", "NOT", "BETWEEN", "IN"))


@dataclass(slots=True)
class _Level:
    """What has been read inside one pair of parentheses. `groups` are the terms of OR that are complete; `terms` the
    terms of the AND being read; `nots` the NOTs waiting for the next term; `wrapped` says that all there is so far is
    one term in parentheses of its own."""

    groups: list[Condition] = field(default_factory=list)
    terms: list[Condition] = field(default_factory=list)
    nots: int = 0
    wrapped: bool = False


class _Parser:
    """A parser that makes one pass over a text's tokens, and reports what needs the whole text at its end."""

    def __init__(self, parameter: Parameter, text: str) -> None:
        self.parameter = parameter
        self.text = text
        self.names: set[str] = set()
        self.values: set[str] = set()
        words = SECTIONS if parameter == "UpdateExpression" else _CONDITION_WORDS
        self.tokens = tokenize(text, words)
        self.at = 0
        self.operators = 0
        self.faults = ExpressionFaults(parameter)

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
                    if not isinstance(read, FunctionCall):
                        self._syntax_error()
                    if read.function == "size" or read.function in UPDATE_FUNCTIONS:
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
                        level.groups.append(joined(And, level.terms))
                        level.terms = []
                    level.wrapped = False
                    break
                level.groups.append(joined(And, level.terms))
                read = joined(Or, level.groups)
                if token.text == ")" and len(levels) > 1:
                    self._close(level.wrapped)
                    levels.pop()
                    wrapped = True
                    continue
                if token.kind == "end" and len(levels) == 1:
                    self.faults.report()
                    return read
                self._syntax_error()

    def update(self) -> Update:
        actions: list[Action] = []
        seen: set[str] = set()
        while True:
            section = self._take("word")
            if section in seen and self.faults.repeated_section is None:
                self.faults.repeated_section = section
            seen.add(section)
            while True:
                actions.append(self._action(section))
                if self.tokens[self.at].text != ",":
                    break
                self.at += 1
            if self.tokens[self.at].kind == "end":
                self.faults.report()
                return Update(tuple(actions))

    def projection(self) -> Projection:
        paths = [self._path()]
        while self.tokens[self.at].text == ",":
            self.at += 1
            paths.append(self._path())
        if self.tokens[self.at].kind != "end":
            self._syntax_error()
        self.faults.report()
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
            return ComparisonCondition(token.text, left, right)
        if token.kind != "word":
            return None
        if token.text == "BETWEEN":
            self.at += 1
            self._count_operator()
            low = self._operand()
            self._expect("AND")
            high = self._operand()
            self._check_values(left, low, high)
            return BetweenCondition(left, low, high)
        if token.text == "IN":
            self.at += 1
            self._count_operator()
            self._expect("(")
            operands = self._operands()
            self._check_values(left, *operands)
            if len(operands) > MAX_IN_OPERANDS:
                raise invalid(
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

    def _call(self, function: str) -> FunctionCall:
        self._count_operator()
        in_update = self.parameter == "UpdateExpression"
        if function not in CONDITION_FUNCTIONS and function not in UPDATE_FUNCTIONS:
            if self.faults.unknown_function is None:
                self.faults.unknown_function = function
        elif (function in UPDATE_FUNCTIONS) != in_update:
            self._misuse(function)
        operands = self._operands()
        for operand in operands:
            # Only `if_not_exists` may stand inside another function, and only in an update.
            if isinstance(operand, FunctionCall) and operand.function != "if_not_exists":
                self._misuse(operand.function)
        return FunctionCall(function, operands)

    def _path(self) -> Path:
        parts: list[str | int] = [self._name()]
        while True:
            mark = self.tokens[self.at].text
            if mark == ".":
                self.at += 1
                parts.append(self._name())
            elif mark == "[":
                self.at += 1
                index = self._take("index")
                if int(index) > MAX_LIST_INDEX and self.faults.index_out_of_range is None:
                    self.faults.index_out_of_range = index
                parts.append(int(index))
                self._expect("]")
            else:
                if len(parts) > MAX_PATH_LEVELS and self.faults.path_depth is None:
                    self.faults.path_depth = len(parts)
                return Path(tuple(parts))

    def _name(self) -> str:
        text = self._take("name")
        if text[0] == "#":
            self.names.add(text)
        elif text.upper() in RESERVED and self.faults.reserved_word is None:
            self.faults.reserved_word = text
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
        if redundant:
            self.faults.redundant_parentheses = True

    def _check_values(self, *operands: Operand) -> None:
        for operand in operands:
            if isinstance(operand, FunctionCall) and operand.function != "size":
                self._misuse(operand.function)

    def _misuse(self, function: str) -> None:
        if self.faults.misused_function is None:
            self.faults.misused_function = function

    def _count_operator(self) -> None:
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise invalid(
                self.parameter, f"The expression contains too many operators; operator count: {self.operators}"
            )

    def _syntax_error(self) -> NoReturn:
        # DynamoDB shows the token that it could not take, and the text from the one before it to the one after it.
        token = self.tokens[self.at]
        before = self.tokens[max(self.at - 1, 0)]
        after = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        shown = END if token.kind == "end" else self.text[token.start : token.end]
        near = self.text[before.start : after.end].rstrip()
        raise invalid(self.parameter, f'Syntax error; token: "{shown}", near: "{near}"')
