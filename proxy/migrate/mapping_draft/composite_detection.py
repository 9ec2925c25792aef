"""Finds composites, attributes that are made of others: `type:id` is `{type}:{id}` in every item.

Pure. A composite is accepted only if it holds for each item of the sample in both directions: the text from the parts,
and the parts from the text. An index's hash attribute must also be missing exactly where a part is missing. Otherwise
the row's columns would put it into an index that does not contain the item in DynamoDB.
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
    """Return the composite of some of `parts` that the attribute is; None if it is not a composite."""
    first = next((item for item in items if "S" in item.get(attribute, {})), None)
    if first is None:
        return None
    for composite in islice(_candidates(attribute, first, parts), _MOST_TRIES):
        if all(_holds_for(composite, attribute, item, indexed=indexed) for item in items):
            return composite
    return None


def _candidates(attribute: str, item: Item, parts: frozenset[str]) -> Iterable[Composite]:
    """Yield the templates that produce the attribute of one item, with the fewest parts first."""
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
        # If all parts are present, the row would be in the index although the item is not.
        return not indexed or not all(part in item for part in composite.parts)
    return rendered is not None and value == {"S": rendered}
