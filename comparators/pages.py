"""Compares two pages of a Query or Scan, where neither the order nor a boundary among equal sort keys means anything.

The question is what a page says about an item that it does not show. A page covers a place in the order if it must show
every item at that place: after its start and before its end. An item that only one page shows is `missing` or `extra`
if the other page covers its place. Otherwise it is undecided, and only reading it by key decides.

A page does not cover the group of equal sort keys in which it starts or ends, because each store has its own order
within the group. An incomplete answer without order covers nothing.

Source: "Query", "Paginating table query results" and "Scan" in the DynamoDB developer guide.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from comparators import paths
from comparators.canonical_forms import canonical_form, sort_form
from comparators.comparison import Comparison, ComparisonBuilder, ItemPair
from comparators.difference import Difference, Document, Item, Kind, Value
from comparators.pairing import Pairing, key_of, pair_items
from comparators.shapes import PageShape

_NEARLY_FULL = 512 * 1024
"""Characters of a page's items, as Python writes them: well below what 1 MB of items gives."""

Rank: TypeAlias = tuple[tuple[str, Any], ...]
"""The position of an item in the order of its page; sorts as the sort attributes do, one after another."""


def compare_pages(authority: Document, mirror: Document, shape: PageShape) -> Comparison:
    """Compare two answers to one Query or Scan: `Items`, `Count`, `ScannedCount`, `LastEvaluatedKey`.

    Items are paired by table key, or by content if a projection drops the key. Other members are ignored.
    """
    builder = ComparisonBuilder()
    items, mirrored = authority.get("Items"), mirror.get("Items")
    if (items is None) != (mirrored is None):
        kind = Kind.EXTRA if items is None else Kind.MISSING
        builder.differences.append(_about_page("Items", kind, _length(items), _length(mirrored)))
        return builder.build()
    items, mirrored = items or (), mirrored or ()
    if items == mirrored:
        builder.compared = len(items)
    else:
        pairing = pair_items(items, mirrored, shape.items.key)
        for index, other in pairing.pairs:
            builder.compare(items[index], mirrored[other], shape.items, paths.element("Items", index))
        _add_unpaired(builder, authority, mirror, pairing, shape)
        _add_order(builder, items, mirrored, pairing, shape)
    _add_counts(builder, authority, mirror, shape)
    _add_cursors(builder, authority, mirror, shape)
    return builder.build()


def rank_of(item: Item, shape: PageShape) -> Rank | None:
    """Return the position of an item or a cursor in the page's order; None if there is no order or it does not show
    it."""
    names = (*shape.sort, *shape.then)
    if not shape.sort or any(name not in item for name in names):
        return None
    return tuple(sort_form(item[name]) for name in names)


def _about_page(path: str, kind: Kind, authority: Value | None, mirror: Value | None) -> Difference:
    return Difference(path, "", kind, authority, mirror)


def _length(items: Sequence[Item] | None) -> Value | None:
    return None if items is None else {"N": str(len(items))}


@dataclass(frozen=True, slots=True)
class _Coverage:
    """The places in the order that a page covers."""

    shape: PageShape
    end: Item | None
    """The page's LastEvaluatedKey."""

    def covers(self, rank: Rank | None) -> bool:
        """Return whether the page must show every item at this place."""
        shape = self.shape
        if shape.segment:
            return False
        if shape.start is None and self.end is None:
            return True
        if rank is None:
            return False
        if shape.start is not None:
            start = rank_of(shape.start, shape)
            if start is None or (shape.ties and rank == start):
                return False
        if self.end is not None:
            end = rank_of(self.end, shape)
            if end is None or (shape.ties and rank == end):
                return False
            return rank <= end if shape.forward else rank >= end
        return True


def _add_unpaired(
    builder: ComparisonBuilder, authority: Document, mirror: Document, pairing: Pairing, shape: PageShape
) -> None:
    """Add the items that only one page shows: missing or extra if the other page covers their place, else undecided."""
    items, mirrored = authority.get("Items") or (), mirror.get("Items") or ()
    covered: tuple[list[int], list[int]] = ([], [])
    for unpaired, shown, other, repeated, side in (
        (pairing.authority_only, items, mirror, pairing.repeated[0], 0),
        (pairing.mirror_only, mirrored, authority, pairing.repeated[1], 1),
    ):
        coverage = _Coverage(shape, other.get("LastEvaluatedKey"))
        for index in unpaired:
            item = shown[index]
            if index in repeated or coverage.covers(rank_of(item, shape)):
                covered[side].append(index)
            elif pairing.keyed:
                key = key_of(item, shape.items.key)
                builder.undecided.append(ItemPair(key, item, None) if side == 0 else ItemPair(key, None, item))
            else:
                builder.uncompared += 1
    if not pairing.keyed and len(covered[0]) == len(covered[1]):
        # Without keys, equally many items on both sides count as changed items, not as some missing and others extra.
        for index, other_index in zip(*covered, strict=True):
            builder.compare(items[index], mirrored[other_index], shape.items, paths.element("Items", index))
        return
    for index in covered[0]:
        builder.compare(items[index], None, shape.items, paths.element("Items", index))
    for index in covered[1]:
        builder.compare(None, mirrored[index], shape.items, paths.element("Items", index))


def _add_order(
    builder: ComparisonBuilder, items: Sequence[Item], mirrored: Sequence[Item], pairing: Pairing, shape: PageShape
) -> None:
    """Add the items whose place among the others differs: one difference for each run of items that moved together.

    As few items as possible count as moved: those outside a longest subsequence of the mirror's page that is in the
    authority's order. An item whose sort key differs is left out, because that difference explains its place.
    """
    if not shape.sort or all(one < other for one, other in pairwise(other for _, other in pairing.pairs)):
        return
    group_of: dict[Rank, int] = {}
    placed: list[tuple[int, int, int]] = []  # mirror's index, authority's index, group of equal sort keys
    for index, other in pairing.pairs:
        rank = rank_of(items[index], shape)
        if rank is not None and rank == rank_of(mirrored[other], shape):
            placed.append((other, index, group_of.setdefault(rank, len(group_of))))
    placed.sort()
    unmoved = _longest_nondecreasing([group for _, _, group in placed])
    previous: tuple[int, int] | None = None
    for position, (other, index, group) in enumerate(placed):
        if position in unmoved:
            continue
        key = key_of(items[index], shape.items.key)
        builder.differing.append(ItemPair(key, items[index], mirrored[other]))
        if previous is None or previous[0] != position - 1 or previous[1] > group:
            name = shape.items.rules(items[index]).type
            path = paths.element("Items", index)
            places = ({"N": str(index)}, {"N": str(other)})
            builder.differences.append(Difference(path, "", Kind.ORDER, *places, type=name, key=key))
        previous = position, group


def _longest_nondecreasing(groups: Sequence[int]) -> frozenset[int]:
    """Return the positions of a longest nondecreasing subsequence of `groups`."""
    tails: list[int] = []  # for each length, the lowest group that such a subsequence ends with
    positions: list[int] = []  # the position of that group
    predecessors: list[int | None] = []
    for position, group in enumerate(groups):
        length = bisect_right(tails, group)
        predecessors.append(positions[length - 1] if length else None)
        tails[length : length + 1] = [group]
        positions[length : length + 1] = [position]
    found: set[int] = set()
    position_or_none = positions[-1] if positions else None
    while position_or_none is not None:
        found.add(position_or_none)
        position_or_none = predecessors[position_or_none]
    return frozenset(found)


def _add_counts(builder: ComparisonBuilder, authority: Document, mirror: Document, shape: PageShape) -> None:
    """Add `Count` beyond the items shown, and `ScannedCount` beyond `Count`: so one lost item is reported only once.

    If no items are shown or a filter hides some, a page that starts or ends inside a group of equal sort keys may count
    other items of that group: that is a `tie`.
    """
    whole = shape.start is None and "LastEvaluatedKey" not in authority and "LastEvaluatedKey" not in mirror
    uncertain = shape.segment or (shape.ties and not whole) or _cut_by_size(authority, mirror, shape)
    count, other_count = authority.get("Count"), mirror.get("Count")
    if count != other_count:
        shown = "Items" in authority
        if not shown or _excess(count, len(authority["Items"])) != _excess(other_count, len(mirror["Items"])):
            _add_count(builder, "Count", (count, other_count), uncertain and not shown)
    scanned, other_scanned = authority.get("ScannedCount"), mirror.get("ScannedCount")
    if scanned != other_scanned and _excess(scanned, count) != _excess(other_scanned, other_count):
        _add_count(builder, "ScannedCount", (scanned, other_scanned), uncertain)


def _cut_by_size(authority: Document, mirror: Document, shape: PageShape) -> bool:
    """Return whether the pages may end in different places because one ended at 1 MB and not at its limit.

    DynamoDB does not document to the byte what counts towards a page, so two stores may end it some items apart.
    """
    if _cursor(authority) == _cursor(mirror):
        return False
    return any(
        "LastEvaluatedKey" in page
        and (shape.limit is None or page.get("ScannedCount", 0) < shape.limit)
        and _may_be_full(page)
        for page in (authority, mirror)
    )


def _may_be_full(page: Document) -> bool:
    """Return whether the page may have reached 1 MB: it shows much, or not everything that it read."""
    items = page.get("Items")
    return items is None or page.get("ScannedCount") != len(items) or len(str(items)) > _NEARLY_FULL


def _cursor(page: Document) -> object:
    end = page.get("LastEvaluatedKey")
    return None if end is None else canonical_form({"M": end})


def _excess(count: int | None, part: int | None) -> int | None:
    return None if count is None else count - (part or 0)


def _add_count(builder: ComparisonBuilder, name: str, counts: tuple[int | None, int | None], tied: bool) -> None:
    held, other = (None if count is None else {"N": str(count)} for count in counts)
    if tied and None not in counts:
        builder.notes.append(_about_page(name, Kind.TIE, held, other))
    else:
        builder.differences.append(_about_page(name, Kind.COUNT, held, other))


def _add_cursors(builder: ComparisonBuilder, authority: Document, mirror: Document, shape: PageShape) -> None:
    """Add `LastEvaluatedKey`, compared by value. It is only a note if a tie or a difference found before explains
    it."""
    end: Item | None = authority.get("LastEvaluatedKey")
    other: Item | None = mirror.get("LastEvaluatedKey")
    sides = (None if end is None else {"M": end}, None if other is None else {"M": other})
    if end is None and other is None:
        return
    if _cursor(authority) == _cursor(mirror):
        return
    if end is not None and other is not None:
        if end.keys() != other.keys():
            kind = Kind.CURSOR
        elif _is_tie(end, other, shape):
            kind = Kind.TIE
        else:
            unordered = not shape.sort or _lacks_rank(builder, shape)
            moved = unordered or _cursor_is_explained(builder, authority, mirror, shape)
            kind = Kind.BOUNDARY if moved or _cut_by_size(authority, mirror, shape) else Kind.CURSOR
    else:
        moved = _cursor_is_explained(builder, authority, mirror, shape)
        kind = Kind.BOUNDARY if moved or _cut_by_size(authority, mirror, shape) else Kind.CURSOR
    (builder.differences if kind is Kind.CURSOR else builder.notes).append(
        _about_page("LastEvaluatedKey", kind, *sides)
    )


def _is_tie(end: Item, other: Item, shape: PageShape) -> bool:
    """Return whether two cursors differ in the table key alone, at a place that several items may share."""
    fixed = [name for name in end if name not in shape.items.key or name in shape.sort]
    return shape.ties and all(canonical_form(end[name]) == canonical_form(other[name]) for name in fixed)


def _lacks_rank(builder: ComparisonBuilder, shape: PageShape) -> bool:
    return any(rank_of(entry.authority or entry.mirror or {}, shape) is None for entry in builder.undecided)


def _cursor_is_explained(builder: ComparisonBuilder, authority: Document, mirror: Document, shape: PageShape) -> bool:
    """Return whether something else explains that a page ends elsewhere, so that the cursor is not at fault.

    That is an item that was found missing, extra or with another sort key; a segment of a Scan; or, if the page starts
    inside a group of equal sort keys, that the stores divide the group differently, visibly or behind a filter.
    """
    if shape.segment or any(
        (not found.path and found.kind in (Kind.MISSING, Kind.EXTRA)) or found.field in shape.sort
        for found in builder.differences
    ):
        return True
    if shape.start is None or not shape.ties:
        return False
    start = rank_of(shape.start, shape)
    hidden = any("Items" not in page or page.get("ScannedCount") != page.get("Count") for page in (authority, mirror))
    shifted = any(rank_of(entry.authority or entry.mirror or {}, shape) == start for entry in builder.undecided)
    return hidden or shifted or start is None or _lacks_rank(builder, shape) or builder.uncompared > 0
