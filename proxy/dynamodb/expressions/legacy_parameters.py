"""The parameters that DynamoDB had before expressions, turned into the same trees.

Old clients still send them, and DynamoDB still answers; after this module nothing else needs to know. It must not
evaluate anything, and it takes for granted that the request's JSON has the parameters' shapes.

Source: "Legacy DynamoDB conditional parameters" (developer guide) and the pages under it: AttributesToGet,
AttributeUpdates, ConditionalOperator, Expected, KeyConditions, QueryFilter, ScanFilter.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from proxy.dynamodb.errors import DynamoDBError, ValidationFault, validation
from proxy.dynamodb.expressions.ast import (
    Action,
    Add,
    And,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    Delete,
    FunctionCall,
    In,
    Literal,
    Not,
    Or,
    Path,
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.expressions.key_conditions import KeyTerms
from proxy.dynamodb.values import Value, canonical, kind, order

_INVALID = "One or more parameter values were invalid: "

# Both kinds of parameters, over all operations, in the order in which DynamoDB lists them when it refuses a mixture.
_EXPRESSIONS = (
    "UpdateExpression",
    "ConditionExpression",
    "ProjectionExpression",
    "FilterExpression",
    "KeyConditionExpression",
)
_OLDER = (
    "AttributeUpdates",
    "Expected",
    "AttributesToGet",
    "QueryFilter",
    "ScanFilter",
    "ConditionalOperator",
    "KeyConditions",
)

_OPERATORS = (
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
)
_ACTIONS = ("ADD", "PUT", "DELETE")
_COMPARATORS = {"EQ": "=", "NE": "<>", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_KEY_OPERATORS = {"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "BETWEEN": "BETWEEN"} | {
    "BEGINS_WITH": "begins_with"
}
_SCALARS = frozenset("SNB")
_VALID_TYPES = {
    **dict.fromkeys(("LT", "LE", "GT", "GE", "BETWEEN", "IN", "CONTAINS", "NOT_CONTAINS"), _SCALARS),
    "BEGINS_WITH": frozenset("SB"),
}
_ADDABLE = frozenset(("N", "SS", "NS", "BS", "L"))
_SETS = frozenset(("SS", "NS", "BS"))


def refuse_mixture(request: Mapping[str, Any], expressions: Container[str]) -> None:
    """Refuse a request in which expressions stand beside the older parameters.

    `expressions`: those expression parameters that the operation takes and the request has. Raises ValidationException.
    """
    given = [name for name in _EXPRESSIONS if name in expressions]
    if not given:
        return
    # KeyConditions may go with a filter expression: only a KeyConditionExpression shuts them out.
    mixed = [
        name
        for name in _OLDER
        if request.get(name) is not None and (name != "KeyConditions" or "KeyConditionExpression" in given)
    ]
    if mixed:
        raise validation(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(mixed)}}} Expression parameters: {{{', '.join(given)}}}"
        )


def refuse_idle_bindings(request: Mapping[str, Any], accepted: Container[str]) -> None:
    """Refuse names or values that come without any expression to use them.

    `accepted`: every expression parameter that the operation takes. Raises ValidationException.
    """
    takes = [name for name in _EXPRESSIONS if name in accepted]
    if request.get("ExpressionAttributeNames") is not None and all(request.get(name) is None for name in takes):
        raise validation("ExpressionAttributeNames can only be specified when using expressions")
    valued = [name for name in takes if name != "ProjectionExpression"]
    if (
        valued
        and request.get("ExpressionAttributeValues") is not None
        and all(request.get(name) is None for name in valued)
    ):
        verb = "are" if len(valued) > 1 else "is"
        present = "ExpressionAttributeValues can only be specified when using expressions"
        raise ValidationFault(present, f"{present}: {' and '.join(valued)} {verb} null")


def condition_from_expected(expected: Mapping[str, Any] | None, operator: str | None = None) -> Condition | None:
    """Expected and ConditionalOperator as a condition; None when nothing is expected. Raises ValidationException."""
    conditions = [_expectation(name, entry) for name, entry in (expected or {}).items()]
    _check_conditional_operator(len(conditions), operator)
    return _combined(conditions, operator) if conditions else None


def condition_from_filter(
    conditions: Mapping[str, Any] | None, operator: str | None = None, *, parameter: str = "scanFilter"
) -> Condition | None:
    """QueryFilter or ScanFilter with ConditionalOperator as a condition; None when there is none.

    `parameter` is the parameter's name as DynamoDB spells it in messages. Raises ValidationException.
    """
    filters = [_filtered(name, entry, parameter) for name, entry in (conditions or {}).items()]
    _check_conditional_operator(len(filters), operator)
    return _combined(filters, operator) if filters else None


def key_terms_from_conditions(conditions: Mapping[str, Any]) -> KeyTerms:
    """KeyConditions as the conditions on a key, by attribute name. Raises ValidationException."""
    found: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for name, entry in conditions.items():
        comparison, values = _entry(name, entry, "keyConditions")
        if comparison not in _KEY_OPERATORS:
            raise validation("Attempted conditional constraint is not an indexable operation")
        found[name] = (_KEY_OPERATORS[comparison], tuple(values))
    return found


def update_from_attribute_updates(updates: Mapping[str, Any]) -> Update:
    """AttributeUpdates as an update, marked as legacy since DynamoDB words its refusals differently then.

    Unlike an expression's, this ADD takes lists too and puts them at the end of a list. Raises ValidationException.
    """
    return Update(tuple(_action(name, entry) for name, entry in updates.items()), legacy=True)


def paths_from_attributes_to_get(names: Sequence[str]) -> tuple[Path, ...]:
    """AttributesToGet as paths: whole attributes, and a dot in a name is a dot. Raises ValidationException."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise validation(f"{_INVALID}Duplicate value in attribute name: {name}")
        seen.add(name)
    return tuple(Path((name,)) for name in names)


def _check_conditional_operator(conditions: int, operator: str | None) -> None:
    if operator is None or conditions > 1:
        return
    present = "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    if not conditions:
        present = "ConditionalOperator cannot be used without Filter or Expected"
    raise ValidationFault(present, f"{_INVALID}{present}")


def _combined(conditions: list[Condition], operator: str | None) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    return Or(tuple(conditions)) if operator == "OR" else And(tuple(conditions))


def _expectation(name: str, entry: Mapping[str, Any]) -> Condition:
    value, exists, comparison = entry.get("Value"), entry.get("Exists"), entry.get("ComparisonOperator")
    listed = entry.get("AttributeValueList")
    if value is not None and listed is not None:
        raise validation(f"{_INVALID}Value and AttributeValueList cannot be used together for Attribute: {name}")
    if comparison is not None:
        if exists is not None:
            raise validation(f"{_INVALID}Exists and ComparisonOperator cannot be used together for Attribute: {name}")
        if comparison not in ("NULL", "NOT_NULL") and value is None and listed is None:
            raise validation(
                f"{_INVALID}Value or AttributeValueList must be used with ComparisonOperator: {comparison} "
                f"for Attribute: {name}"
            )
        values = listed if value is None else [value]
        return _filtered(name, {"ComparisonOperator": comparison, "AttributeValueList": values}, "expected")
    if listed is not None:
        raise validation(
            f"{_INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )
    path = Path((name,))
    if exists is False:
        if value is not None:
            raise validation(f"{_INVALID}Value cannot be used when Exists is false for Attribute: {name}")
        return FunctionCall("attribute_not_exists", (path,))
    if value is None:
        shown = "null" if exists is None else "true"
        raise validation(f"{_INVALID}Value must be provided when Exists is {shown} for Attribute: {name}")
    return ComparisonCondition("=", path, Literal(canonical(value)))


def _filtered(name: str, entry: Mapping[str, Any], parameter: str) -> Condition:
    comparison, values = _entry(name, entry, parameter)
    path = Path((name,))
    literals = tuple(Literal(value) for value in values)
    if comparison in _COMPARATORS:
        return ComparisonCondition(_COMPARATORS[comparison], path, literals[0])
    if comparison == "NULL":
        return FunctionCall("attribute_not_exists", (path,))
    if comparison == "NOT_NULL":
        return FunctionCall("attribute_exists", (path,))
    if comparison == "BETWEEN":
        return BetweenCondition(path, literals[0], literals[1])
    if comparison == "IN":
        return In(path, literals)
    if comparison == "BEGINS_WITH":
        return FunctionCall("begins_with", (path, literals[0]))
    contains = FunctionCall("contains", (path, literals[0]))
    if comparison == "CONTAINS":
        return contains
    # A missing attribute meets neither CONTAINS nor NOT_CONTAINS (though it does meet NE).
    return And((FunctionCall("attribute_exists", (path,)), Not(contains)))


def _entry(name: str, entry: Mapping[str, Any], parameter: str) -> tuple[str, list[Value]]:
    """The operator and the canonical values of one condition, checked as DynamoDB checks them."""
    comparison = entry.get("ComparisonOperator")
    if comparison not in _OPERATORS:
        raise _not_in_enum(comparison, f"{parameter}.{name}.member.comparisonOperator", _OPERATORS)
    values = [canonical(value) for value in entry.get("AttributeValueList") or ()]
    if not _counts(comparison, len(values)):
        raise validation(f"{_INVALID}Invalid number of argument(s) for the {comparison} ComparisonOperator")
    kinds = [kind(value) for value in values]
    if len(set(kinds)) > 1:
        raise validation(f"{_INVALID}AttributeValues inside AttributeValueList must be of same type")
    valid = _VALID_TYPES.get(comparison)
    if kinds and valid is not None and kinds[0] not in valid:
        raise validation(f"{_INVALID}ComparisonOperator {comparison} is not valid for {kinds[0]} AttributeValue type")
    if comparison == "BETWEEN" and order(values[0], values[1]) == 1:
        raise validation(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
        )
    return comparison, values


def _counts(comparison: str, count: int) -> bool:
    if comparison in ("NULL", "NOT_NULL"):
        return count == 0
    if comparison == "IN":
        return count > 0
    return count == (2 if comparison == "BETWEEN" else 1)


def _action(name: str, entry: Mapping[str, Any]) -> Action:
    action = entry.get("Action")
    if action is None:
        action = "PUT"
    if action not in _ACTIONS:
        raise _not_in_enum(action, f"attributeUpdates.{name}.member.action", _ACTIONS)
    path = Path((name,))
    if entry.get("Value") is None:
        if action != "DELETE":
            raise validation(f"{_INVALID}Only DELETE action is allowed when no attribute value is specified")
        return Remove(path)
    value = canonical(entry["Value"])
    tag = kind(value)
    if action == "PUT":
        return Set(path, Literal(value))
    if action == "DELETE":
        if tag not in _SETS:
            raise validation(f"{_INVALID}DELETE action with value is not supported for the type {tag}")
        return Delete(path, Literal(value))
    if tag not in _ADDABLE:
        raise validation(f"{_INVALID}ADD action is not supported for the type {tag}")
    if tag == "L":
        held = FunctionCall("if_not_exists", (path, Literal({"L": []})))
        return Set(path, FunctionCall("list_append", (held, Literal(value))))
    return Add(path, Literal(value))


def _not_in_enum(found: object, where: str, allowed: Sequence[str]) -> DynamoDBError:
    shown = "null" if found is None else f"'{found}'"
    rule = "Member must not be null" if found is None else f"Member must satisfy enum value set: [{', '.join(allowed)}]"
    return validation(f"1 validation error detected: Value {shown} at '{where}' failed to satisfy constraint: {rule}")
