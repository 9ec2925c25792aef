"""What an expression says, as a tree of plain values, and which paths it names. It knows no text and no item.

Sources (developer guide): "Using expressions in DynamoDB" and the pages under it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from proxy.dynamodb.values import Value

# The sections of an update, and the functions with the number of their operands.
SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")
CONDITION_FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
UPDATE_FUNCTIONS = {"if_not_exists": 2, "list_append": 2}


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
class FunctionCall:
    """A function and its operands. `size`, `if_not_exists` and `list_append` give values, all others conditions."""

    function: str
    operands: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class ComparisonCondition:
    """`left operator right`; the operator is one of = <> < <= > >=."""

    operator: str
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class BetweenCondition:
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


Operand: TypeAlias = Path | Literal | Placeholder | FunctionCall
Condition: TypeAlias = ComparisonCondition | BetweenCondition | In | FunctionCall | And | Or | Not
Action: TypeAlias = Set | Remove | Add | Delete
Tree: TypeAlias = Condition | Update | Projection


def value_paths(value: Operand | Arithmetic) -> Iterator[Path]:
    """The paths in a SET's value, in the order they are written."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Arithmetic):
        yield from value_paths(value.left)
        yield from value_paths(value.right)
    elif isinstance(value, FunctionCall):
        for operand in value.operands:
            yield from value_paths(operand)


def condition_paths(tree: Condition) -> Iterator[Path]:
    """Every path a condition reads, in the order they are written, repeats included."""
    if isinstance(tree, And | Or):
        for term in tree.terms:
            yield from condition_paths(term)
    elif isinstance(tree, Not):
        yield from condition_paths(tree.term)
    elif isinstance(tree, ComparisonCondition):
        yield from value_paths(tree.left)
        yield from value_paths(tree.right)
    elif isinstance(tree, BetweenCondition):
        for operand in (tree.operand, tree.low, tree.high):
            yield from value_paths(operand)
    elif isinstance(tree, In):
        for operand in (tree.operand, *tree.options):
            yield from value_paths(operand)
    else:
        yield from value_paths(tree)


def top_level(paths: Iterable[Path]) -> frozenset[str]:
    """The names of the attributes that the paths start from."""
    return frozenset(str(path.parts[0]) for path in paths)


def joined(junction: type[And] | type[Or], terms: list[Condition]) -> Condition:
    """Conditions under one AND or OR; a single one stays itself."""
    return terms[0] if len(terms) == 1 else junction(tuple(terms))
