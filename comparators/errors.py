"""Compares two errors of one operation: codes exactly, messages only by their meaning.

Whether an error is worth a retry, or is the store's own fault, is for the caller to decide.
"""

import re
from collections.abc import Sequence
from typing import Any

from comparators import paths
from comparators.difference import Difference, Document, Kind, Value
from comparators.items import compare_items
from comparators.pairing import key_of
from comparators.rules import ItemRules
from comparators.shapes import ItemShape

_PARTICULAR = re.compile(
    r"""
      (?<!\w)'[^']*'(?!\w) | "[^"]*" | `[^`]*`          # quoted text
    | arn:[^\s,;)]+                                     # an ARN
    | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}       # a request id
    | (?<![\w.])[\#:][\w.:-]+                           # a placeholder of an expression
    | (?<![\w.])[+-]?[0-9]+(?:[.,][0-9]+)*(?:e[+-]?[0-9]+)?\b  # a number
    """,
    re.VERBOSE | re.IGNORECASE,
)
# DynamoDB puts a refusal of a request's form into this envelope or not, by operation and region.
_ENVELOPE = "1 validation error detected: "
_BRACKETED = re.compile(r"\[[^][]*\]|\{[^}{]*\}")


def code_of(document: Document) -> str:
    """Return the error code: what follows `#` in `__type` and precedes any `:` (AWS JSON 1.0 protocol)."""
    named = document.get("__type") or document.get("code") or ""
    return str(named).rsplit("#", 1)[-1].split(":", 1)[0]


def message_of(document: Document) -> str:
    """Return the message, which some services spell `Message`."""
    return str(document.get("message") or document.get("Message") or "")


def message_class(message: str) -> str:
    """Return a message without the particulars of its request. Two messages agree if the results are equal.

    In this order: DynamoDB's envelope for one validation error is dropped; text in quotes, ARNs, UUIDs, placeholders
    (`#n`, `:v`) and numbers become `_`; so does text in square brackets or braces, innermost first; runs of blanks
    become one blank; letter case and a trailing period, semicolon or blank are dropped. Unquoted attribute names stay:
    a message that names another key has another meaning.
    """
    text = _PARTICULAR.sub("_", message.removeprefix(_ENVELOPE))
    while (shorter := _BRACKETED.sub("_", text)) != text:
        text = shorter
    return " ".join(text.split()).casefold().rstrip(".; ")


def compare_errors(
    authority: Document, mirror: Document, shapes: Sequence[ItemShape] = (), *, messages: bool = True
) -> tuple[Difference, ...]:
    """Compare two error documents.

    `shapes` are the shapes of the operation's items, in order, for the items that errors show. If the codes are equal,
    the messages are compared by `message_class` (only with `messages`), the `Item` of a failed condition by its rules,
    and `CancellationReasons` position by position in the same way ("TransactWriteItems").
    """
    found = _errors("", authority, mirror, shapes)
    return tuple(found if messages else (each for each in found if each.kind is not Kind.ERROR_MESSAGE))


def _errors(path: str, authority: Document, mirror: Document, shapes: Sequence[ItemShape]) -> list[Difference]:
    prefix = f"{path}." if path else ""
    member = f"{prefix}Code" if path else "__type"
    code, other_code = (_reason_code(error) if path else code_of(error) for error in (authority, mirror))
    if code != other_code:
        return [Difference(member, "", Kind.ERROR_CODE, _text(code), _text(other_code))]
    found: list[Difference] = []
    message, other_message = message_of(authority), message_of(mirror)
    reasons, other_reasons = authority.get("CancellationReasons"), mirror.get("CancellationReasons")
    if message_class(message) != message_class(other_message):
        member = f"{prefix}Message" if path else "message"
        found.append(Difference(member, "", Kind.ERROR_MESSAGE, _text(message), _text(other_message)))
    item, other_item = authority.get("Item"), mirror.get("Item")
    shown = item or other_item or {}
    shape = shapes[0] if shapes else None
    found += compare_items(
        item,
        other_item,
        shape.rules(shown) if shape else ItemRules(),
        within=f"{prefix}Item",
        key=key_of(shown, shape.key) if shape else None,
    )
    for index in range(max(len(reasons or ()), len(other_reasons or ()))):
        at = paths.element("CancellationReasons", index)
        reason, other = _at(reasons, index), _at(other_reasons, index)
        if reason is None:
            found.append(Difference(at, "", Kind.EXTRA, None, _text(_reason_code(other or {}))))
        elif other is None:
            found.append(Difference(at, "", Kind.MISSING, _text(_reason_code(reason)), None))
        else:
            found += _errors(at, reason, other, shapes[index : index + 1])
    return found


def _at(reasons: Any, index: int) -> Document | None:
    return reasons[index] if reasons is not None and index < len(reasons) else None


def _reason_code(reason: Document) -> str:
    return str(reason.get("Code") or "None")


def _text(text: str) -> Value:
    return {"S": text}
