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
    gathering = ComparisonBuilder()
    found, mirrored = authority.get("Responses") or {}, mirror.get("Responses") or {}
    left, mirror_left = authority.get("UnprocessedKeys") or {}, mirror.get("UnprocessedKeys") or {}
    for table in dict.fromkeys((*shape.tables, *found, *mirrored)):
        _add_table(
            gathering,
            paths.member("Responses", table),
            (found.get(table) or (), mirrored.get(table) or ()),
            (_keys(left.get(table)), _keys(mirror_left.get(table))),
            shape.tables.get(table, _UNKNOWN),
        )
    return gathering.build()


def _keys(unprocessed: Mapping[str, Any] | None) -> list[Item]:
    return [] if unprocessed is None else list(unprocessed.get("Keys") or ())


def _add_table(
    gathering: ComparisonBuilder,
    path: str,
    items: tuple[Sequence[Item], Sequence[Item]],
    unprocessed: tuple[list[Item], list[Item]],
    shape: ItemShape,
) -> None:
    left, mirror_left = ({key_identity(key) for key in keys} for keys in unprocessed)
    gathering.uncompared += len(left | mirror_left)
    pairing = pair_items(*items, shape.key)
    for index, other in pairing.pairs:
        gathering.compare(items[0][index], items[1][other], shape, paths.element(path, index))

    def unanswered(item: Item, other_left: set[Any]) -> bool:
        key = key_of(item, shape.key)
        return bool(other_left) if key is None else key_identity(key) in other_left

    alone = [index for index in pairing.authority_only if not unanswered(items[0][index], mirror_left)]
    mirror_alone = [index for index in pairing.mirror_only if not unanswered(items[1][index], left)]
    if not pairing.keyed and len(alone) == len(mirror_alone):
        for index, other in zip(alone, mirror_alone, strict=True):
            gathering.compare(items[0][index], items[1][other], shape, paths.element(path, index))
        return
    for index in alone:
        gathering.compare(items[0][index], None, shape, paths.element(path, index))
    for index in mirror_alone:
        gathering.compare(None, items[1][index], shape, paths.element(path, index))


def compare_batch_writes(authority: Document, mirror: Document) -> Comparison:
    """Compare two answers to one BatchWriteItem. They say only which requests were left unprocessed.

    `uncompared` of the result counts these requests: for each table, those of the answer that left more.
    """
    left, mirror_left = authority.get("UnprocessedItems") or {}, mirror.get("UnprocessedItems") or {}
    return Comparison(
        uncompared=sum(
            max(len(left.get(table, ())), len(mirror_left.get(table, ()))) for table in {*left, *mirror_left}
        )
    )


def compare_transact_gets(authority: Document, mirror: Document, shape: ListShape) -> Comparison:
    """Compare two answers to one TransactGetItems, position by position. An absent item is an empty object there."""
    gathering = ComparisonBuilder()
    found, mirrored = authority.get("Responses") or (), mirror.get("Responses") or ()
    for index in range(max(len(found), len(mirrored))):
        gathering.compare(
            found[index].get("Item") if index < len(found) else None,
            mirrored[index].get("Item") if index < len(mirrored) else None,
            shape.items[index] if index < len(shape.items) else _UNKNOWN,
            paths.element("Responses", index),
        )
    return gathering.build()
