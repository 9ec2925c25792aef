"""The kept differences as people read them: grouped by operation and item, with both sides in words.

Pure. Redacted values stay redacted: nothing here can restore them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from proxy import formatting as words
from proxy.admin.console.texts import KINDS, scope_name


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """A path at which the stores differ, and both sides in words: the authority's, the mirror's."""

    path: str
    kind: str
    verdict: str
    sides: tuple[words.Shown, words.Shown]


@dataclass(frozen=True, slots=True)
class MismatchView:
    """The differences that one operation found at one item."""

    id: str
    at: float
    table: str
    item_type: str
    scope: str
    operation: str
    verdict: str
    key: str
    request_id: str
    differences: tuple[DifferenceView, ...]


def group_mismatches(kept: Sequence[Mapping[str, Any]]) -> list[MismatchView]:
    """Group the differences by operation and item."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in kept:
        groups.setdefault((each["request_id"], words.key(each["key"]), each["operation"]), []).append(each)
    found = []
    for (request_id, key, operation), differences in groups.items():
        first = differences[0]
        verdicts = {each["verdict"] for each in differences}
        item_type = first["type"] if first["type"] != "*" else ""
        found.append(
            MismatchView(
                id=blake2b(f"{request_id} {key} {operation}".encode(), digest_size=8).hexdigest(),
                at=first["at"],
                table=first["table"],
                item_type=item_type,
                scope=scope_name(first["table"], item_type),
                operation=operation,
                verdict="mismatch" if "mismatch" in verdicts else str(first["verdict"]),
                key=key,
                request_id=request_id,
                differences=tuple(
                    DifferenceView(
                        path=each["path"] or "(the whole item)",
                        kind=KINDS.get(each["kind"], each["kind"]),
                        verdict=each["verdict"],
                        sides=words.sides(each["authority"], each["mirror"]),
                    )
                    for each in reversed(differences)
                ),
            )
        )
    return found
