"""Reads both stores and compares their answers: pages as pages, and by key where a page leaves a question open.

Finds differences and gives no verdict. Knows no journal and no other process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from comparators.comparison import Comparison, ItemPair
from comparators.difference import Difference
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from comparators.shapes import TablesShape
from proxy.cutover.stages import DYNAMODB
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.listing import Listing, read_listing
from proxy.dynamodb.operations import KEYLESS, LISTING, Operation, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest, read_query, read_scan
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.off_loop import off_loop
from proxy.shadow.call import Call
from proxy.shadow.comparison.authority_reader import AuthorityReader, InconclusiveAnswer
from proxy.shadow.comparison.outcome_shapes import item_shape, shape_of
from proxy.shadow.comparison.reread import read_page, with_strong_consistency, without_filters
from proxy.stores.interface import Store

_BATCH: Final = 100
_READERS: Final[Mapping[str, Callable[[TableSchema, Mapping[str, Any]], PageRequest | Listing]]] = {
    "Query": read_query,
    "Scan": read_scan,
    LISTING: read_listing,
}


class PairedReader:
    """A reader of both stores that compares what they answer.

    Every coroutine raises StoreError where the mirror fails, and InconclusiveAnswer where the authority does, or leaves
    unanswered what a second look was to settle.
    """

    def __init__(self, authority: Store, mirror: Store, *, messages: bool = False) -> None:
        """`messages`: compare the words of errors too."""
        self._messages = messages
        self._authority = AuthorityReader(authority)
        self._mirror = mirror
        self._authority_lags = authority.name == DYNAMODB

    async def compare(self, call: Call, authority_outcome: Outcome, mirror_outcome: Outcome) -> Comparison:
        """Compare two answers to one call, and read by key what they leave undecided."""
        size = max(authority_outcome.received_bytes, mirror_outcome.received_bytes)
        await _decode(authority_outcome)
        await _decode(mirror_outcome)
        if _identical(authority_outcome, mirror_outcome) and not mirror_outcome.document.get("UnprocessedKeys"):
            return Comparison()
        comparison = await off_loop(
            size,
            compare_outcomes,
            call.operation.action,
            (authority_outcome.status, authority_outcome.document),
            (mirror_outcome.status, mirror_outcome.document),
            shape_of(call.operation, call.tables),
            messages=self._messages,
        )
        return await self._settle_undecided(call, comparison) if comparison.undecided else comparison

    async def compare_scan(self, call: Call, authority_outcome: Outcome) -> Comparison:
        """Compare the authority's answer to a Scan with what the mirror holds.

        A whole Scan is compared as a set. Part of a Scan is another part in the other store, whose order differs, so
        its items are read from the mirror by key.
        """
        await _decode(authority_outcome)
        document = authority_outcome.document
        if not authority_outcome.ok or (_is_whole_scan(call.operation) and "LastEvaluatedKey" not in document):
            mirror_outcome = (await self._mirror.execute(call.operation)).outcome
            return await self.compare(call, authority_outcome, mirror_outcome)
        try:
            page = read_page(read_scan, call)
        except DynamoDBError as refusal:
            return await self.compare(call, authority_outcome, Outcome.failed(refusal))
        table = call.table
        items = [item for item in document.get("Items", ()) if all(n in item for n in table.schema.key_names)]
        comparison: list[Comparison] = []
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            comparison.append(await self._compare_by_key(call, part, page))
        return _merge(comparison)

    async def _compare_by_key(self, call: Call, items: Sequence[Item], page: PageRequest) -> Comparison:
        table = call.table
        keys = [table.schema.key_of(item) for item in items]
        request = {"RequestItems": {table.name: {"Keys": [key.attributes for key in keys]}}}
        batch = Operation("BatchGetItem", json_of(request), request, tuple(keys), call.operation.schemas)
        mirror_outcome = (await self._mirror.execute(batch)).outcome
        # Apply the filter, the index and the projection to the mirror's items, as the authority applied them to its
        # own.
        held = mirror_outcome.document.get("Responses", {}).get(table.name, ())
        shown = [item for item in map(page.show, held) if item is not None]
        shape = TablesShape({table.name: item_shape(table)})
        one, two = ({"Responses": {table.name: each}, "UnprocessedKeys": {}} for each in (list(items), shown))
        return compare_outcomes("BatchGetItem", (200, one), (mirror_outcome.status, two), shape)

    async def read_again(self, call: Call, keys: Sequence[Key]) -> tuple[Call, Comparison]:
        """Read both stores again. Returns the call as it was made this time, and the comparison.

        The read is strongly consistent where the API allows it; a page is read without what hides its items first.
        """
        operation = call.operation
        if (
            operation.action == "Scan"
            and keys
            and not (operation.request.get("IndexName") and _is_whole_scan(operation))
        ):
            return call, _merge([await self._compare_stores(call, key) for key in keys])
        strong = replace(call, operation=with_strong_consistency(operation))
        if operation.action in KEYLESS:
            bare = replace(call, operation=without_filters(strong.operation))
            comparison = await self._read_both(bare)
            if not comparison.agreed or bare.operation is strong.operation:
                return bare, comparison
        return strong, await self._read_both(strong)

    async def _read_both(self, call: Call) -> Comparison:
        authority_outcome = await self._authority.execute(call.operation)
        if call.operation.action == "Scan":
            comparison = await self.compare_scan(call, authority_outcome)
        else:
            mirror_outcome = (await self._mirror.execute(call.operation)).outcome
            comparison = await self.compare(call, authority_outcome, mirror_outcome)
        if comparison.agreed and comparison.uncompared and call.operation.action == "BatchGetItem":
            # What differed may be among the keys that were left unprocessed: that is no agreement.
            raise InconclusiveAnswer("unprocessed")
        return comparison

    async def _compare_stores(self, call: Call, key: Key) -> Comparison:
        """Compare one item as both stores hold it."""
        wanted, held = await self._authority.get(key), (await self._mirror.get(key)).item
        comparison = _with_key(
            compare_items(wanted, held, call.table_of(key).pick(wanted or held or {})), key.attributes
        )
        return Comparison(
            comparison, differing=(ItemPair(key.attributes, wanted, held),) if comparison else (), compared=1
        )

    async def _settle_undecided(self, call: Call, comparison: Comparison) -> Comparison:
        """Read by key, from the other store, the items that only one answer shows because of a tie at the page's
        edge."""
        differences = list(comparison.differences)
        differing = list(comparison.differing)
        for entry in comparison.undecided:
            shown = entry.authority if entry.authority is not None else entry.mirror
            if entry.key is None or shown is None or _projects_inside(call.operation):
                continue
            key = call.table.schema.key_of(entry.key)
            missing_in_mirror = entry.mirror is None
            item = (await self._mirror.get(key)).item if missing_in_mirror else await self._authority.get(key)
            other = None if item is None else {name: item[name] for name in shown if name in item}
            one, two = (shown, other) if missing_in_mirror else (other, shown)
            differences_by_key = _with_key(compare_items(one, two, call.table.pick(shown)), entry.key)
            by_index = call.operation.request.get("IndexName") is not None
            if differences_by_key and by_index and missing_in_mirror == self._authority_lags:
                # The page that shows the item may show what its index held a moment ago.
                wanted, held = await self._authority.get(key), (await self._mirror.get(key)).item
                if not compare_items(wanted, held, call.table.pick(wanted or shown)):
                    continue
            if differences_by_key:
                differences.extend(differences_by_key)
                differing.append(ItemPair(entry.key, one, two))
        return replace(comparison, differences=tuple(differences), differing=tuple(differing), undecided=())

    async def index_delays(self, call: Call, comparison: Comparison) -> dict[Key, Item | None]:
        """Return the keys that differ only because DynamoDB's index is behind its table, with what both stores hold."""
        operation = call.operation
        if operation.action not in _READERS or operation.request.get("IndexName") is None:
            return {}
        try:
            page = read_page(_READERS[operation.action], call)
        except DynamoDBError:
            return {}
        late: dict[Key, Item | None] = {}
        for entry in comparison.differing:
            if entry.key is not None:
                key = call.table.schema.key_of(entry.key)
                wanted, held = await self._authority.get(key), (await self._mirror.get(key)).item
                if self._is_index_delay(call, page, entry, wanted, held):
                    late[key] = wanted
        return late

    def _is_index_delay(
        self, call: Call, page: PageRequest | Listing, entry: ItemPair, wanted: Item | None, held: Item | None
    ) -> bool:
        """Return whether an item differs only because DynamoDB's index is behind its table.

        That is so if both stores hold the item alike, the page of the store whose indexes are prompt shows of it what
        it should, and the other page does not. The prompt page may also lack the item, if the late page shows it at a
        place in the order that it has left.
        """
        rules, expected = call.table.pick(wanted or held or {}), page.show(wanted)
        late, prompt = (entry.authority, entry.mirror) if self._authority_lags else (entry.mirror, entry.authority)
        if compare_items(wanted, held, rules) or not compare_items(expected, late, rules):
            return False
        sorts = (page.sort,) if isinstance(page, Listing) else page.schema.index_keys(page.index)[1]
        moved = late is not None and expected is not None and any(late.get(n) != expected.get(n) for n in sorts)
        return (prompt is None and moved) or not compare_items(expected, prompt, rules)


def without_keys(call: Call, comparison: Comparison, keys: Collection[Key]) -> Comparison:
    """Return the comparison without the differences of these keys.

    If there are any, differences of the page itself (a count, a cursor) are left out too: they may follow from them.
    """
    if not keys:
        return comparison
    key_of = call.table.schema.key_of
    return replace(
        comparison,
        differences=tuple(d for d in comparison.differences if d.key is not None and key_of(d.key) not in keys),
        differing=tuple(e for e in comparison.differing if e.key is None or key_of(e.key) not in keys),
    )


async def _decode(outcome: Outcome) -> None:
    await off_loop(outcome.received_bytes, outcome.decode)


def _identical(authority_outcome: Outcome, mirror_outcome: Outcome) -> bool:
    """Return whether two answers are the same to the letter, as nearly all are: then no shape is needed."""
    return authority_outcome.status == mirror_outcome.status and authority_outcome.document == mirror_outcome.document


def _is_whole_scan(operation: Operation) -> bool:
    return not any(operation.request.get(name) is not None for name in ("ExclusiveStartKey", "Segment", "Limit"))


def _projects_inside(operation: Operation) -> bool:
    text = operation.request.get("ProjectionExpression") or ""
    return "." in text or "[" in text


def _with_key(differences: Iterable[Difference], key: Item) -> tuple[Difference, ...]:
    return tuple(replace(difference, key=key) for difference in differences)


def _merge(comparison: Sequence[Comparison]) -> Comparison:
    return Comparison(
        differences=tuple(d for each in comparison for d in each.differences),
        notes=tuple(d for each in comparison for d in each.notes),
        differing=tuple(e for each in comparison for e in each.differing),
        undecided=tuple(e for each in comparison for e in each.undecided),
        compared=sum(each.compared for each in comparison),
        uncompared=sum(each.uncompared for each in comparison),
    )


def text_of_key(key: Item | None) -> str:
    """Return a text that is the same for equal keys, to be used as a dictionary key."""
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
