"""What a bound expression says about one item: does it match, what does it become, which parts of it are asked for.

Pure functions of a tree and an item in wire form. No item that is handed in is ever changed: an update copies the maps
and lists along the paths it touches and shares all the rest. Keys, sizes and what a table allows are the caller's.

Sources (developer guide): "Condition and filter expressions, operators, and functions", "Using update expressions",
"Using projection expressions". Where those pages are silent (a missing attribute, a type that a comparison does not
know), the rules are those which public test suites have observed on the service.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from proxy.dynamodb.errors import validation
from proxy.dynamodb.expressions.ast import (
    Add,
    And,
    Arithmetic,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    Delete,
    FunctionCall,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Placeholder,
    Projection,
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.values import (
    Item,
    Value,
    add,
    binary,
    canonical,
    canonical_number,
    equal,
    kind,
    order,
    subtract,
)

_INVALID_PATH = "The document path provided in the update expression is invalid for update"
_MISSING = "The provided expression refers to an attribute that does not exist in the item"
_WRONG_TYPE = "An operand in the update expression has an incorrect data type"
_LEGACY_WRONG_TYPE = "Type mismatch for attribute to update"

# --- conditions -------------------------------------------------------------------------------------------------------


def matches(condition: Condition, item: Mapping[str, Value]) -> bool:
    """Whether the item meets the condition; an item that does not exist is the empty one.

    An operand that is missing, or of a type that the operator does not take, makes a comparison or a function false;
    only `<>` is then true. NOT turns any of this round.
    """
    if isinstance(condition, ComparisonCondition):
        return _compares(condition, item)
    # Plain loops: `all` and `any` would cost a generator, and two frames of the stack, for each level.
    if isinstance(condition, And):
        for term in condition.terms:  # noqa: SIM110
            if not matches(term, item):
                return False
        return True
    if isinstance(condition, FunctionCall):
        return _holds(condition, item)
    if isinstance(condition, Or):
        for term in condition.terms:  # noqa: SIM110
            if matches(term, item):
                return True
        return False
    if isinstance(condition, Not):
        return not matches(condition.term, item)
    value = _value(condition.operand, item)
    if value is None:
        return False
    if isinstance(condition, BetweenCondition):
        low, high = _value(condition.low, item), _value(condition.high, item)
        return low is not None and high is not None and order(value, low) in (0, 1) and order(value, high) in (0, -1)
    for operand in condition.options:
        option = _value(operand, item)
        if option is not None and equal(value, option):
            return True
    return False


def lookup(path: Path, item: Mapping[str, Value]) -> Value | None:
    """The value at a path, or None where the item holds none."""
    parts = path.parts
    value = item.get(parts[0])  # type: ignore[arg-type]  # a path starts with a name
    for part in parts[1:]:
        if value is None:
            return None
        if type(part) is int:
            elements = value.get("L")
            value = elements[part] if elements is not None and part < len(elements) else None
        else:
            members = value.get("M")
            value = None if members is None else members.get(part)
    return value


def _compares(condition: ComparisonCondition, item: Mapping[str, Value]) -> bool:
    left, right = _value(condition.left, item), _value(condition.right, item)
    operator = condition.operator
    if left is None or right is None:
        return operator == "<>"
    if operator == "=":
        return equal(left, right)
    if operator == "<>":
        return not equal(left, right)
    compared = order(left, right)
    if compared is None:
        return False
    if operator == "<":
        return compared < 0
    if operator == "<=":
        return compared <= 0
    if operator == ">":
        return compared > 0
    return compared >= 0


def _holds(call: FunctionCall, item: Mapping[str, Value]) -> bool:
    function = call.function
    first = _value(call.operands[0], item)
    if function == "attribute_exists":
        return first is not None
    if function == "attribute_not_exists":
        return first is None
    second = _value(call.operands[1], item)
    if first is None or second is None:
        return False
    if function == "attribute_type":
        return bool(kind(first) == second["S"])
    if function == "begins_with":
        return _begins_with(first, second)
    return _contains(first, second)


def _begins_with(value: Value, start: Value) -> bool:
    if "S" in value and "S" in start:
        return bool(value["S"].startswith(start["S"]))
    if "B" in value and "B" in start:
        return binary(value["B"]).startswith(binary(start["B"]))
    return False


def _contains(value: Value, wanted: Value) -> bool:
    """A substring of a string or a binary, a member of a set, an element of a list."""
    tag, sought = kind(value), kind(wanted)
    if tag == "L":
        return any(equal(element, wanted) for element in value["L"])
    if tag == "S":
        return sought == "S" and wanted["S"] in value["S"]
    if tag == "B":
        return sought == "B" and binary(wanted["B"]) in binary(value["B"])
    if tag == "NS":
        return sought == "N" and canonical_number(wanted["N"]) in map(canonical_number, value["NS"])
    if tag in ("SS", "BS"):
        return sought == tag[0] and wanted[sought] in value[tag]
    return False


def _value(operand: Operand, item: Mapping[str, Value]) -> Value | None:
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, Path):
        return lookup(operand, item)
    assert not isinstance(operand, Placeholder), "the tree is not bound"
    measured = _value(operand.operands[0], item)
    return None if measured is None else _size(measured)


def _size(value: Value) -> Value | None:
    """`size`: a string's length in UTF-16 code units, a binary's in bytes, the number of members of all else."""
    tag = kind(value)
    content = value[tag]
    if tag == "S":
        return {"N": str(len(content) if content.isascii() else len(content.encode("utf-16-le")) // 2)}
    if tag == "B":
        return {"N": str(len(binary(content)))}
    return {"N": str(len(content))} if tag in ("SS", "NS", "BS", "L", "M") else None


# --- updates ----------------------------------------------------------------------------------------------------------

_Change: TypeAlias = Set | Remove | Add | Delete
_Edits: TypeAlias = "dict[str | int, _Change | _Edits]"


def update(expression: Update, item: Item, *, exists: bool = True) -> tuple[Item, tuple[Path, ...]]:
    """The item after the update, and the paths that the expression names, in its order.

    `item` holds at least the key, and nothing else when there is no such item yet: say so with `exists=False`, since
    DynamoDB lets REMOVE of a nested path pass then. Every operand is read from `item` as it was, and indexes mean its
    elements, so the order of the actions does not matter.

    Raises ValidationException with DynamoDB's words for an operand that is missing or of the wrong type, a path whose
    parent is not there, a number out of range, or a result nested too deeply.
    """
    wrong_type = _LEGACY_WRONG_TYPE if expression.legacy else _WRONG_TYPE
    edits: _Edits = {}
    for action in expression.actions:
        parts = action.path.parts
        if isinstance(action, Set):
            value = _assigned(action.value, item, wrong_type)
            if len(parts) > 1:
                # A value may be moved deeper into the document than it was.
                value = canonical(value, depth=len(parts))
            action = Set(action.path, Literal(value))
        elif isinstance(action, Remove) and not exists and len(parts) > 1:
            continue
        node = edits
        for part in parts[:-1]:
            node = node.setdefault(part, {})  # type: ignore[assignment]  # paths are disjoint: no action lies between
        node[parts[-1]] = action
    return _edited_members(item, edits, wrong_type), tuple(action.path for action in expression.actions)


def creates(expression: Update) -> bool:
    """Whether the update makes an item where there was none: one that only takes away (REMOVE, DELETE) does not.

    An update without any action does make one, of the key alone.
    """
    return not expression.actions or any(isinstance(action, Set | Add) for action in expression.actions)


def _assigned(value: Operand | Arithmetic, item: Item, wrong_type: str) -> Value:
    """What SET assigns. A missing operand is an error here, unlike in a condition."""
    if isinstance(value, Literal):
        return value.value
    if isinstance(value, Arithmetic):
        left = _assigned(value.left, item, wrong_type)
        right = _assigned(value.right, item, wrong_type)
        if "N" not in left or "N" not in right:
            raise validation(wrong_type)
        return {"N": (add if value.operator == "+" else subtract)(left["N"], right["N"])}
    if isinstance(value, Path):
        found = lookup(value, item)
        if found is None:
            raise validation(_MISSING)
        return found
    assert isinstance(value, FunctionCall), "the tree is not bound"
    first, second = value.operands
    if value.function == "if_not_exists":
        assert isinstance(first, Path)
        found = lookup(first, item)
        return _assigned(second, item, wrong_type) if found is None else found
    head, tail = _assigned(first, item, wrong_type), _assigned(second, item, wrong_type)
    if "L" not in head or "L" not in tail:
        raise validation(wrong_type)
    return {"L": head["L"] + tail["L"]}


def _edited_members(members: dict[str, Value], edits: _Edits, wrong_type: str) -> dict[str, Value]:
    new = members.copy()
    for name, edit in edits.items():
        if type(name) is not str:
            raise validation(_INVALID_PATH)
        value = _edited(members.get(name), edit, wrong_type)
        if value is not None:
            new[name] = value
        else:
            new.pop(name, None)
    return new


def _edited_elements(elements: list[Value], edits: _Edits, wrong_type: str) -> list[Value]:
    new: list[Value | None] = list(elements)
    appended: list[Value] = []
    # Elements past the end are appended in the order of their indexes, whatever the order of the actions.
    for index in sorted(edits, key=_as_index):
        position = _as_index(index)
        value = _edited(elements[position] if position < len(elements) else None, edits[index], wrong_type)
        if position < len(elements):
            new[position] = value
        elif value is not None:
            appended.append(value)
    return [element for element in new if element is not None] + appended


def _as_index(part: str | int) -> int:
    if type(part) is not int:
        raise validation(_INVALID_PATH)
    return part


def _edited(old: Value | None, edit: "_Change | _Edits", wrong_type: str) -> Value | None:
    """The value that stands in `old`'s place, or None for nothing."""
    if isinstance(edit, dict):
        if old is not None and "M" in old:
            return {"M": _edited_members(old["M"], edit, wrong_type)}
        if old is not None and "L" in old:
            return {"L": _edited_elements(old["L"], edit, wrong_type)}
        raise validation(_INVALID_PATH)
    if isinstance(edit, Remove):
        return None
    assert isinstance(edit.value, Literal)
    value = edit.value.value
    if isinstance(edit, Set):
        return value
    tag = kind(value)
    if old is None:
        return value if isinstance(edit, Add) else None
    if tag not in old:
        raise validation(wrong_type)
    if tag == "N":
        return {"N": add(old["N"], value["N"])}
    held, given = canonical(old)[tag], value[tag]
    if isinstance(edit, Add):
        return canonical({tag: list({*held, *given})})
    left = [member for member in held if member not in given]
    return {tag: left} if left else None


# --- projections ------------------------------------------------------------------------------------------------------

_Wanted: TypeAlias = "dict[str | int, _Wanted | None]"


def project(asked: Projection | Iterable[Path], item: Mapping[str, Value]) -> Item:
    """The parts of the item that the paths lead to, in the shape of the item.

    Elements of a list keep their order and close up; a path that leads to nothing leaves nothing behind, not even the
    map or list it would have been in. The paths must be disjoint, as those of a parsed expression are.
    """
    paths = asked.paths if isinstance(asked, Projection) else tuple(asked)
    return _projected_members(item, _wanted(paths))


@lru_cache(maxsize=1024)
def _wanted(paths: tuple[Path, ...]) -> _Wanted:
    """The paths as a tree; None stands for all there is. Kept, since one projection meets every item of a page."""
    tree: _Wanted = {}
    for path in paths:
        node = tree
        for part in path.parts[:-1]:
            node = node.setdefault(part, {})  # type: ignore[assignment]  # disjoint: no leaf lies between
        node[path.parts[-1]] = None
    return tree


def _projected_members(members: Mapping[str, Value], wanted: _Wanted) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, deeper in wanted.items():
        value = members.get(name)  # type: ignore[arg-type]  # an index names no member
        if value is not None and deeper is not None:
            value = _projected(value, deeper)
        if value is not None:
            found[name] = value  # type: ignore[index]
    return found


def _projected(value: Value, wanted: _Wanted) -> Value | None:
    found: Any
    if "M" in value:
        found = _projected_members(value["M"], wanted)
        return {"M": found} if found else None
    if "L" not in value:
        return None
    elements = value["L"]
    found = []
    for index in sorted(part for part in wanted if type(part) is int):
        if index < len(elements):
            deeper = wanted[index]
            element = elements[index] if deeper is None else _projected(elements[index], deeper)
            if element is not None:
                found.append(element)
    return {"L": found} if found else None
