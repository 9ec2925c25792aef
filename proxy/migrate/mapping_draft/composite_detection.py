"""Finds attributes that are made of others: `type:id` in every item is `{type}:{id}`.

Pure. A composite is taken only if it holds for each item of the sample, both ways: the text from the parts, and the
parts from the text. For an index's hash attribute it must also be missing exactly where a part is: a row whose columns
would put it into an index that DynamoDB has the item not in cannot be held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, product
from typing import Final

from proxy.dynamodb.values import Item
from proxy.mapping.composites import Composite

_SEPARATORS: Final = ("::", "#", ":", "|", "/", "~", "_", "-", ".", ",", ";")
_MOST_PARTS: Final = 4
_MOST_TRIES: Final = 64


def find_composite(attribute: str, items: Sequence[Item], *, indexed: bool, parts: frozenset[str]) -> Composite | None:
    """The composite that the attribute is, of attributes among `parts`; None if it is none."""
    first = next((item for item in items if "S" in item.get(attribute, {})), None)
    if first is None:
        return None
    for composite in islice(_candidates(attribute, first, parts), _MOST_TRIES):
        if all(_holds_for(composite, attribute, item, indexed=indexed) for item in items):
            return composite
    return None


def _candidates(attribute: str, item: Item, parts: frozenset[str]) -> Iterable[Composite]:
    """Templates that make the attribute of one item: those with the fewest parts first."""
    text = item[attribute]["S"]
    by_text: dict[str, list[str]] = {}
    for name in sorted(parts & item.keys()):
        value = item[name].get("S", item[name].get("N"))
        if name != attribute and isinstance(value, str):
            by_text.setdefault(value, []).append(name)
    for count in range(2, _MOST_PARTS + 1):
        for separator in _SEPARATORS:
            texts = text.split(separator, count - 1)
            if len(texts) < count or not all(each in by_text for each in texts):
                continue
            for names in product(*(by_text[each] for each in texts)):
                if len(set(names)) == count and not any("{" in name or "}" in name for name in names):
                    yield Composite.from_template(separator.join(f"{{{name}}}" for name in names))


def _holds_for(composite: Composite, attribute: str, item: Item, *, indexed: bool) -> bool:
    value = item.get(attribute)
    rendered = composite.render(item)
    if value is None:
        # With all parts there that do not render, the columns would still hold the row.
        return not indexed or not all(part in item for part in composite.parts)
    return rendered is not None and value == {"S": rendered}
