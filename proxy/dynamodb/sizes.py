"""How many bytes DynamoDB counts for a value and an item, and the limits that are measured in them.

Pages end at 1 MB and items at 400 KB of these bytes, so a store that answers as DynamoDB does must count alike. This
module must not enforce a limit: the operations do, each with its own message.

Source: "DynamoDB item sizes and formats" (developer guide). For numbers that page is an approximation only ("1 byte per
two significant digits plus 1 byte"); the rule here is the one that published measurements against the 400 KB limit give
to the byte: digits before and after the point are paired separately, and a minus sign costs a byte.
"""

import re
from typing import Any

from proxy.dynamodb.values import Item, Value, canonical_number

MAX_ITEM_SIZE = 400 * 1024
MAX_PAGE_SIZE = 1024 * 1024
MAX_HASH_KEY_SIZE = 2048
MAX_RANGE_KEY_SIZE = 1024

_WHOLE = re.compile("[1-9][0-9]{0,37}").fullmatch

_CONTAINER = 3
_ELEMENT = 1


def item_size(item: Item) -> int:
    """Bytes of an item: its attribute names in UTF-8, and their values."""
    size = 0
    for name, value in item.items():
        [(tag, content)] = value.items()
        size += len(name) if name.isascii() else len(name.encode())
        # Most attributes are short strings; every item of a page comes through here.
        size += len(content) if tag == "S" and content.isascii() else _content_size(tag, content)
    return size


def value_size(value: Value) -> int:
    """Bytes of one valid value, without its name."""
    [(tag, content)] = value.items()
    return _content_size(tag, content)


def number_size(text: str) -> int:
    """Bytes of a Number: 1, one for each two significant digits on either side of the point, one for a minus."""
    if _WHOLE(text):
        return 1 + (len(text.rstrip("0")) + 1) // 2
    plain = canonical_number(text)
    if plain == "0":
        return 1
    sign = plain[0] == "-"
    whole, _, fraction = plain.lstrip("-").partition(".")
    if whole == "0":
        whole, fraction = "", fraction.lstrip("0")
    elif not fraction:
        whole = whole.rstrip("0")
    return 1 + (len(whole) + 1) // 2 + (len(fraction) + 1) // 2 + sign


def _content_size(tag: str, content: Any) -> int:
    if tag == "S":
        return len(content) if content.isascii() else len(content.encode())
    if tag == "N":
        return number_size(content)
    if tag in ("BOOL", "NULL"):
        return 1
    if tag == "M":
        return _CONTAINER + len(content) * _ELEMENT + item_size(content)
    if tag == "L":
        return _CONTAINER + len(content) * _ELEMENT + sum(map(value_size, content))
    if tag == "B":
        return _binary_size(content)
    if tag == "SS":
        return sum(len(each.encode()) for each in content)
    if tag == "NS":
        return sum(map(number_size, content))
    return sum(map(_binary_size, content))


def _binary_size(text: str) -> int:
    return len(text) // 4 * 3 - text.count("=", -2) if text else 0
