"""JSON and DynamoDB's values, one to the other. Pure.

Numbers keep every digit: they come in as Decimal and go out as they are written. Times are RFC 3339 outside and epoch
milliseconds inside, with a fraction where they are finer. Sets and binaries, which JSON has not, are shown as lists and
base64 text; no value that comes in becomes one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.values import Item, Value, canonical_number

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DEEPEST: Final = 20
_TOO_DEEP: Final = f"at most {_DEEPEST} levels of lists and objects"
_LONGEST_NAME: Final = 255


class InvalidJSONValueError(ValueError):
    """A JSON value that no attribute can have; the text is the rule that it breaks."""


def parsed(body: bytes) -> Any:
    """JSON, with all digits of its numbers. Raises Unfit."""
    try:
        # orjson refuses what is no JSON, however deep it is, and drops digits; Python's own keeps them.
        if _deeper(orjson.loads(body), _DEEPEST + 2):
            raise InvalidJSONValueError(_TOO_DEEP)
        return json.loads(body, parse_float=Decimal)
    except orjson.JSONDecodeError as error:
        raise InvalidJSONValueError(f"JSON in UTF-8 ({error})") from None
    except ValueError as error:
        raise InvalidJSONValueError(
            _TOO_DEEP if isinstance(error, InvalidJSONValueError) else "numbers of at most 38 digits"
        ) from None


def written(document: Any) -> bytes:
    return orjson.dumps(document, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def value_of(plain: Any, depth: int = 0) -> Value:
    """A JSON value of any form as an attribute's. Raises Unfit."""
    if depth > _DEEPEST:
        raise InvalidJSONValueError(_TOO_DEEP)
    match plain:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": plain}
        case str():
            return {"S": text_of(plain)}
        case int() | Decimal():
            return {"N": number_of(plain)}
        case float():
            return {"N": number_of(Decimal(repr(plain)))}
        case list():
            return {"L": [value_of(each, depth + 1) for each in plain]}
        case dict():
            return {"M": {name_of(name): value_of(each, depth + 1) for name, each in plain.items()}}
    raise InvalidJSONValueError("a JSON value")


def text_of(plain: str) -> str:
    """Raises Unfit for what UTF-8 or PostgreSQL has no place for."""
    if "\x00" in plain:
        raise InvalidJSONValueError("no character NUL")
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise InvalidJSONValueError("whole Unicode characters") from None
    return plain


def name_of(plain: str) -> str:
    if not 0 < len(plain) <= _LONGEST_NAME:
        raise InvalidJSONValueError("names of 1 to 255 characters")
    return text_of(plain)


def number_of(plain: int | Decimal) -> str:
    """Canonical. Raises Unfit for more than DynamoDB's 38 digits, or out of its range."""
    try:
        return canonical_number(str(plain))
    except (DynamoDBError, ValueError):
        raise InvalidJSONValueError("a number of at most 38 digits, from 1e-130 to 1e126") from None


def time_of(text: Any) -> Value:
    """A time in RFC 3339, with its offset. Raises Unfit."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) and "T" in text.upper() else None
        since = (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND if moment is not None and moment.tzinfo else None
    except (ValueError, OverflowError):
        since = None
    if since is None:
        raise InvalidJSONValueError("a time as in 2024-05-01T12:00:00Z")
    return {"N": canonical_number(format(Decimal(since).scaleb(-3), "f"))}


def shown_time(value: Value) -> str | None:
    """RFC 3339 in UTC; None for what is no time."""
    try:
        moment = _EPOCH + timedelta(microseconds=int(Decimal(value["N"]).scaleb(3)))
    except (KeyError, ArithmeticError, ValueError):
        return None
    exact = "milliseconds" if moment.microsecond % 1000 == 0 else "microseconds"
    return moment.isoformat(timespec=exact).replace("+00:00", "Z")


def shown(value: Value) -> Any:
    """An attribute's value as JSON; numbers as Decimal."""
    tag, held = next(iter(value.items()))
    match tag:
        case "NULL":
            return None
        case "N":
            return Decimal(held)
        case "NS":
            return [Decimal(each) for each in held]
        case "L":
            return [shown(each) for each in held]
        case "M":
            return {name: shown(each) for name, each in held.items()}
    return held


def text_in(item: Item, name: str) -> str:
    """The text of an attribute; "" where it has none."""
    return str(item.get(name, {}).get("S", ""))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    raise TypeError(f"{type(value).__name__} has no JSON")


def _deeper(plain: Any, levels: int) -> bool:
    """Whether it has more levels of lists and objects."""
    here = [plain]
    for _ in range(levels):
        inside: list[Any] = []
        for each in here:
            if isinstance(each, dict):
                inside.extend(each.values())
            elif isinstance(each, list):
                inside.extend(each)
        if not inside:
            return False
        here = inside
    return True
