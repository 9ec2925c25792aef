"""What a PartiQL statement says, as plain records over the trees of `proxy.dynamodb.expressions`. Knows no text.

Source (developer guide): "PartiQL reference for DynamoDB".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from proxy.dynamodb.expressions.ast import Condition, Path
from proxy.dynamodb.expressions.ast import Update as UpdateActions
from proxy.dynamodb.values import Item


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term of ORDER BY."""

    name: str
    ascending: bool


@dataclass(frozen=True, slots=True)
class SelectStatement:
    """`columns` is None for `*`; a column is named by the last name of its path."""

    table: str
    index: str | None
    columns: tuple[Path, ...] | None
    where: Condition | None
    order: tuple[OrderTerm, ...]


@dataclass(frozen=True, slots=True)
class InsertStatement:
    """INSERT INTO table VALUE item."""

    table: str
    item: Item


@dataclass(frozen=True, slots=True)
class UpdateStatement:
    """`returning` is a ReturnValues of UpdateItem, or None."""

    table: str
    actions: UpdateActions
    where: Condition | None
    returning: str | None


@dataclass(frozen=True, slots=True)
class DeleteStatement:
    """`returning` is ALL_OLD or None."""

    table: str
    where: Condition | None
    returning: str | None


@dataclass(frozen=True, slots=True)
class ExistsStatement:
    """EXISTS(SELECT …), a condition of a transaction."""

    select: SelectStatement

    @property
    def table(self) -> str:
        return self.select.table


WriteStatement: TypeAlias = InsertStatement | UpdateStatement | DeleteStatement
Statement: TypeAlias = SelectStatement | WriteStatement | ExistsStatement
