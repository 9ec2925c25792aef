"""The names and values that a request's expressions refer to, checked, and which of them were used.

Source (developer guide): "Expression attribute names (aliases)".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.dynamodb.errors import DynamoDBError, ValidationFault, validation
from proxy.dynamodb.json_types import refuse
from proxy.dynamodb.sizes import value_size
from proxy.dynamodb.values import Value, canonical

MAX_BYTES: Final = 2 * 1024 * 1024
"""The most that all substitution variables of an expression may come to ("Quotas in Amazon DynamoDB")."""

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
        _check_meant(names)
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
            older = error.older if isinstance(error, ValidationFault) else error.message
            raise ValidationFault(
                error.message, f"ExpressionAttributeValues contains invalid value: {older} for key {key}"
            ) from error
    if sum(map(value_size, bound.values())) > MAX_BYTES:
        raise validation(f"The total size of ExpressionAttributeValues exceeds {MAX_BYTES} bytes")
    return Bindings(names or {}, bound)


def _check_meant(names: Mapping[str, str]) -> None:
    for key, name in names.items():
        if type(name) is not str:
            refuse(name, "String")
        if not name:
            raise validation(f"ExpressionAttributeNames contains invalid value: Empty attribute name for key {key}")


def _check_keys(parameter: str, given: Mapping[str, object], form: Callable[[str], object]) -> None:
    if not given:
        raise validation(f"{parameter} must not be empty")
    for key in given:
        if not form(key):
            raise validation(f'{parameter} contains invalid key: Syntax error; key: "{key}"')
