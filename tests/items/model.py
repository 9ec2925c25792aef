"""The catalogue told as plainly as can be: a dict of items as the API shows them, and a few lines of filters."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import ge, le
from typing import Any

ATTRIBUTES = {"MOVED_AT": "movedAt", "ADDED_AT": "addedAt", "TITLE": "title", "RATING": "rating"}
# The filter, what it is about, and how that stands to it.
_BOUNDS = (
    ("startDate", "movedAt", ge),
    ("endDate", "movedAt", le),
    ("minRating", "rating", ge),
    ("maxRating", "rating", le),
)


@dataclass
class Model:
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add(self, item: dict[str, Any]) -> None:
        self.items[item["type"], item["id"]] = item

    def page(self, kinds: tuple[str, ...], given: dict[str, Any]) -> list[dict[str, Any]]:
        """All of a question's items, in its order."""
        search = given.get("search", "").casefold()
        found = [item for item in self.items.values() if item["type"] in kinds and search in item["title"].casefold()]
        if "shelf" in given:
            found = [item for item in found if item["shelf"] == given["shelf"]]
        for name, attribute, sign in _BOUNDS:
            if name in given:
                bound = _value(attribute, given[name])
                found = [
                    each for each in found if attribute in each and sign(_value(attribute, each[attribute]), bound)
                ]
        order = given.get("sortBy", "MOVED_AT")
        attribute = ATTRIBUTES[order]
        there = [item for item in found if attribute in item]
        nowhere = [item for item in found if attribute not in item]
        there.sort(key=lambda item: (_value(attribute, item[attribute]), _key(item)), reverse=order != "TITLE")
        nowhere.sort(key=_key, reverse=order != "TITLE")
        return there + nowhere


def _value(attribute: str, shown: Any) -> Any:
    if attribute == "rating":
        return Decimal(str(shown))
    return shown if attribute == "title" else datetime.fromisoformat(shown)


def _key(item: dict[str, Any]) -> str:
    return f"{item['type']}:{item['id']}"
