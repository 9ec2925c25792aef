"""References between the items of one table: an attribute that holds another item's id.

DynamoDB knows no references and DSQL's could not be kept while rows arrive in any order (rows are converged one by
one), so they are declared for those who check a whole table: preflight and verify. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dynamodb.values import Item


@dataclass(frozen=True, slots=True)
class Reference:
    """`attribute` holds the `to` of an item of the type `item_type` ("" for an item of any type)."""

    attribute: str
    to: str
    item_type: str = ""

    def pointed_to(self, item: Item) -> str | None:
        """What the item refers to; None where it refers to nothing (the attribute is missing or no text)."""
        return _text(item, self.attribute)

    def stands_for(self, item: Item, item_type: str) -> str | None:
        """What others refer to this item by; None if it is not one that can be referred to."""
        return _text(item, self.to) if self.item_type in ("", item_type) else None


def _text(item: Item, attribute: str) -> str | None:
    value = item.get(attribute, {})
    text = value.get("S", value.get("N"))
    return text if isinstance(text, str) else None
