"""The expressions of a request: each text to a tree of plain values that holds the request's names and values.

What is wrong without a look at an item is refused here, with DynamoDB's words. The module must not look at items:
`evaluate` does.
"""

from proxy.dynamodb.expressions.ast import Condition, Projection, Update
from proxy.dynamodb.expressions.binder import Binder
from proxy.dynamodb.expressions.parameters import Parameter
from proxy.dynamodb.expressions.parser import parse
from proxy.dynamodb.expressions.placeholders import Bindings


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
    parsed = parse("UpdateExpression", text)
    given.used_names |= parsed.names
    given.used_values |= parsed.values
    tree = parsed.tree
    assert isinstance(tree, Update)
    return Binder("UpdateExpression", given).update(tree)


def parse_projection(text: str, given: Bindings) -> Projection:
    """A ProjectionExpression, bound."""
    parsed = parse("ProjectionExpression", text)
    given.used_names |= parsed.names
    tree = parsed.tree
    assert isinstance(tree, Projection)
    binder = Binder("ProjectionExpression", given)
    paths = tuple(binder.path(path) for path in tree.paths)
    binder.check_disjoint(paths)
    return Projection(paths)


def _bound_condition(parameter: Parameter, text: str, given: Bindings) -> Condition:
    parsed = parse(parameter, text)
    given.used_names |= parsed.names
    given.used_values |= parsed.values
    tree = parsed.tree
    assert not isinstance(tree, Update | Projection)
    return Binder(parameter, given).condition(tree)
