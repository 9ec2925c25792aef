"""The names and values that a request's expressions refer to, checked, and which of them were used.

Source (developer guide): "Expression attribute names (aliases)".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.values import Value, canonical

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
