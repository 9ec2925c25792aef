"""Attribute values in a JSON column.

Two forms. *Tagged* reads like ordinary JSON (`{"author": "Le Guin", "reread": false}`), so SQL can ask it things, and
loses nothing: what JSON or jsonb cannot say (sets, binary, long numbers, NUL) is an object with one `$` tag. *Plain* is
what a JavaScript application writes with `JSON.stringify`, with its losses, for rehearsing such a plan.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from decimal import Decimal
from typing import Any, Final

from proxy.dynamodb.values import Item, Value, binary, canonical_number

_TAGS: Final = frozenset({"$S", "$N", "$B", "$SS", "$NS", "$BS"})
# A double holds any decimal of 15 significant digits exactly enough to print it back (IEEE 754, DBL_DIG); plain
# notation of at most 17 characters keeps both sides away from exponents.
_SAFE_DIGITS: Final = 15
_SAFE_LENGTH: Final = 17


def tagged(value: Value) -> Any:
    """JSON for an attribute value, such that `untagged` gives the value back."""
    tag, content = next(iter(value.items()))
    if tag == "S":
        return content if "\x00" not in content else {"$S": b64encode(content.encode()).decode()}
    if tag == "N":
        return _tagged_number(content)
    if tag == "BOOL":
        return content
    if tag == "NULL":
        return None
    if tag == "L":
        return [tagged(element) for element in content]
    if tag == "M":
        return tagged_map(content)
    if tag == "SS" and any("\x00" in member for member in content):
        return {"$SS": [tagged({"S": member}) for member in content]}
    return {f"${tag}": content}


def tagged_map(attributes: Item) -> dict[str, Any]:
    json: dict[str, Any] = {}
    plain: Any
    for name, value in attributes.items():
        # What most values are, without a call for each; the rest, and what is odd about these, as `tagged` says.
        if "S" in value and "\x00" not in value["S"]:
            plain = value["S"]
        elif "N" in value and len(value["N"]) <= _SAFE_DIGITS and "." not in value["N"]:
            plain = int(value["N"])
        elif "BOOL" in value:
            plain = value["BOOL"]
        elif "M" in value:
            plain = tagged_map(value["M"])
        else:
            plain = tagged(value)
        json[_tagged_name(name) if "$" in name or "\x00" in name else name] = plain
    return json


def untagged(json: Any) -> Value:
    """The attribute value that `tagged` made this JSON from."""
    if isinstance(json, str):
        return {"S": json}
    if isinstance(json, bool):
        return {"BOOL": json}
    if json is None:
        return {"NULL": True}
    if isinstance(json, int):
        return {"N": str(json)}
    if isinstance(json, float):
        return {"N": canonical_number(repr(json))}
    if isinstance(json, Decimal):
        return {"N": canonical_number(str(json))}
    if isinstance(json, list):
        return {"L": [untagged(element) for element in json]}
    if len(json) == 1:
        name, content = next(iter(json.items()))
        if name in _TAGS:
            return _untagged_special(name, content)
    return {"M": untagged_map(json)}


def untagged_map(json: dict[str, Any]) -> Item:
    return {
        _untagged_name(name) if name[:1] == "$" else name: {"S": value} if type(value) is str else untagged(value)
        for name, value in json.items()
    }


def plain(value: Value) -> Any:
    """What JavaScript's `JSON.stringify` would make of the value as an SDK hands it to an application."""
    tag, content = next(iter(value.items()))
    if tag == "N":
        number = float(content)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if tag == "NULL":
        return None
    if tag == "L":
        return [plain(element) for element in content]
    if tag == "M":
        return {name: plain(inner) for name, inner in content.items()}
    if tag == "NS":
        return [plain({"N": member}) for member in content]
    return content


def unplain(json: Any) -> Value:
    """The attribute value that an SDK makes of plain JSON."""
    if isinstance(json, list):
        return {"L": [unplain(element) for element in json]}
    if isinstance(json, dict):
        return {"M": {name: unplain(value) for name, value in json.items()}}
    return untagged(json)


def _tagged_number(text: str) -> Any:
    if len(text) <= _SAFE_LENGTH:
        if "." not in text:
            if len(text) <= _SAFE_DIGITS:
                return int(text)
        elif len(text.lstrip("-0.")) <= _SAFE_DIGITS:
            number = float(text)
            if canonical_number(repr(number)) == text:
                return number
    return {"$N": text}


def _tagged_name(name: str) -> str:
    if "\x00" in name:
        return "$K" + b64encode(name.encode()).decode()
    return "$" + name if name.startswith("$") else name


def _untagged_name(name: str) -> str:
    if name.startswith("$K"):
        return b64decode(name[2:]).decode()
    return name.removeprefix("$")


def _untagged_special(name: str, content: Any) -> Value:
    """Raises ValueError, TypeError, KeyError or DynamoDBError for what `tagged` has not made: somebody's SQL has."""
    if name == "$S":
        return {"S": b64decode(content, validate=True).decode()}
    if name == "$N":
        return {"N": canonical_number(content)}
    if name == "$B":
        binary(content)
        return {"B": content}
    if not isinstance(content, list) or not content:
        raise ValueError("a set is an array with members")
    if name == "$SS":
        return {"SS": [untagged(member)["S"] for member in content]}
    if name == "$NS":
        return {"NS": [canonical_number(member) for member in content]}
    for member in content:
        binary(member)
    return {"BS": content}
