"""Attribute values as SQL parameters and back: one codec a column type.

`encode` is exact or refuses with `Misfit`; `coerce` does what PostgreSQL and the plan's JavaScript would do with the
value (round, truncate), for rehearsing a plan that is lossy by design. Sources: "Supported data types in Aurora DSQL"
(user guide) for limits; "Character types", "Numeric types" and "UUID type" (PostgreSQL manual) for what is accepted,
cut and rounded; ECMAScript, "TimeClip", for a Date's whole milliseconds.
"""

from __future__ import annotations

import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from proxy.dynamodb.values import Value, binary, canonical_number
from proxy.mapping.interface import Cause

MAX_TEXT_BYTES: Final = 1024 * 1024
MAX_VARCHAR_BYTES: Final = 65_535
MAX_PRECISION: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_DIGITS: Final = 15
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
# 126 digits before the point and as many after it as a column may have: nothing is rounded unless it is meant to be.
# Decimal's own default is 28 digits, fewer than a DynamoDB Number's 38.
_WIDE: Final = Context(prec=MAX_PRECISION + 130)
_SQL_TYPE: Final = re.compile(r"([a-z]+)(?:\((\d+)(?:, *(\d+))?\))?")
_INTEGERS: Final = {"smallint": 15, "integer": 31, "bigint": 63}
# What PostgreSQL reads as a uuid: hyphens after any group of four digits or none, braces around it or none.
_UUID: Final = re.compile(r"(\{)?(?:[0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}(?(1)\})", re.ASCII)

_STANDARD: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ORDERED: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_TO_ORDERED: Final = str.maketrans(_STANDARD, _ORDERED)
# Characters of the standard alphabet that the ordered one lacks become one that no base64 has.
_TO_STANDARD: Final = str.maketrans(_ORDERED + "+/=", _STANDARD + "!!!")


class ValueDoesNotFitError(Exception):
    """The value does not fit the column; the text says why and what to do, `cause` which kind of misfit it is."""

    def __init__(self, reason: str, cause: Cause) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Codec:
    """How one column holds values. `tag` is the DynamoDB type it is made for."""

    sql_type: str
    tag: str
    encode: Callable[[Value], Any]
    coerce: Callable[[Value], Any]
    decode: Callable[[Any], Value]


def codec(sql_type: str, tag: str | None = None) -> Codec:
    """The codec for a column's SQL type, such as `text`, `varchar(50)`, `numeric(6,3)` or `timestamptz`.

    `timestamptz` holds a Number of epoch milliseconds. With the tag `B`, `text` holds binary (`to_ordered_text`), as a
    key must; any other tag is the one that the type holds anyway. Raises ValueError for a type that no codec serves.
    """
    if tag == "B" and sql_type == "text":
        return Codec(sql_type, "B", _ordered_binary, _ordered_binary, _from_ordered_binary)
    found = _codec(sql_type)
    if tag is not None and tag != found.tag:
        raise ValueError(f"{sql_type!r} holds {found.tag}, not {tag}")
    return found


def _codec(sql_type: str) -> Codec:
    match = _SQL_TYPE.fullmatch(sql_type)
    if match is None:
        raise ValueError(f"{sql_type!r} is not a column type; known: {_KNOWN}")
    name, first, second = match.groups()
    if name == "text" and first is None:
        return Codec(sql_type, "S", _text, _text, _from_text)
    if name == "varchar" and first is not None and second is None:
        limit = int(first)
        if not 0 < limit <= MAX_VARCHAR_BYTES:
            raise ValueError(f"{sql_type!r} is out of range: a varchar has 1 to {MAX_VARCHAR_BYTES} characters")
        return Codec(sql_type, "S", _varchar(limit), _varchar_coerced(limit), _from_text)
    if first is not None and name != "numeric":
        raise ValueError(f"{sql_type!r} is not a column type a mapping can use; known: {_KNOWN}")
    if name == "uuid":
        return Codec(sql_type, "S", _uuid, _uuid_coerced, lambda held: {"S": str(held)})
    if name in _INTEGERS:
        bits = _INTEGERS[name]
        return Codec(sql_type, "N", _integer(bits), _integer_coerced(bits), lambda held: {"N": str(held)})
    if name == "numeric" and first is not None:
        precision, scale = int(first), int(second or 0)
        if not 0 < precision <= MAX_PRECISION or scale > precision:
            raise ValueError(f"{sql_type!r} is out of range: 1 to {MAX_PRECISION} digits, and no more of them decimals")
        return Codec(sql_type, "N", _numeric(precision, scale), _numeric_coerced(precision, scale), _from_decimal)
    if name == "boolean":
        return Codec(sql_type, "BOOL", _plain("BOOL"), _plain("BOOL"), lambda held: {"BOOL": held})
    if name == "bytea":
        return Codec(sql_type, "B", _bytes, _bytes, lambda held: {"B": b64encode(held).decode()})
    if name == "timestamptz":
        return Codec(sql_type, "N", _timestamp, _timestamp_coerced, _from_timestamp)
    raise ValueError(f"{sql_type!r} is not a column type a mapping can use; known: {_KNOWN}")


_KNOWN: Final = "text, varchar(n), uuid, smallint, integer, bigint, numeric(p,s), boolean, bytea, timestamptz"


def _content(value: Value, tag: str) -> Any:
    try:
        return value[tag]
    except KeyError:
        raise ValueDoesNotFitError(f"it is of type {next(iter(value))}, the column holds {tag}", Cause.TYPE) from None


def _plain(tag: str) -> Callable[[Value], Any]:
    return lambda value: _content(value, tag)


def _text(value: Value) -> str:
    text: str = value["S"] if "S" in value else _content(value, "S")
    if "\x00" in text:
        raise ValueDoesNotFitError("PostgreSQL text cannot hold the character NUL", Cause.NUL)
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
        raise ValueDoesNotFitError("it is longer than DSQL's 1 MiB for a text", Cause.TEXT)
    return text


def _varchar(limit: int) -> Callable[[Value], Any]:
    def encode(value: Value) -> str:
        text = _text(value)
        if len(text) > limit:
            raise ValueDoesNotFitError(
                f"it has {len(text)} characters, the column holds {limit}: widen the column", Cause.TEXT
            )
        if len(text) > MAX_VARCHAR_BYTES // 4 and len(text.encode()) > MAX_VARCHAR_BYTES:
            raise ValueDoesNotFitError(
                f"it is longer than DSQL's {MAX_VARCHAR_BYTES} bytes for a varchar: use text", Cause.TEXT
            )
        return text

    return encode


def _varchar_coerced(limit: int) -> Callable[[Value], Any]:
    exact = _varchar(limit)

    def coerce(value: Value) -> str:
        text: str = _content(value, "S")
        if text[limit:].strip(" ") == "":
            # The SQL standard wants spaces beyond the limit cut without a word.
            return str(exact({"S": text[:limit]}))
        return str(exact(value))

    return coerce


def _from_text(held: Any) -> Value:
    return {"S": held}


def _uuid(value: Value) -> str:
    text: str = _content(value, "S")
    if text != _parsed_uuid(text):
        raise ValueDoesNotFitError("a uuid column gives it back in lower case: use text", Cause.TEXT)
    return text


def _uuid_coerced(value: Value) -> str:
    return _parsed_uuid(_content(value, "S"))


def _parsed_uuid(text: str) -> str:
    if _UUID.fullmatch(text) is None:
        raise ValueDoesNotFitError("it is not a UUID: use text", Cause.TEXT)
    return str(uuid.UUID(text))


def _decimal(value: Value) -> Decimal:
    return Decimal(_content(value, "N"))


def _integer(bits: int) -> Callable[[Value], int]:
    def encode(value: Value) -> int:
        number = _decimal(value)
        if number != number.to_integral_value():
            raise ValueDoesNotFitError("it has a fraction, the column holds whole numbers: use numeric", Cause.NUMBER)
        return _bounded(int(number), bits)

    return encode


def _integer_coerced(bits: int) -> Callable[[Value], int]:
    def coerce(value: Value) -> int:
        return _bounded(int(_decimal(value).to_integral_value(ROUND_HALF_UP)), bits)

    return coerce


def _bounded(number: int, bits: int) -> int:
    if not -(1 << bits) <= number < (1 << bits):
        raise ValueDoesNotFitError(f"it is out of range for {bits + 1} bits: use numeric", Cause.NUMBER)
    return number


def _numeric(precision: int, scale: int) -> Callable[[Value], Decimal]:
    place = Decimal(1).scaleb(-scale)

    def encode(value: Value) -> Decimal:
        number = _decimal(value)
        rounded = number.quantize(place, None, _WIDE)
        if rounded != number:
            raise ValueDoesNotFitError(
                f"it has more than {scale} decimal places: give the column a larger scale", Cause.NUMBER
            )
        return _whole_part(rounded, precision, scale)

    return encode


def _numeric_coerced(precision: int, scale: int) -> Callable[[Value], Decimal]:
    place = Decimal(1).scaleb(-scale)

    def coerce(value: Value) -> Decimal:
        rounded = _decimal(value).quantize(place, ROUND_HALF_UP, _WIDE)
        return _whole_part(rounded, precision, scale)

    return coerce


def _whole_part(number: Decimal, precision: int, scale: int) -> Decimal:
    if number and number.adjusted() >= precision - scale:
        raise ValueDoesNotFitError(
            f"it has more than {precision - scale} digits before the point: give the column more precision",
            Cause.NUMBER,
        )
    return number


def _from_decimal(held: Any) -> Value:
    text = format(held, "f")
    if "." in text:
        # The column's scale fills a number up with zeros; without them it is canonical already, nearly always.
        text = text.rstrip("0").rstrip(".")
    return {"N": canonical_number(text)}


def _bytes(value: Value) -> bytes:
    return binary(_content(value, "B"))


def to_ordered_text(data: bytes) -> str:
    """Binary as text that sorts as its bytes do, for columns of a key or an index: DSQL takes no bytea there.

    Base64 without padding, in an alphabet that is in byte order, four characters for three bytes. Under the collation
    "C", the only one that DSQL has, the first six bits that differ decide, and a prefix comes first.
    """
    return b64encode(data).decode("ascii").rstrip("=").translate(_TO_ORDERED)


def from_ordered_text(text: str) -> bytes:
    """The bytes of such a text. Raises ValueError for any other text."""
    padding = "=" * (-len(text) % 4)
    data = b64decode(text.translate(_TO_STANDARD) + padding, validate=True)
    if to_ordered_text(data) != text:
        raise ValueError("the text is not what any bytes are written as")
    return data


def _ordered_binary(value: Value) -> str:
    return to_ordered_text(_bytes(value))


def _from_ordered_binary(held: Any) -> Value:
    return {"B": b64encode(from_ordered_text(held)).decode()}


def _timestamp(value: Value) -> datetime:
    text: str = _content(value, "N")
    if len(text) < _PLAIN_DIGITS and text.isdecimal():
        # Nearly every one: whole milliseconds, and none of so few digits is beyond the year 9999. The product is a
        # third of what timedelta(milliseconds=…) costs, which takes its arguments for floats.
        return _EPOCH + int(text) * _MILLISECOND
    microseconds = _WIDE.multiply(_decimal(value), 1000)
    if microseconds != microseconds.to_integral_value():
        raise ValueDoesNotFitError("it is finer than a microsecond: use numeric", Cause.NUMBER)
    return _instant(microseconds)


def _timestamp_coerced(value: Value) -> datetime:
    return _instant(_WIDE.multiply(_decimal(value).to_integral_value(ROUND_DOWN), 1000))


def _instant(microseconds: Decimal) -> datetime:
    # The first and the last instant that Python knows are what asyncpg sends as -infinity and infinity.
    if not _FIRST < microseconds < _LAST:
        raise ValueDoesNotFitError(
            "it is no epoch time in milliseconds within the years 1 to 9999: use numeric", Cause.NUMBER
        )
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _from_timestamp(held: Any) -> Value:
    if held.tzinfo is None:
        # An infinity that somebody else wrote: asyncpg gives it as the first or last instant, without a zone.
        held = held.replace(tzinfo=UTC)
    since = held - _EPOCH
    milliseconds, rest = divmod((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, 1000)
    if rest == 0:
        return {"N": str(milliseconds)}
    return {"N": canonical_number(format(Decimal(milliseconds) + Decimal(rest).scaleb(-3), "f"))}


def operand(codec: Codec) -> Callable[[Value], Any]:
    """Encodes an operand for SQL; None where it has no exact counterpart, so the caller must do without the bound."""

    def encode(value: Value) -> Any:
        try:
            return codec.encode(value)
        except ValueDoesNotFitError:
            return None

    return encode
