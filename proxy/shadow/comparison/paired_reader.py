"""One read of both stores, compared: pages as pages, and by key what a page leaves open.

Gives differences and no verdict; knows no journal and no other process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import orjson

from comparators.comparison import Comparison, ItemPair
from comparators.difference import Difference
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from comparators.shapes import TablesShape
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.listing import Listing, read_listing
from proxy.dynamodb.operations import KEYLESS, LISTING, Operation, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest, read_query, read_scan
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call
from proxy.shadow.comparison.outcome_shapes import item_shape, shape_of
from proxy.shadow.comparison.reread import read_page, with_strong_consistency, without_filters
from proxy.stores.interface import Store
from proxy.verdicts import is_conclusive

_BATCH: Final = 100


class PairedReader:
    """Reads both stores and compares what they hold. `late` is the store whose indexes may be behind its tables:
    DynamoDB, on either side."""

    def __init__(self, authority: Store, mirror: Store, eventual_store: str) -> None:
        self._authority = authority
        self._mirror = mirror
        self._authority_lags = authority.name == eventual_store

    async def compare(self, call: Call, answered: Outcome, mirrored: Outcome) -> Comparison:
        if _identical(answered, mirrored):
            return Comparison()
        found = compare_outcomes(
            call.operation.action,
            (answered.status, answered.document),
            (mirrored.status, mirrored.document),
            shape_of(call.operation, call.tables),
        )
        return await self._settle_undecided(call, found) if found.undecided else found

    async def compare_scan(self, call: Call, answered: Outcome) -> Comparison:
        """A whole Scan is compared as a set. A part of one is not the same part in both stores, whose orders differ:
        its items are read from the mirror by key."""
        document, request = answered.document, call.operation.request
        whole = not any(request.get(n) is not None for n in ("ExclusiveStartKey", "Segment", "Limit", "IndexName"))
        if not answered.ok or (whole and "LastEvaluatedKey" not in document):
            mirrored = (await self._mirror.execute(call.operation)).outcome
            return await self.compare(call, answered, mirrored)
        try:
            page = read_page(read_scan, call)
        except DynamoDBError as refusal:
            return await self.compare(call, answered, Outcome.failed(refusal))
        table = call.table
        items = [item for item in document.get("Items", ()) if all(n in item for n in table.schema.key_names)]
        found: list[Comparison] = []
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            found.append(await self._compare_by_key(call, part, page))
        return _merge(found)

    async def _compare_by_key(self, call: Call, items: Sequence[Item], page: PageRequest) -> Comparison:
        table = call.table
        keys = [table.schema.key_of(item) for item in items]
        request = {"RequestItems": {table.name: {"Keys": [key.attributes for key in keys]}}}
        batch = Operation("BatchGetItem", json_of(request), request, tuple(keys), call.operation.schemas)
        mirrored = (await self._mirror.execute(batch)).outcome
        # The filter, the index and the projection apply to what the mirror holds as they did to what was answered.
        held = mirrored.document.get("Responses", {}).get(table.name, ())
        shown = [item for item in map(page.show, held) if item is not None]
        shape = TablesShape({table.name: item_shape(table)})
        one, two = ({"Responses": {table.name: each}, "UnprocessedKeys": {}} for each in (list(items), shown))
        return compare_outcomes("BatchGetItem", (200, one), (mirrored.status, two), shape)

    async def read_again(self, call: Call, keys: Sequence[Key]) -> tuple[Call, Comparison]:
        """Both stores, read again; with the call as it was asked this time."""
        operation = call.operation
        if operation.action == "Scan" and keys:
            return call, _merge([await self._compare_stores(call, key) for key in keys])
        strong = replace(call, operation=with_strong_consistency(operation))
        if operation.action in KEYLESS:
            bare = replace(call, operation=without_filters(strong.operation))
            found = await self._read_both(bare)
            if not found.agreed or bare.operation is strong.operation:
                return bare, found
        return strong, await self._read_both(strong)

    async def _read_both(self, call: Call) -> Comparison:
        answered = (await self._authority.execute(call.operation)).outcome
        if not is_conclusive(answered):
            return Comparison()
        if call.operation.action == "Scan":
            return await self.compare_scan(call, answered)
        return await self.compare(call, answered, (await self._mirror.execute(call.operation)).outcome)

    async def _compare_stores(self, call: Call, key: Key) -> Comparison:
        """One item as both stores hold it."""
        wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
        found = _with_key(compare_items(wanted, held, call.table_of(key).pick(wanted or held or {})), key.attributes)
        return Comparison(found, differing=(ItemPair(key.attributes, wanted, held),) if found else (), compared=1)

    async def _settle_undecided(self, call: Call, found: Comparison) -> Comparison:
        """Items that a tie at the page's edge shows in one answer only: read by key from the other store."""
        differences = list(found.differences)
        differing = list(found.differing)
        for entry in found.undecided:
            shown = entry.authority if entry.authority is not None else entry.mirror
            if entry.key is None or shown is None or _projects_inside(call.operation):
                continue
            key = call.table.schema.key_of(entry.key)
            missing_in_mirror = entry.mirror is None
            store = self._mirror if missing_in_mirror else self._authority
            item = (await store.get(key)).item
            other = None if item is None else {name: item[name] for name in shown if name in item}
            one, two = (shown, other) if missing_in_mirror else (other, shown)
            unlike = _with_key(compare_items(one, two, call.table.pick(shown)), entry.key)
            by_index = call.operation.request.get("IndexName") is not None
            if unlike and by_index and missing_in_mirror == self._authority_lags:
                # The page that shows it may show what its index held a moment ago.
                wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
                if not compare_items(wanted, held, call.table.pick(wanted or shown)):
                    continue
            if unlike:
                differences.extend(unlike)
                differing.append(ItemPair(entry.key, one, two))
        return replace(found, differences=tuple(differences), differing=tuple(differing), undecided=())

    async def without_index_delay(self, call: Call, found: Comparison) -> Comparison:
        """What was found, without what comes of an index of DynamoDB's being behind its table; about the page itself
        nothing can be said then."""
        operation = call.operation
        if operation.action not in ("Query", LISTING) or operation.request.get("IndexName") is None:
            return found
        try:
            page = read_page(read_listing, call) if operation.action == LISTING else read_page(read_query, call)
        except DynamoDBError:
            return found
        late = {text_of_key(entry.key) for entry in found.differing if await self._is_index_delay(call, page, entry)}
        if not late:
            return found
        left = tuple(d for d in found.differences if d.key is not None and text_of_key(d.key) not in late)
        return replace(
            found, differences=left, differing=tuple(e for e in found.differing if text_of_key(e.key) not in late)
        )

    async def _is_index_delay(self, call: Call, page: PageRequest | Listing, entry: ItemPair) -> bool:
        """Whether both stores hold an item alike, and the page of the one whose indexes are prompt shows of it what it
        should, and the other's does not. An item that a late page shows at a place where it is no more may be beyond
        the other's."""
        if entry.key is None:
            return False
        key = call.table.schema.key_of(entry.key)
        wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
        rules, due = call.table.pick(wanted or held or {}), page.show(wanted)
        late, prompt = (entry.authority, entry.mirror) if self._authority_lags else (entry.mirror, entry.authority)
        if compare_items(wanted, held, rules) or not compare_items(due, late, rules):
            return False
        sort = page.sort if isinstance(page, Listing) else page.schema.index_keys(page.index)[1]
        moved = late is not None and due is not None and sort is not None and late.get(sort) != due.get(sort)
        return (prompt is None and moved) or not compare_items(due, prompt, rules)


def _identical(answered: Outcome, mirrored: Outcome) -> bool:
    """Whether two answers are the same to the letter, as nearly all are: nothing need be told of their shape then."""
    return answered.status == mirrored.status and answered.document == mirrored.document


def _projects_inside(operation: Operation) -> bool:
    text = operation.request.get("ProjectionExpression") or ""
    return "." in text or "[" in text


def _with_key(differences: Iterable[Difference], key: Item) -> tuple[Difference, ...]:
    return tuple(replace(difference, key=key) for difference in differences)


def _merge(found: Sequence[Comparison]) -> Comparison:
    return Comparison(
        differences=tuple(d for each in found for d in each.differences),
        notes=tuple(d for each in found for d in each.notes),
        differing=tuple(e for each in found for e in each.differing),
        undecided=tuple(e for each in found for e in each.undecided),
        compared=sum(each.compared for each in found),
        uncompared=sum(each.uncompared for each in found),
    )


def text_of_key(key: Item | None) -> str:
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
