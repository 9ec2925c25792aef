"""From a patch to DynamoDB's update expression. Pure.

What is given whole is set or removed. Of a map only the members that were given change (RFC 7396, JSON Merge Patch):
they are addressed by their paths, under the condition that the maps they lie in are still maps, or still are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.dynamodb.values import Item, Value
from proxy.items.item_validation import KEY, Patch, check_merged
from proxy.items.json_values import value_of


@dataclass(slots=True)
class _Expressions:
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    sets: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)

    def name(self, name: str) -> str:
        mark = self._known.setdefault(name, f"#n{len(self._known)}")
        self.names[mark] = name
        return mark

    def value(self, value: Value) -> str:
        mark = f":v{len(self.values)}"
        self.values[mark] = value
        return mark

    def set(self, path: str, value: Value) -> None:
        self.sets.append(f"{path} = {self.value(value)}")


def update_of(kind: str, patch: Patch, held: Item) -> dict[str, Any]:
    """The expressions of an UpdateItem for a patch of an item that was read as `held`. Raises Refusal where a map that
    is put together breaks a rule."""
    made = _Expressions()
    made.conditions.append(f"attribute_exists({made.name(KEY)})")
    for name, value in patch.set.items():
        made.set(made.name(name), value)
    made.removes.extend(made.name(name) for name in patch.removed)
    for name, given in patch.merged.items():
        check_merged(kind, name, _merged(held.get(name), given))
        _merge(made, made.name(name), held.get(name), given)
    clauses = [f"{word} {', '.join(terms)}" for word, terms in (("SET", made.sets), ("REMOVE", made.removes)) if terms]
    request: dict[str, Any] = {"ConditionExpression": " AND ".join(made.conditions)}
    if clauses:
        request["UpdateExpression"] = " ".join(clauses)
    request["ExpressionAttributeNames"] = made.names
    return request | ({"ExpressionAttributeValues": made.values} if made.values else {})


def _merge(made: _Expressions, path: str, held: Value | None, given: Mapping[str, Any]) -> None:
    a_map = _map_mark(made)
    if held is None or "M" not in held:
        made.conditions.append(f"NOT attribute_type({path}, {a_map})")
        made.set(path, _merged(None, given))
        return
    made.conditions.append(f"attribute_type({path}, {a_map})")
    for name, plain in given.items():
        inside = f"{path}.{made.name(name)}"
        if plain is None:
            made.removes.append(inside)
        elif isinstance(plain, dict):
            _merge(made, inside, held["M"].get(name), plain)
        else:
            made.set(inside, value_of(plain))


def _map_mark(made: _Expressions) -> str:
    made.values.setdefault(":map", {"S": "M"})
    return ":map"


def _merged(held: Value | None, given: Mapping[str, Any]) -> Value:
    """What becomes of a map, or of what is none."""
    members: dict[str, Value] = dict(held["M"]) if held is not None and "M" in held else {}
    for name, plain in given.items():
        if plain is None:
            members.pop(name, None)
        elif isinstance(plain, dict):
            members[name] = _merged(members.get(name), plain)
        else:
            members[name] = value_of(plain)
    return {"M": members}
