"""From what a client gives to an item's attributes, and back: fields by their declared forms, the others as they are.

Raises `Refusal` with every rule that is broken, not the first alone. Pure, but for the id and the time it is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from proxy.dynamodb.values import Item, Value
from proxy.items.errors import RuleViolation, invalid
from proxy.items.json_values import (
    InvalidJSONValueError,
    name_of,
    number_of,
    shown,
    shown_time,
    text_of,
    time_of,
    value_of,
)
from proxy.items.type_definitions import CATEGORY_OF, DECIMALS, KINDS, MOST_PIXELS, ONLY, Field, FieldType, fields_of

KEY: Final = "type:id"
ON_SHELF: Final = "type:shelf"
# Made of others, here: nobody gives them.
_MADE: Final = frozenset({KEY, ON_SHELF})
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SIZE: Final = Field("size", FieldType.WHOLE, "", 0, MOST_PIXELS)
_TYPES: Final = f"one of {', '.join(KINDS)}"


@dataclass(frozen=True, slots=True)
class Patch:
    """What a client wants changed: whole values, attributes to go, and maps of which only a part is given."""

    set: Item
    removed: tuple[str, ...]
    merged: Mapping[str, Mapping[str, Any]]


def kind_of(name: Any) -> str:
    """Raises Refusal for what is no type."""
    if not isinstance(name, str) or name not in KINDS:
        raise invalid(RuleViolation("type", _TYPES))
    return name


def key_of(kind: str, item_id: str) -> Item:
    try:
        if not 0 < len(item_id) <= 255:
            raise InvalidJSONValueError("1 to 255 characters")
        return {KEY: {"S": f"{kind}:{text_of(item_id)}"}}
    except InvalidJSONValueError as unfit:
        raise invalid(RuleViolation("id", str(unfit))) from None


def validate_new(given: Any, new_id: Callable[[], str], now: Callable[[], Value]) -> Item:
    """A new item. Raises Refusal."""
    if not isinstance(given, dict):
        raise invalid(RuleViolation("", "an object"))
    kind = kind_of(given.get("type"))
    broken: list[RuleViolation] = []
    # A field that is null is one that was not given; what is made here, or of other types, is refused all the same.
    named = {n: v for n, v in given.items() if n != "type" and (v is not None or _refused(kind, n))}
    item = _attributes(kind, named, broken)
    item_id = given.get("id")
    if item_id is not None and (not isinstance(item_id, str) or _UUID.fullmatch(item_id) is None):
        broken.append(RuleViolation("id", "a UUID"))
    broken.extend(
        RuleViolation(field.name, "must be given")
        for field in fields_of(kind).values()
        if field.given and given.get(field.name) is None
    )
    if broken:
        raise invalid(*broken)
    item.setdefault("id", {"S": new_id()})
    item.setdefault("addedAt", now())
    item.setdefault("movedAt", now())
    item["type"] = {"S": kind}
    item[KEY] = {"S": f"{kind}:{item['id']['S']}"}
    item[ON_SHELF] = {"S": f"{kind}:{item['shelf']['S']}"}
    if kind in CATEGORY_OF:
        item["category"] = {"S": CATEGORY_OF[kind]}
    return item


def validate_patch(kind: str, item_id: str, given: Any, now: Callable[[], Value]) -> Patch:
    """What is to change of an item: `null` takes a field away, an object changes only what it names. Raises Refusal."""
    if not isinstance(given, dict):
        raise invalid(RuleViolation("", "an object"))
    broken: list[RuleViolation] = []
    fields = fields_of(kind)
    for name, fixed in (("type", kind), ("id", item_id)):
        if name in given and given[name] != fixed:
            broken.append(RuleViolation(name, "cannot be changed"))
    rest = {name: value for name, value in given.items() if name not in ("type", "id")}
    removed = tuple(name for name, value in rest.items() if value is None)
    for name in removed:
        field = fields.get(name)
        if field is not None and (field.given or field.made):
            broken.append(RuleViolation(name, "cannot be taken away"))
        elif name == "category" or name in _MADE:
            broken.append(RuleViolation(name, "is made of other fields"))
        else:
            _check(broken, name, name_of, name)
    merged = {name: value for name, value in rest.items() if isinstance(value, dict) and _merges(fields.get(name))}
    for name, value in merged.items():
        # What stands in it is checked in full once it is put together with what the item holds.
        _check(broken, name, _free, name, value)
    whole = {name: value for name, value in rest.items() if value is not None and name not in merged}
    item = _attributes(kind, whole, broken)
    if broken:
        raise invalid(*broken)
    if "shelf" in item:
        item[ON_SHELF] = {"S": f"{kind}:{item['shelf']['S']}"}
        item.setdefault("movedAt", now())
    return Patch(item, removed, merged)


def check_merged(kind: str, name: str, value: Value) -> None:
    """Raises Refusal where a map, as it will be, breaks a rule."""
    broken: list[RuleViolation] = []
    field = fields_of(kind).get(name)
    if field is not None:
        _attribute(field, shown(value), broken)
    if broken:
        raise invalid(*broken)


def shown_item(item: Item) -> dict[str, Any]:
    """An item as it is told. What stands in a declared field in another form is shown as it stands."""
    kind = item.get("type", {}).get("S", "")
    fields = fields_of(kind) if kind in KINDS else {}
    told: dict[str, Any] = {}
    for name, value in item.items():
        if name in _MADE:
            continue
        field = fields.get(name)
        time = shown_time(value) if field is not None and field.form is FieldType.TIME else None
        told[name] = time if time is not None else shown(value)
    return told


def _refused(kind: str, name: str) -> bool:
    """Whether no item of the type has the field, whatever is in it."""
    return name in _MADE or kind not in ONLY.get(name, (kind,)) or (name == "category" and kind not in CATEGORY_OF)


def _merges(field: Field | None) -> bool:
    return field is None or field.form is FieldType.IMAGE


def _attributes(kind: str, given: Mapping[str, Any], broken: list[RuleViolation]) -> Item:
    fields = fields_of(kind)
    item: Item = {}
    for name, plain in given.items():
        if name in _MADE:
            broken.append(RuleViolation(name, "is made of other fields"))
        elif name == "category":
            if kind not in CATEGORY_OF or plain != CATEGORY_OF[kind]:
                broken.append(RuleViolation(name, f"is {CATEGORY_OF.get(kind, 'none')!r} for a {kind}"))
        elif kind not in ONLY.get(name, (kind,)):
            broken.append(RuleViolation(name, f"only on a {', '.join(sorted(ONLY[name]))}"))
        elif name in fields:
            value = _attribute(fields[name], plain, broken)
            if value is not None:
                item[name] = value
        else:
            value = _check(broken, name, _free, name, plain)
            if value is not None:
                item[name] = value
    return item


def _free(name: str, plain: Any) -> Value:
    """The value of a field that is not declared."""
    name_of(name)
    return value_of(plain)


def _check(broken: list[RuleViolation], name: str, make: Callable[..., Any], *given: Any) -> Any:
    try:
        return make(*given)
    except InvalidJSONValueError as unfit:
        broken.append(RuleViolation(name.encode("utf-8", "replace").decode(), str(unfit)))
        return None


def _attribute(field: Field, plain: Any, broken: list[RuleViolation]) -> Value | None:
    value: Value | None = _check(broken, field.name, _FORMS[field.form], field, plain)
    return value


def _text(field: Field, plain: Any) -> Value:
    if not isinstance(plain, str) or not field.low <= len(plain) <= field.high:
        raise InvalidJSONValueError(f"a text of {field.low} to {field.high} characters")
    return {"S": text_of(plain)}


def _number(field: Field, plain: Any) -> Value:
    rule = f"a number from {field.low} to {field.high}, with at most {DECIMALS} decimals"
    if isinstance(plain, bool) or not isinstance(plain, (int, float, Decimal)):
        raise InvalidJSONValueError(rule)
    number = Decimal(number_of(Decimal(repr(plain)) if isinstance(plain, float) else plain))
    if not field.low <= number <= field.high or number != round(number, DECIMALS):
        raise InvalidJSONValueError(rule)
    return {"N": number_of(number)}


def _whole(field: Field, plain: Any) -> Value:
    rule = f"a whole number from {field.low} to {field.high}"
    if isinstance(plain, bool) or not isinstance(plain, (int, Decimal)) or not field.low <= plain <= field.high:
        raise InvalidJSONValueError(rule)
    if plain != int(plain):
        raise InvalidJSONValueError(rule)
    return {"N": number_of(int(plain))}


def _flag(_: Field, plain: Any) -> Value:
    if not isinstance(plain, bool):
        raise InvalidJSONValueError("true or false")
    return {"BOOL": plain}


def _texts(_: Field, plain: Any) -> Value:
    if not isinstance(plain, list) or not all(isinstance(each, str) for each in plain):
        raise InvalidJSONValueError("a list of texts")
    return {"L": [{"S": text_of(each)} for each in plain]}


def _time(_: Field, plain: Any) -> Value:
    return time_of(plain)


def _image(_: Field, plain: Any) -> Value:
    rule = f"an object with url, a text, and width and height, whole numbers to {MOST_PIXELS}, if any"
    if not isinstance(plain, dict) or not isinstance(plain.get("url"), str) or not plain["url"]:
        raise InvalidJSONValueError(rule)
    for name in ("width", "height"):
        if name in plain:
            _check_size(plain[name], rule)
    return value_of(plain)


def _check_size(plain: Any, rule: str) -> None:
    try:
        _whole(_SIZE, plain)
    except InvalidJSONValueError:
        raise InvalidJSONValueError(rule) from None


_FORMS: Final[Mapping[FieldType, Callable[[Field, Any], Value]]] = {
    FieldType.TEXT: _text,
    FieldType.NUMBER: _number,
    FieldType.WHOLE: _whole,
    FieldType.FLAG: _flag,
    FieldType.TEXTS: _texts,
    FieldType.TIME: _time,
    FieldType.IMAGE: _image,
}
