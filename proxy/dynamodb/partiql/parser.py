"""Reads the text of a PartiQL statement, with its parameters in place.

Source (developer guide): "PartiQL reference for DynamoDB": SELECT, INSERT, UPDATE, DELETE, and EXISTS in transactions.
What else there is (FROM first, comments, functions in any case), and AWS's words for what is refused:
dynamodb-conformance, tiers 2 and 3, partiql.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.expressions.ast import (
    UPDATE_FUNCTIONS,
    Action,
    Add,
    Arithmetic,
    Condition,
    Delete,
    FunctionCall,
    Literal,
    Operand,
    Path,
    Remove,
    Set,
    Update,
    condition_paths,
    value_paths,
)
from proxy.dynamodb.expressions.binder import Binder
from proxy.dynamodb.expressions.placeholders import Bindings
from proxy.dynamodb.partiql.conditions_parser import ConditionsParser
from proxy.dynamodb.partiql.statements import (
    DeleteStatement,
    ExistsStatement,
    InsertStatement,
    OrderTerm,
    SelectStatement,
    Statement,
    UpdateStatement,
)
from proxy.dynamodb.partiql.tokens import malformed
from proxy.dynamodb.partiql.values_parser import ValuesParser

_SET_FUNCTIONS: Final = ("SET_ADD", "SET_DELETE")
_SETS: Final = frozenset({"SS", "NS", "BS"})
_AFTER_TABLE: Final = ("WHERE", "ORDER", "SET", "REMOVE", "RETURNING", "VALUE")


def parse_statement(statement: str, parameters: Sequence[Any] = ()) -> Statement:
    """Raises ValidationException for what is no statement, or one that no table could make valid."""
    parser = _Parser(statement, parameters)
    found = parser.statement()
    parser.tokens.expect_end()
    return found


class _Parser:
    def __init__(self, statement: str, parameters: Sequence[Any]) -> None:
        self.tokens = ValuesParser(statement, parameters)
        self._conditions = ConditionsParser(self.tokens)

    def statement(self) -> Statement:
        word = self.tokens.take_word("SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "EXISTS")
        if word == "SELECT":
            return self._select()
        if word == "INSERT":
            return self._insert()
        if word == "UPDATE":
            table = self._table()
            actions = self._actions()
            return _update(table, actions, self._where(), self._returning())
        if word == "FROM":
            table = self._table()
            where = self._where()
            return _update(table, self._actions(), where, self._returning())
        if word == "DELETE":
            self.tokens.expect_word("FROM")
            table = self._table()
            where, returning = self._where(), self._returning()
            if returning not in (None, "ALL_OLD"):
                clause = _RETURNING_WORDS[returning or ""]
                raise validation(
                    f"Invalid returning clause: RETURNING {clause} *. "
                    "Only RETURNING ALL OLD * is allowed in DELETE statements."
                )
            return DeleteStatement(table, where, returning)
        if word == "EXISTS":
            self.tokens.expect_mark("(")
            self.tokens.expect_word("SELECT")
            select = self._select()
            self.tokens.expect_mark(")")
            return ExistsStatement(select)
        raise malformed("Expected data manipulation")

    def _select(self) -> SelectStatement:
        columns = self._columns()
        self.tokens.expect_word("FROM")
        table, index = self._source()
        where = self._where()
        order: list[OrderTerm] = []
        if self.tokens.take_word("ORDER") is not None:
            self.tokens.expect_word("BY")
            order.append(self._order_term())
            while self.tokens.take_mark(",") is not None:
                order.append(self._order_term())
        return SelectStatement(table, index, columns, where, tuple(order))

    def _columns(self) -> tuple[Path, ...] | None:
        if self.tokens.take_mark("*") is not None:
            return None
        columns = [self._column()]
        while self.tokens.take_mark(",") is not None:
            columns.append(self._column())
        return tuple(columns)

    def _column(self) -> Path:
        token = self.tokens.token
        if token.kind == "name" and self.tokens.ahead().is_mark("("):
            raise validation(f"Unexpected path component at {token.place}")
        path = self.tokens.path()
        if self.tokens.token.is_word("AS"):
            raise validation("Aliasing is not supported")
        return path

    def _order_term(self) -> OrderTerm:
        name = self.tokens.name()
        return OrderTerm(name, self.tokens.take_word("ASC", "DESC") != "DESC")

    def _insert(self) -> InsertStatement:
        self.tokens.expect_word("INTO")
        table, index = self._source(alias=False)
        if index is not None:
            raise validation("An INSERT names a table, and no index")
        if not self.tokens.token.is_word("VALUE"):
            raise malformed(
                "Unexpected term" if self.tokens.token.kind == "end" else "Unexpected token after expression"
            )
        self.tokens.take()
        return InsertStatement(table, self.tokens.item())

    def _table(self) -> str:
        table, index = self._source()
        if index is not None:
            raise validation("A statement that writes names a table, and no index")
        return table

    def _source(self, *, alias: bool = True) -> tuple[str, str | None]:
        """A table, and perhaps an index of it."""
        names = [self.tokens.name()]
        while self.tokens.take_mark(".") is not None:
            names.append(self.tokens.name())
        if len(names) > 2:
            raise validation("A path may contain at most 2 components in the FROM clause")
        token = self.tokens.token
        if alias and (token.kind == "quoted" or (token.kind == "name" and not token.is_word(*_AFTER_TABLE))):
            raise validation("Aliasing is not supported")
        return names[0], names[1] if len(names) > 1 else None

    def _where(self) -> Condition | None:
        if self.tokens.take_word("WHERE") is None:
            return None
        return _checked(self._conditions.condition())

    def _returning(self) -> str | None:
        if self.tokens.take_word("RETURNING") is None:
            return None
        which = self.tokens.expect_word("ALL", "MODIFIED")
        age = self.tokens.expect_word("OLD", "NEW")
        self.tokens.expect_mark("*")
        return f"{'ALL' if which == 'ALL' else 'UPDATED'}_{age}"

    def _actions(self) -> Update:
        actions: list[Action] = []
        while (word := self.tokens.take_word("SET", "REMOVE")) is not None:
            actions.append(self._action(word))
            while self.tokens.take_mark(",") is not None:
                actions.append(self._action(word))
        if not actions:
            raise malformed("Unexpected term" if self.tokens.token.kind == "end" else "Unexpected token")
        return _checked_update(Update(tuple(actions)))

    def _action(self, word: str) -> Action:
        path = self.tokens.path()
        if word == "REMOVE":
            return Remove(path)
        self.tokens.expect_mark("=")
        token = self.tokens.token
        if token.is_word(*_SET_FUNCTIONS) and self.tokens.ahead().is_mark("("):
            return self._set_function(path)
        left = self._set_operand()
        sign = self.tokens.take_mark("+", "-")
        return Set(path, left if sign is None else Arithmetic(sign, left, self._set_operand()))

    def _set_operand(self) -> Operand:
        tokens = self.tokens
        if tokens.begins_value():
            return Literal(tokens.value())
        if tokens.token.kind == "name" and tokens.ahead().is_mark("("):
            name = tokens.take()
            function = name.text.lower()
            if function not in UPDATE_FUNCTIONS:
                raise validation(f"Unrecognized function: {function} at {name.place}")
            return FunctionCall(function, tuple(self._arguments()))
        return tokens.path()

    def _arguments(self) -> list[Operand]:
        self.tokens.expect_mark("(")
        found: list[Operand] = []
        if self.tokens.take_mark(")") is not None:
            return found
        while True:
            found.append(self._set_operand())
            if self.tokens.take_mark(",") is None:
                self.tokens.expect_mark(")")
                return found

    def _set_function(self, path: Path) -> Action:
        name = self.tokens.take()
        function = name.text.upper()
        first_place = self.tokens.ahead().place
        arguments = self._arguments()
        if len(arguments) != 2:
            raise validation(f"{function} must have exactly two arguments at {name.place}")
        if arguments[0] != path:
            raise validation(f"The first argument to {function} must equal the assignment value at {name.place}")
        operand = arguments[1]
        if not isinstance(operand, Literal) or not _SETS & operand.value.keys():
            raise validation(f"The second argument to {function} must be a value with type SET at {first_place}")
        return Add(path, operand) if function == "SET_ADD" else Delete(path, operand)


_RETURNING_WORDS: Final = {
    "ALL_OLD": "ALL OLD",
    "ALL_NEW": "ALL NEW",
    "UPDATED_OLD": "MODIFIED OLD",
    "UPDATED_NEW": "MODIFIED NEW",
}


def _update(table: str, actions: Update, where: Condition | None, returning: str | None) -> UpdateStatement:
    return UpdateStatement(table, actions, where, returning)


def _checked(condition: Condition) -> Condition:
    """The checks that an expression's values are put to, without the words for where an expression stands."""
    binder = Binder("FilterExpression", Bindings(_own_names(condition_paths(condition)), {}))
    try:
        return binder.condition(condition)
    except DynamoDBError as error:
        raise _without_prefix(error) from error


def _checked_update(update: Update) -> Update:
    paths = [action.path for action in update.actions]
    for action in update.actions:
        if not isinstance(action, Remove):
            paths.extend(value_paths(action.value))
    try:
        return Binder("UpdateExpression", Bindings(_own_names(paths), {})).update(update)
    except DynamoDBError as error:
        raise _without_prefix(error) from error


def _own_names(paths: Any) -> dict[str, str]:
    """A name that looks like an expression's alias stands for itself."""
    return {part: part for path in paths for part in path.parts if isinstance(part, str) and part.startswith("#")}


def _without_prefix(error: DynamoDBError) -> DynamoDBError:
    prefix, found, reason = error.message.partition("Expression: ")
    return validation(reason) if found and prefix.startswith("Invalid ") else error
