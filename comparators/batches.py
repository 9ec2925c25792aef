"""Compares two answers about several items: BatchGetItem, BatchWriteItem, TransactGetItems.

What a batch leaves unprocessed is no difference, for a store may do that at any time ("BatchGetItem",
"BatchWriteItem"): it counts as not compared. Capacity and item collection metrics are ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from comparators import paths
from comparators.comparison import Comparison, ComparisonBuilder
from comparators.difference import Document, Item
from comparators.pairing import key_identity, key_of, pair_items
from comparators.rules import ItemRules
from comparators.shapes import ItemShape, ListShape, TablesShape

_UNKNOWN = ItemShape((), lambda _item: ItemRules())
"""The shape for a table or an action that only an answer mentions: it is compared too, so that it shows as a
difference."""


def compare_batch_gets(authority: Document, mirror: Document, shape: TablesShape) -> Comparison:
    """Compare two answers to one BatchGetItem.

    `uncompared` of the result counts the keys that either answer left in `UnprocessedKeys`.
    """
    builder = ComparisonBuilder()
    found, mirrored = authority.get("Responses") or {}, mirror.get("Responses") or {}
    unprocessed, mirror_unprocessed = authority.get("UnprocessedKeys") or {}, mirror.get("UnprocessedKeys") or {}
    for table in dict.fromkeys((*shape.tables, *found, *mirrored)):
        _add_table(
            builder,
            paths.member("Responses", table),
            (found.get(table) or (), mirrored.get(table) or ()),
            (_keys(unprocessed.get(table)), _keys(mirror_unprocessed.get(table))),
            shape.tables.get(table, _UNKNOWN),
        )
    return builder.build()


def _keys(unprocessed_keys: Mapping[str, Any] | None) -> list[Item]:
    return [] if unprocessed_keys is None else list(unprocessed_keys.get("Keys") or ())


def _add_table(
    builder: ComparisonBuilder,
    path: str,
    items: tuple[Sequence[Item], Sequence[Item]],
    unprocessed_keys: tuple[list[Item], list[Item]],
    shape: ItemShape,
) -> None:
    unprocessed, mirror_unprocessed = ({key_identity(key) for key in keys} for keys in unprocessed_keys)
    builder.uncompared += len(unprocessed | mirror_unprocessed)
    pairing = pair_items(*items, shape.key)
    for index, other in pairing.pairs:
        builder.compare(items[0][index], items[1][other], shape, paths.element(path, index))

    def unanswered(item: Item, other_unprocessed: set[Any]) -> bool:
        key = key_of(item, shape.key)
        return bool(other_unprocessed) if key is None else key_identity(key) in other_unprocessed

    authority_only = [index for index in pairing.authority_only if not unanswered(items[0][index], mirror_unprocessed)]
    mirror_only = [index for index in pairing.mirror_only if not unanswered(items[1][index], unprocessed)]
    if not pairing.keyed and len(authority_only) == len(mirror_only):
        for index, other in zip(authority_only, mirror_only, strict=True):
            builder.compare(items[0][index], items[1][other], shape, paths.element(path, index))
        return
    for index in authority_only:
        builder.compare(items[0][index], None, shape, paths.element(path, index))
    for index in mirror_only:
        builder.compare(None, items[1][index], shape, paths.element(path, index))


def compare_batch_writes(authority: Document, mirror: Document) -> Comparison:
    """Compare two answers to one BatchWriteItem. They say only which requests were left unprocessed.

    `uncompared` of the result counts these requests: for each table, those of the answer that left more.
    """
    unprocessed, mirror_unprocessed = authority.get("UnprocessedItems") or {}, mirror.get("UnprocessedItems") or {}
    return Comparison(
        uncompared=sum(
            max(len(unprocessed.get(table, ())), len(mirror_unprocessed.get(table, ())))
            for table in {*unprocessed, *mirror_unprocessed}
        )
    )


def compare_transact_gets(authority: Document, mirror: Document, shape: ListShape) -> Comparison:
    """Compare two answers to one TransactGetItems, position by position. An absent item is an empty object there."""
    builder = ComparisonBuilder()
    found, mirrored = authority.get("Responses") or (), mirror.get("Responses") or ()
    for index in range(max(len(found), len(mirrored))):
        builder.compare(
            found[index].get("Item") if index < len(found) else None,
            mirrored[index].get("Item") if index < len(mirrored) else None,
            shape.items[index] if index < len(shape.items) else _UNKNOWN,
            paths.element("Responses", index),
        )
    return builder.build()
