"""A read, compared behind the client's answer: the mirror reads at the same time, and what differs is looked at again.

A first difference says little: the key may be in flight, DynamoDB's answer may be old, two equal sort keys may stand in
either order. So it waits until the keys have left the journal and reads both stores again (strongly, where the API
can), more than once; only what goes on differing is a mismatch, and its keys are nominated for convergence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from comparators.comparison import Comparison, Entry
from comparators.difference import Difference
from comparators.expected import Context
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from comparators.shapes import TablesShape
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import read_query
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.context import Call
from proxy.shadow.findings import Findings
from proxy.shadow.journal import Journal
from proxy.shadow.shapes import item_shape, shape_of
from proxy.shadow.verdicts import LOOK_AGAIN, Judged, Loss, Verdict, decides, judge, overall
from proxy.stores.failures import StoreError
from proxy.stores.store import Store, Unrepresentable

_LEAVE_SECONDS: Final = 5.0
_BATCH: Final = 100
_MOST_KEYS: Final = 200


class Reading:
    """Compares reads. `journal` tells which keys are being written, and takes those found to disagree."""

    def __init__(self, journal: Journal, authority: Store, mirror: Store, findings: Findings) -> None:
        self._journal = journal
        self._authority = authority
        self._mirror = mirror
        self._findings = findings

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        """Read from the mirror, await the authority's answer (None: it gave none), compare, record."""
        since = self._journal.latest
        try:
            mirrored = None if call.operation.action == "Scan" else await self._mirror.execute(call.operation)
            answered = await answer
            if answered is None or not decides(answered):
                return
            if mirrored is None:
                found = await self._compare_scan(call, answered)
            else:
                found = await self._compare(call, answered, mirrored.outcome)
            if found.agreed:
                self._record(call, Verdict.AGREED)
            else:
                await self._look_again(call, found, since)
        except Unrepresentable as error:
            self._record(call, Verdict.UNREPRESENTABLE, reason=error.reason)
        except StoreError as error:
            self._record(call, Verdict.MIRROR_ERROR, reason=error.reason)

    async def _look_again(self, call: Call, found: Comparison, since: int) -> None:
        racing = False
        for delay in LOOK_AGAIN:
            keys = self._keys(call, found)
            if any(self._journal.parked_reason(key) is not None for key in keys):
                break
            racing = racing or any(self._journal.touched(key, since) for key in keys)
            if not await self._journal.left(keys, _LEAVE_SECONDS):
                self._record(call, Verdict.RACING)
                return
            await asyncio.sleep(delay)
            since = self._journal.latest
            found = await self._read_again(call, keys)
            if found.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING)
                return
        else:
            if any(self._journal.touched(key, since) for key in self._keys(call, found)):
                self._record(call, Verdict.RACING)
                return
            if await self._index_is_late(call, found):
                self._record(call, Verdict.LAGGING, reason="index")
                return
        await self._conclude(call, found)

    async def _conclude(self, call: Call, found: Comparison) -> None:
        """What differs goes on differing."""
        losses = self._losses(call, found)
        context = Context(call.table.name, call.operation.action)
        judged: list[Judged] = []
        for difference in found.differences:
            loss = losses.get(_text(difference.key), Loss()) if difference.key is not None else _only(losses)
            judged.extend(judge([difference], loss, call.table.expected, context))
        verdict = overall(judged)
        self._record(call, verdict, judged)
        if verdict is Verdict.MISMATCH:
            keys = [key for key in self._keys(call, found) if self._journal.parked_reason(key) is None]
            await self._journal.nominate(keys)

    # -- one look ---------------------------------------------------------------------------------------------------

    async def _compare(self, call: Call, answered: Outcome, mirrored: Outcome) -> Comparison:
        found = compare_outcomes(
            call.operation.action,
            (answered.status, answered.document),
            (mirrored.status, mirrored.document),
            shape_of(call.operation, call.tables),
        )
        return await self._decide(call, found) if found.undecided else found

    async def _compare_scan(self, call: Call, answered: Outcome) -> Comparison:
        """A whole Scan is compared as a set. A part of one is not the same part in both stores, whose orders differ:
        its items are read from the mirror by key."""
        document, request = answered.document, call.operation.request
        whole = not any(request.get(n) is not None for n in ("ExclusiveStartKey", "Segment", "Limit", "IndexName"))
        if not answered.ok or (whole and "LastEvaluatedKey" not in document):
            mirrored = (await self._mirror.execute(call.operation)).outcome
            return await self._compare(call, answered, mirrored)
        table = call.table
        items = [item for item in document.get("Items", ()) if all(n in item for n in table.schema.key_names)]
        found: list[Comparison] = []
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            found.append(await self._compare_by_key(call, part))
        return _joined(found)

    async def _compare_by_key(self, call: Call, items: Sequence[Item]) -> Comparison:
        table = call.table
        keys = [table.schema.key_of(item) for item in items]
        wanted: dict[str, Any] = {"Keys": [key.attributes for key in keys]}
        for parameter in ("ProjectionExpression", "AttributesToGet"):
            if call.operation.request.get(parameter) is not None:
                wanted[parameter] = call.operation.request[parameter]
        if "ProjectionExpression" in wanted:
            names = call.operation.request.get("ExpressionAttributeNames") or {}
            used = {n: name for n, name in names.items() if n in wanted["ProjectionExpression"]}
            wanted.update({"ExpressionAttributeNames": used} if used else {})
        request = {"RequestItems": {table.name: wanted}}
        batch = Operation("BatchGetItem", b"", request, tuple(keys), call.operation.schemas)
        mirrored = (await self._mirror.execute(batch)).outcome
        shape = TablesShape({table.name: item_shape(table)})
        answer = {"Responses": {table.name: list(items)}, "UnprocessedKeys": {}}
        return compare_outcomes("BatchGetItem", (200, answer), (mirrored.status, mirrored.document), shape)

    async def _read_again(self, call: Call, keys: Sequence[Key]) -> Comparison:
        operation = call.operation
        if operation.action == "Scan" and keys:
            return _joined([await self._compare_stores(call, key) for key in keys])
        strong = replace(call, operation=_strongly(operation))
        answered = (await self._authority.execute(strong.operation)).outcome
        if not decides(answered):
            return Comparison()
        if operation.action == "Scan":
            return await self._compare_scan(strong, answered)
        mirrored = (await self._mirror.execute(strong.operation)).outcome
        return await self._compare(strong, answered, mirrored)

    async def _compare_stores(self, call: Call, key: Key) -> Comparison:
        """One item as both stores hold it."""
        wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
        found = _keyed(compare_items(wanted, held, call.table_of(key).pick(wanted or held or {})), key.attributes)
        return Comparison(found, differing=(Entry(key.attributes, wanted, held),) if found else (), compared=1)

    async def _decide(self, call: Call, found: Comparison) -> Comparison:
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
            unlike = _keyed(compare_items(one, two, call.table.pick(shown)), entry.key)
            if unlike:
                differences.extend(unlike)
                differing.append(Entry(entry.key, one, two))
        return replace(found, differences=tuple(differences), differing=tuple(differing), undecided=())

    async def _index_is_late(self, call: Call, found: Comparison) -> bool:
        """Whether the authority's index, and not the mirror, is behind the items as both stores hold them."""
        operation = call.operation
        if operation.action != "Query" or operation.request.get("IndexName") is None or not found.differing:
            return False
        page = read_query(call.table.schema, operation.request)
        for entry in found.differing:
            if entry.key is None:
                return False
            key = call.table.schema.key_of(entry.key)
            wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
            rules = call.table.pick(wanted or held or {})
            if compare_items(wanted, held, rules) or compare_items(page.show(wanted), entry.mirror, rules):
                return False
        return True

    # -- what a look concerns ---------------------------------------------------------------------------------------

    def _keys(self, call: Call, found: Comparison) -> list[Key]:
        """The keys that the differences are about; all that the operation names where they do not say."""
        operation = call.operation
        schemas = list(operation.schemas.values())
        keys = []
        for attributes in found.keys()[:_MOST_KEYS]:
            schema = next((s for s in schemas if set(s.key_names) <= set(attributes)), schemas[0])
            keys.append(schema.key_of(attributes))
        return keys or list(operation.keys[:_MOST_KEYS])

    def _losses(self, call: Call, found: Comparison) -> Mapping[str, Loss]:
        """What the mapping loses of each item that differs, by its key's text."""
        losses: dict[str, Loss] = {}
        for entry in found.differing:
            item = entry.authority
            if item is None:
                continue
            attributes = entry.key or (call.operation.keys[0].attributes if len(call.operation.keys) == 1 else None)
            if attributes is None:
                continue
            key = call.table.schema.key_of(attributes)
            image, _ = self._mirror.image(key, {**item, **attributes})
            losses[_text(attributes)] = Loss.between(item, image, call.table.pick(item))
        return losses

    def _record(self, call: Call, verdict: Verdict, judged: Sequence[Judged] = (), reason: str | None = None) -> None:
        self._findings.record(call.operation, call.table, call.item_type, verdict, call.request_id, judged, reason)


def _strongly(operation: Operation) -> Operation:
    """The same read, strongly consistent where the API can; a count is asked for its items, to see which differ."""
    request = dict(operation.request)
    if operation.action == "BatchGetItem":
        request["RequestItems"] = {t: {**part, "ConsistentRead": True} for t, part in request["RequestItems"].items()}
    elif operation.action in ("GetItem", "Query", "Scan") and request.get("IndexName") is None:
        request["ConsistentRead"] = True
    if request.get("Select") == "COUNT":
        del request["Select"]
    request.pop("ReturnConsumedCapacity", None)
    return replace(operation, request=request, body=orjson.dumps(request))


def _projects_inside(operation: Operation) -> bool:
    text = operation.request.get("ProjectionExpression") or ""
    return "." in text or "[" in text


def _keyed(differences: Iterable[Difference], key: Item) -> tuple[Difference, ...]:
    return tuple(replace(difference, key=key) for difference in differences)


def _joined(found: Sequence[Comparison]) -> Comparison:
    return Comparison(
        differences=tuple(d for each in found for d in each.differences),
        notes=tuple(d for each in found for d in each.notes),
        differing=tuple(e for each in found for e in each.differing),
        undecided=tuple(e for each in found for e in each.undecided),
        compared=sum(each.compared for each in found),
        uncompared=sum(each.uncompared for each in found),
    )


def _text(key: Item | None) -> str:
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _only(losses: Mapping[str, Loss]) -> Loss:
    return next(iter(losses.values())) if len(losses) == 1 else Loss()
