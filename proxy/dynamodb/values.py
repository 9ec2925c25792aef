"""Attribute values in the form that travels: validity, canonical form, equality and order.

A value stays DynamoDB JSON from the wire to the store (`{"N": "8.5"}`); this module says when two of them are the same,
which comes first, and how DynamoDB would write one back. It must not decode items into Python types (that costs more
than a whole read) and knows neither tables nor keys.

Sources: "Supported data types and naming rules in Amazon DynamoDB" and "Quotas in Amazon DynamoDB" (developer guide),
"AttributeValue" (API reference).
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from typing import Any, TypeAlias

from proxy.dynamodb.errors import DynamoDBError, ValidationFault, serialization, validation
from proxy.dynamodb.json_types import expect_list, expect_texts, refuse

Value: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, Value]

TYPES = ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M")
MAX_DEPTH = 32
MAX_NAME_BYTES = 65535
# A name of this many characters may be too long: one takes four bytes of UTF-8 at most.
_LONG_NAME = MAX_NAME_BYTES // 4
MAX_DIGITS = 38
MAX_MAGNITUDE = 125
MIN_MAGNITUDE = -130

# Text that is already as DynamoDB would give it back, and is too short to break a limit: nearly every number there is.
_PLAIN = re.compile(r"(?:0|-?[1-9][0-9]{0,37}|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18}[1-9])", re.ASCII).fullmatch
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,30}))?", re.ASCII).fullmatch
_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_NOT_BASE64 = re.compile(r"[^a-zA-Z0-9+/=]|=[^=]").search

# Between the largest and the smallest digit that a number can have lie fewer than 300 places: sums are exact.
_EXACT = Context(prec=400)

_INVALID = "One or more parameter values were invalid: "
_NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
_OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
_UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
_TOO_DEEP = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)


class _NameFault(DynamoDBError):
    """A refusal of a name inside a value, which comes after all that is wrong with the item's other values."""


def kind(value: Value) -> str:
    """The type descriptor of a valid value: "S", "N", …"""
    return next(iter(value))


def canonical_number(text: str) -> str:
    """A Number's text as DynamoDB returns it: plain notation, no zeros to spare, "0" for every zero.

    Raises ValidationException for text that is no number, has more than 38 significant digits, or a magnitude outside
    1E-130 … 9.99E+125.
    """
    if _PLAIN(text):
        return text
    match = _NUMBER(text)
    if match is None or not (match[2] or match[3]):
        raise ValidationFault(f"{_NOT_NUMERIC}: {text}", f"{_NOT_NUMERIC}: {text}" if text else _NOT_NUMERIC)
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    if abs(exponent) > _LONG_MAX:
        raise validation(f"{_NOT_NUMERIC}: {text}")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    # The value is `significant` × 10^shift, and its first digit stands for 10^magnitude. A zero is measured by the
    # exponent that it is written with.
    shift = exponent - len(fraction) + len(digits) - len(significant)
    magnitude = shift + len(significant) - 1 if significant else exponent
    if magnitude > MAX_MAGNITUDE:
        # The older layer reads it as Java's BigDecimal, whose exponent wraps round at the end of an int.
        raise ValidationFault(_OVERFLOW, _UNDERFLOW if magnitude == _INT_MAX else _OVERFLOW)
    if magnitude < MIN_MAGNITUDE:
        raise validation(_UNDERFLOW)
    if not significant:
        return "0"
    if len(significant) > MAX_DIGITS:
        raise validation("Attempting to store more than 38 significant digits in a Number")
    if shift >= 0:
        plain = significant + "0" * shift
    elif magnitude >= 0:
        plain = f"{significant[: magnitude + 1]}.{significant[magnitude + 1 :]}"
    else:
        plain = f"0.{'0' * (-magnitude - 1)}{significant}"
    if sign == "-":
        plain = f"-{plain}"
    # The text itself where it was right already, so that callers can see by identity that nothing changed.
    return text if plain == text else plain


def number(text: str) -> Decimal:
    """A Number's text as an exact Decimal. Raises as `canonical_number` does."""
    return Decimal(canonical_number(text))


def add(left: str, right: str) -> str:
    """The exact sum of two Numbers, canonical. Raises ValidationException when DynamoDB could not hold it."""
    return _result(_EXACT.add(number(left), number(right)))


def subtract(left: str, right: str) -> str:
    """The exact difference of two Numbers, canonical. Raises ValidationException when DynamoDB could not hold it."""
    return _result(_EXACT.subtract(number(left), number(right)))


def binary(text: str) -> bytes:
    """The bytes behind a Binary's base64 text. Raises SerializationException where the text is not standard base64."""
    if len(text) % 4:
        raise serialization(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(text)}")
    stray = _NOT_BASE64(text)
    if stray:
        raise serialization(f"Invalid Base64 character: '{stray[0][0]}'")
    try:
        data = b64decode(text)
    except Base64Error:
        data = None
    # DynamoDB refuses text whose unused last bits are set, so each sequence of bytes has one spelling only.
    if data is None or b64encode(data).decode("ascii") != text:
        raise serialization("Invalid last non-pad Base64 character dectected")
    return data


def canonical_item(item: Item) -> Item:
    """The item as DynamoDB would return it: numbers canonical, sets in order.

    Returns `item` itself, not a copy, when nothing needs to change; never changes `item`. Checks every value on the
    way and raises ValidationException or SerializationException with DynamoDB's words. Key attributes are the
    caller's business: an empty string is in order here.
    """
    check_names(item)
    return _canonical_members(item, 1)


def check_names(members: Iterable[str]) -> None:
    """Raises ValidationException for an attribute name that is empty or longer than 64 KB ("Supported data types and
    naming rules"; the words for an empty one are AWS's: dynamodb-conformance, tier 3, deepRequests)."""
    for name in members:
        if not name:
            raise _NameFault("ValidationException", "Empty attribute name")
        if len(name) > _LONG_NAME and len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            too_large = f"Attribute name is too large, must be less than {MAX_NAME_BYTES + 1} bytes"
            raise _NameFault("ValidationException", f"{_INVALID}{too_large}")


def canonical(value: Value, depth: int = 1) -> Value:
    """One value, as `canonical_item` does it. `depth` is the level it stands at: 1 for an attribute of the item."""
    if type(value) is not dict or len(value) != 1:
        return _misshapen(value, depth)
    [(tag, content)] = value.items()
    if tag == "S":
        if type(content) is str:
            return value
        refuse(content, "String")
    if tag == "N":
        if type(content) is str:
            if _PLAIN(content):
                return value
            text = canonical_number(content)
            return value if text is content else {"N": text}
        refuse(content, "String")
    if tag == "BOOL":
        if type(content) is bool:
            return value
        refuse(content, "Boolean")
    if tag == "M":
        return _canonical_map(value, content, depth)
    if tag == "L":
        return _canonical_list(value, content, depth)
    if tag == "NULL":
        if content is True:
            return value
        if content is False:
            # API reference, "AttributeValue", NULL; the message is AWS's (dynamodb-conformance, tier 3, putItem).
            raise validation(f"{_INVALID}Null attribute value types must have the value of true")
        refuse(content, "Boolean")
    if tag == "B":
        if type(content) is str:
            binary(content)
            return value
        refuse(content, "Blob")
    if tag == "SS":
        return _canonical_strings(value, content)
    if tag == "NS":
        return _canonical_numbers(value, content)
    if tag == "BS":
        return _canonical_binaries(value, content)
    return _misshapen(value, depth)


def equal(left: Value, right: Value) -> bool:
    """Whether DynamoDB holds two valid values to be the same: numbers by value, sets as sets, documents deeply."""
    if left == right:
        return True
    tag = kind(left)
    if tag not in right:
        return False
    mine, theirs = left[tag], right[tag]
    if tag == "N":
        return number(mine) == number(theirs)
    if tag == "M":
        return mine.keys() == theirs.keys() and all(equal(value, theirs[name]) for name, value in mine.items())
    if tag == "L":
        return len(mine) == len(theirs) and all(map(equal, mine, theirs))
    if tag in ("SS", "BS"):
        return set(mine) == set(theirs)
    if tag == "NS":
        return set(map(canonical_number, mine)) == set(map(canonical_number, theirs))
    return tag == "NULL"


def sort_key(value: Value) -> str | Decimal | bytes | None:
    """What puts values of one type in DynamoDB's order, or None for a type that has none.

    Strings go by their UTF-8 bytes, which is the order of code points, which is Python's own; numbers by value;
    binaries by unsigned bytes.
    """
    text = value.get("S")
    if text is not None:
        return str(text)
    if "N" in value:
        return number(value["N"])
    if "B" in value:
        return binary(value["B"])
    return None


def order(left: Value, right: Value) -> int | None:
    """-1, 0 or 1 as `left` comes before, with or after `right`; None where DynamoDB does not compare them.

    Only S, N and B have an order, and only within one type.
    """
    if kind(left) != kind(right):
        return None
    mine, theirs = sort_key(left), sort_key(right)
    if mine is None or theirs is None:
        return None
    return (mine > theirs) - (mine < theirs)  # type: ignore[operator]  # one type, as the kinds are the same


def show(value: Value) -> str:
    """A value as DynamoDB writes it inside a message: `{S:abc}`, `{N:5}`."""
    tag = kind(value)
    return f"{{{tag}:{_shown(value[tag])}}}"


def _result(exact: Decimal) -> str:
    # DynamoDB does not round: a result that needs a 39th digit is refused, with the words for an overflow.
    plain = exact.normalize(_EXACT)
    if len(plain.as_tuple().digits) > MAX_DIGITS:
        raise validation(_OVERFLOW)
    return canonical_number(format(plain, "f"))


def _shown(content: Any) -> str:
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, list):
        return f"[{', '.join(show(each) if isinstance(each, dict) else str(each) for each in content)}]"
    if isinstance(content, dict):
        return "{" + ", ".join(f"{name}={show(each)}" for name, each in content.items()) + "}"
    return str(content)


def _canonical_map(value: Value, content: Any, depth: int) -> Value:
    if type(content) is not dict:
        if isinstance(content, list):
            raise serialization(
                "Unrecognized collection type java.util.Map<java.lang.String, "
                "com.amazonaws.dynamodb.v20120810.AttributeValue>"
            )
        raise serialization("Unexpected field type")
    if content and depth >= MAX_DEPTH:
        raise validation(_TOO_DEEP)
    fixed = _canonical_members(content, depth + 1)
    check_names(content)
    return value if fixed is content else {"M": fixed}


def _canonical_members(members: Item, depth: int) -> Item:
    """Named values that all stand at one level; `members` itself where nothing needs to change."""
    fixed: Item | None = None
    late: _NameFault | None = None
    for name, value in members.items():
        # Nearly every one is of these types, and done with without a call.
        if type(value) is dict and len(value) == 1:
            if "S" in value:
                if type(value["S"]) is str:
                    continue
            elif "N" in value:
                content = value["N"]
                if type(content) is str and _PLAIN(content):
                    continue
            elif "BOOL" in value and type(value["BOOL"]) is bool:
                continue
        try:
            better = canonical(value, depth)
        except _NameFault as error:
            late = late or error
            continue
        if better is not value:
            if fixed is None:
                fixed = members.copy()
            fixed[name] = better
    if late is not None:
        raise late
    return members if fixed is None else fixed


def _canonical_list(value: Value, content: Any, depth: int) -> Value:
    expect_list(content)
    if content and depth >= MAX_DEPTH:
        raise validation(_TOO_DEEP)
    fixed: list[Value] | None = None
    for index, member in enumerate(content):
        better = canonical(member, depth + 1)
        if better is not member:
            if fixed is None:
                fixed = content.copy()
            fixed[index] = better
    return value if fixed is None else {"L": fixed}


def _canonical_strings(value: Value, content: Any) -> Value:
    expect_texts(content, "String")
    if not content:
        raise validation(f"{_INVALID}An string set  may not be empty")
    if len(set(content)) != len(content):
        shown = ", ".join(f'"{member}"' for member in _up_to_repeat(content, content))
        raise ValidationFault(
            f"{_INVALID}Input collection [{shown}] contains duplicates.",
            f"{_INVALID}Input collection [{', '.join(content)}] contains duplicates.",
        )
    ordered = sorted(content)
    return value if ordered == content else {"SS": ordered}


def _canonical_numbers(value: Value, content: Any) -> Value:
    expect_texts(content, "String")
    if not content:
        raise validation(f"{_INVALID}An number set  may not be empty")
    texts = [canonical_number(text) for text in content]
    if len(set(texts)) != len(texts):
        older = "Input collection contains duplicates"
        raise ValidationFault(f"{_INVALID}{older}.", older)
    texts.sort(key=Decimal)
    return value if texts == content else {"NS": texts}


def _canonical_binaries(value: Value, content: Any) -> Value:
    expect_texts(content, "Blob")
    if not content:
        raise validation(f"{_INVALID}Binary sets should not be empty")
    ordered = sorted(content, key=binary)
    if len(set(content)) != len(content):
        shown = ",".join(f'"{member}"' for member in _up_to_repeat(content, [binary(member) for member in content]))
        raise ValidationFault(
            f"{_INVALID}Input collection [{shown}]of type BS contains duplicates.",
            f"{_INVALID}Input collection [{', '.join(content)}]of type BS contains duplicates.",
        )
    return value if ordered == content else {"BS": ordered}


def _up_to_repeat(members: list[str], order: Sequence[Any]) -> list[str]:
    """A set's members as the present layer shows them: in order up to the first repeated one, then as they came."""
    seen: set[str] = set()
    for number, member in enumerate(members):
        if member in seen:
            ordered = [each for _, each in sorted(zip(order[:number], members[:number], strict=True))]
            return [*ordered, *members[number:]]
        seen.add(member)
    return members


def _misshapen(value: Any, depth: int) -> Value:
    """A value that is not one known type with its content: DynamoDB drops nulls and unknown names, and looks again."""
    if type(value) is not dict:
        if isinstance(value, list):
            raise serialization("Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue")
        raise serialization("Unexpected value type in payload")
    known = {tag: content for tag, content in value.items() if tag in TYPES and content is not None}
    if not known:
        raise validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    checked = [canonical({tag: content}, depth) for tag, content in known.items()]
    if len(checked) > 1:
        raise validation(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )
    return checked[0]
