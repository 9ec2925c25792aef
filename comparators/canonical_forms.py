"""Canonical forms of values: equal exactly if two spellings are one value. Numbers by value, binary by bytes, sets
without order.

This arithmetic is deliberately not shared with `proxy`, whose results the comparators judge. Malformed text (no number,
no base64) is kept as text: a store that answers nonsense must show as a difference, not as an exception.
"""

import base64
import binascii
import re
from decimal import Context, Decimal
from typing import Any

from comparators.difference import Value

_DOUBLE_DIGITS = 15  # every decimal with at most this many digits survives an IEEE 754 double
_MAX_LENGTH = 300  # DynamoDB's numbers span 10^-130 … 10^126 with 38 digits: no spelling of one is longer
_EXACT = Context(prec=2 * _MAX_LENGTH, Emax=10_000, Emin=-10_000)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


def parse_number(text: str) -> Decimal | None:
    """Return exactly the number that a text spells; None if it spells none, or one far beyond DynamoDB's range."""
    if len(text) > _MAX_LENGTH or not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    return value if abs(value.adjusted()) <= _MAX_LENGTH else None


def parse_binary(text: str) -> bytes | None:
    """Return the bytes that a base64 text spells (RFC 4648 §4), with or without padding; None if it is no base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def number_form(text: str) -> Decimal | str:
    """Return a form that is equal for two texts exactly if they spell the same number."""
    value = parse_number(text)
    return text if value is None else value


def binary_form(text: str) -> bytes | str:
    """Return a form that is equal for two texts exactly if they spell the same bytes."""
    value = parse_binary(text)
    return text if value is None else value


def _text_form(text: str) -> str:
    return text


MEMBER_FORMS = {"SS": _text_form, "NS": number_form, "BS": binary_form}
"""Set type → the canonical form of its members."""


def canonical_form(value: Value, null_is_missing: bool = False) -> tuple[str, Any]:
    """Return a hashable form that is equal for two values exactly if they are equal, however they are spelt.

    With `null_is_missing`, a map entry that is NULL counts as absent, at any depth.
    """
    ((tag, held),) = value.items()
    if tag == "N":
        return tag, number_form(held)
    if tag == "B":
        return tag, binary_form(held)
    if tag == "L":
        return tag, tuple(canonical_form(element, null_is_missing) for element in held)
    if tag == "M":
        return tag, frozenset(
            (name, canonical_form(entry, null_is_missing))
            for name, entry in held.items()
            if not (null_is_missing and "NULL" in entry)
        )
    if tag in MEMBER_FORMS:
        return tag, frozenset(map(MEMBER_FORMS[tag], held))
    return tag, held


def sort_form(value: Value) -> tuple[str, Any]:
    """Return a form that sorts as DynamoDB sorts key values: numbers by value, strings by UTF-8 bytes, binary by bytes.

    Source: "Query" in the DynamoDB developer guide. Values of different types, which no index mixes, sort by their
    tags.
    """
    ((tag, held),) = value.items()
    if tag == "N" and (exact := parse_number(held)) is not None:
        return tag, exact
    if tag == "B" and (raw := parse_binary(held)) is not None:
        return tag, raw
    return f"{tag}?" if tag in "NB" else tag, str(held).encode("utf-8", "surrogatepass")


def is_precision_loss(one: Decimal, other: Decimal) -> bool:
    """Return whether two unequal numbers differ only by digits that one of them lost, whichever it is.

    That is so if
    - the one with fewer decimal places is the other, truncated or rounded (half up or half to even) at its last place,
      the units being the coarsest place: 8.5 against 8 or 9, 0.333 against 0.33, but never 15 against 10;
    - or the one with fewer significant digits has at least 15 and is the other, truncated or rounded to as many;
    - or both are the same IEEE 754 double.
    """
    first, second = one.normalize(_EXACT), other.normalize(_EXACT)
    if first and second:
        if first.is_signed() != second.is_signed():
            return False
        if float(first) == float(second):
            return True
    short, long = (first, second) if _exponent(first) >= _exponent(second) else (second, first)
    # If the shorter is truncated, the longer exceeds it by less than one unit in its last place; if it is rounded up,
    # the longer falls short of it by at most half a unit.
    excess = _EXACT.subtract(long.copy_abs(), short.copy_abs())
    place = _exponent(short)
    if place > 0 and len(short.as_tuple().digits) < _DOUBLE_DIGITS:
        place = 0
    return Decimal((1, (5,), place - 1)) <= excess < Decimal((0, (1,), place))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a finite number")
    return exponent


def canonical_bytes(value: Value) -> bytes:
    """Return bytes that are the same for two values exactly if they are equal, however they are spelt; for hashing.

    Every part is preceded by its length, so that different values never give the same bytes.
    """
    ((tag, held),) = value.items()
    if tag == "N":
        return _length_prefixed(tag, _number_bytes(held))
    if tag == "B":
        return _length_prefixed(tag, _binary_bytes(held))
    if tag == "L":
        return _length_prefixed(tag, *map(canonical_bytes, held))
    if tag == "M":
        return _length_prefixed(tag, *(_length_prefixed(name, canonical_bytes(held[name])) for name in sorted(held)))
    if tag == "NS":
        return _length_prefixed(tag, *sorted(set(map(_number_bytes, held))))
    if tag == "BS":
        return _length_prefixed(tag, *sorted(set(map(_binary_bytes, held))))
    if tag == "SS":
        return _length_prefixed(tag, *sorted({_text_bytes(text) for text in held}))
    return _length_prefixed(tag, _text_bytes(str(held)))


def _text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _number_bytes(text: str) -> bytes:
    value = parse_number(text)
    if value is None:
        return b"?" + _text_bytes(text)
    return str(value.normalize(_EXACT) if value else Decimal(0)).encode()


def _binary_bytes(text: str) -> bytes:
    value = parse_binary(text)
    return b"?" + _text_bytes(text) if value is None else b"!" + value


def _length_prefixed(name: str, *parts: bytes) -> bytes:
    head = _text_bytes(name)
    return b"".join(len(part).to_bytes(4, "big") + part for part in (head, *parts))
