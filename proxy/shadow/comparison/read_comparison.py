"""A read, compared behind the client's answer: the mirror reads at the same time, and what differs is looked at again.

A first difference says little: the key may be in flight, DynamoDB's answer may be old, two equal sort keys may stand in
either order. So it waits until the keys have left the journal and reads both stores again (strongly, where the API
can), more than once; only what goes on differing is a mismatch, and its keys are nominated for convergence.

The rule for a mismatch: at the last look the two answers differed, by no difference that is declared or that the
mapping is known to make, and while that look lasted none of the keys was in any process's journal: this one's, or
another's, which is asked (`peers`). Then neither a write under way nor DynamoDB's own delay can have made it: a look is
strongly consistent, and an index that is behind its table is told by reading the items by key. A page that hides what
differs (a count, a filter, a projection) is looked at bare, so that keys are known, to ask about and to mend.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import orjson

from comparators.comparison import Comparison, Entry
from comparators.difference import Difference
from comparators.expected import DifferenceContext
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from comparators.shapes import TablesShape
from proxy.dynamodb.errors import DynamoDBError, serialization
from proxy.dynamodb.listing import MOST, Listing, read_listing
from proxy.dynamodb.operations import KEYLESS, LISTING, Operation, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest, read_query, read_scan
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call, LookStart
from proxy.shadow.comparison.outcome_shapes import item_shape, shape_of
from proxy.shadow.comparison.peers import NoPeers, PeerActivity
from proxy.shadow.instrumentation import VerdictSink
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.key_activity import any_key_of
from proxy.stores.errors import StoreError
from proxy.stores.interface import Store, Unrepresentable
from proxy.verdicts import LOOK_AGAIN, REFUSED, Judged, Loss, Verdict, decides, judge, overall, tells

P = TypeVar("P", PageRequest, Listing)

_LEAVE_SECONDS: Final = 1.0
# A difference of no item in particular can be judged only while nobody writes the table: a few more looks find a gap.
_GAP_LOOKS: Final = (0.2, 0.3, 0.4, 0.5)
_BATCH: Final = 100
_MOST_KEYS: Final = 200
_PLACEHOLDER: Final = re.compile(r"[#:][A-Za-z0-9_]+")
# What of a Query or Scan hides items, or parts of them, from whoever compares.
_HIDING: Final = (
    "FilterExpression",
    "QueryFilter",
    "ScanFilter",
    "ConditionalOperator",
    "ProjectionExpression",
    "AttributesToGet",
    "Select",
)


class ReadComparison:
    """Compares reads. `journal` tells which keys are being written, and takes those found to disagree; `others` tell
    what other processes write. `late` is the store whose indexes may be behind its tables: DynamoDB, on either side."""

    def __init__(
        self,
        journal: Journal,
        authority: Store,
        mirror: Store,
        findings: VerdictSink,
        others: PeerActivity | None = None,
        late: str = "dynamodb",
        nominate: Callable[[Sequence[Key]], Awaitable[None]] | None = None,
    ) -> None:
        self._journal = journal
        self._authority = authority
        self._mirror = mirror
        self._findings = findings
        self._others: PeerActivity = others or NoPeers(alone=False)
        self._authority_late = authority.name == late
        self._nominate = nominate or journal.enqueue

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        """Read from the mirror, await the authority's answer (None: it gave none), compare, record."""
        begun = self.begin()
        try:
            mirrored = None if call.operation.action == "Scan" else await self._mirror.execute(call.operation)
        except StoreError as error:
            self._fail(call, error)
            return
        await self._judge_answers(call, await answer, mirrored.outcome if mirrored is not None else None, begun)

    def begin(self) -> LookStart:
        """A look begins now."""
        return LookStart(self._journal.latest, asyncio.get_running_loop().time())

    async def compare_served(self, call: Call, mirrored: Outcome, answered: Outcome | None, begun: LookStart) -> None:
        """The mirror has served the client (`proxy.shadow.request.ramp`), who asked when it was `begun`: compare what
        it answered with the authority's answer, which is asked for now if there is none yet."""
        try:
            if answered is None:
                answered = (await self._authority.execute(call.operation)).outcome
        except StoreError:
            return  # as where the authority gave its client none
        await self._judge_answers(call, answered, mirrored, begun)

    async def _judge_answers(
        self, call: Call, answered: Outcome | None, mirrored: Outcome | None, begun: LookStart
    ) -> None:
        """`mirrored` is None for a Scan, whose page is asked for in its own way."""
        if answered is None or not decides(answered):
            return
        try:
            if mirrored is None:
                found = await self._compare_scan(call, answered)
            else:
                found = await self._compare(call, answered, mirrored)
            if found.agreed:
                self._record(call, Verdict.AGREED, reason=None if tells(answered) else REFUSED)
            else:
                await self._look_again(call, found, begun)
        except StoreError as error:
            self._fail(call, error)

    def _fail(self, call: Call, error: StoreError) -> None:
        verdict = Verdict.UNREPRESENTABLE if isinstance(error, Unrepresentable) else Verdict.MIRROR_ERROR
        self._record(call, verdict, reason=error.reason)

    async def _look_again(self, call: Call, found: Comparison, begun: LookStart) -> None:
        """`begun` says when the look that found the difference began."""
        racing, looked, parked = False, call, False
        for delay in LOOK_AGAIN:
            keys = self._keys(looked, found)
            concerned = self._tried(keys)
            parked = bool(keys) and not concerned
            if parked:
                break
            racing = racing or any(self._journal.touched(key, begun.moment) for key in concerned or _any(call))
            await self._journal.left(concerned, _LEAVE_SECONDS)
            await asyncio.sleep(delay)
            begun = self.begin()
            looked, found = await self._read_again(call, keys)
            if found.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING)
                return
        for pause in (*_GAP_LOOKS, None):
            if not parked:
                found = await self._without_late(looked, found)
            if found.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING, reason=None if racing else "index")
                return
            judged, mend = await self._judge(looked, found, begun)
            if judged or pause is None or any(each.key is not None for each in found.differences):
                break
            racing = True
            await asyncio.sleep(pause)
            begun = self.begin()
            looked, found = await self._read_again(call, self._keys(looked, found))
        self._record(call, overall(judged) if judged else Verdict.RACING, judged)
        await self._nominate(mend)

    async def _judge(self, call: Call, found: Comparison, begun: LookStart) -> tuple[list[Judged], list[Key]]:
        """What goes on differing, judged, with the keys to mend; nothing of what is being written. Where the
        differences are of several items, those that are being written tell nothing of the others."""
        losses = await self._losses(call, found)
        context = DifferenceContext(call.table.name, call.operation.action)
        judged: list[Judged] = []
        for difference in found.differences:
            loss = losses.get(_text(difference.key), Loss()) if difference.key is not None else _only(losses)
            judged.extend(judge([difference], loss, call.table.expected, context))
        told = [each for each in judged if each.verdict is not Verdict.MISMATCH]
        accused = [(each, self._about(call, each)) for each in judged if each.verdict is Verdict.MISMATCH]
        since = begun.moment
        quiet = [(each, keys) for each, keys in accused if not any(self._journal.touched(key, since) for key in keys)]
        if quiet:
            asked = list(dict.fromkeys(key for _, keys in quiet for key in keys))
            touched = (
                await self._others.recently_written(asked, asyncio.get_running_loop().time() - begun.at) or frozenset()
            )
            quiet = [(each, keys) for each, keys in quiet if touched.isdisjoint(keys)]
        if accused and not quiet:
            return [], []
        mend = dict.fromkeys(key for _, keys in quiet for key in keys if key != any_key_of(key.table))
        return [*told, *(each for each, _ in quiet)], self._tried(list(mend))

    def _about(self, call: Call, judged: Judged) -> list[Key]:
        """The keys that may have made a difference: its own, or all that the operation names, or any of its tables."""
        key = judged.difference.key
        named = _named(call.operation, key) if key is not None else list(call.operation.keys)
        return self._tried(named) or _any(call)

    def _tried(self, keys: Sequence[Key]) -> list[Key]:
        """Those that are not parked: a parked key differs, and goes on differing, for a reason that is told."""
        return [key for key in keys if self._journal.parked_reason(key) is None]

    # -- one look ---------------------------------------------------------------------------------------------------

    async def _compare(self, call: Call, answered: Outcome, mirrored: Outcome) -> Comparison:
        if _alike(answered, mirrored):
            return Comparison()
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
        try:
            page = _page(read_scan, call)
        except DynamoDBError as refusal:
            return await self._compare(call, answered, Outcome.failed(refusal))
        table = call.table
        items = [item for item in document.get("Items", ()) if all(n in item for n in table.schema.key_names)]
        found: list[Comparison] = []
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            found.append(await self._compare_by_key(call, part, page))
        return _joined(found)

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

    async def _read_again(self, call: Call, keys: Sequence[Key]) -> tuple[Call, Comparison]:
        """Both stores, read again; with the call as it was asked this time."""
        operation = call.operation
        if operation.action == "Scan" and keys:
            return call, _joined([await self._compare_stores(call, key) for key in keys])
        strong = replace(call, operation=_strongly(operation))
        if operation.action in KEYLESS:
            bare = replace(call, operation=_bare(strong.operation))
            found = await self._read_both(bare)
            if not found.agreed or bare.operation is strong.operation:
                return bare, found
        return strong, await self._read_both(strong)

    async def _read_both(self, call: Call) -> Comparison:
        answered = (await self._authority.execute(call.operation)).outcome
        if not decides(answered):
            return Comparison()
        if call.operation.action == "Scan":
            return await self._compare_scan(call, answered)
        return await self._compare(call, answered, (await self._mirror.execute(call.operation)).outcome)

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
            by_index = call.operation.request.get("IndexName") is not None
            if unlike and by_index and missing_in_mirror == self._authority_late:
                # The page that shows it may show what its index held a moment ago.
                wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
                if not compare_items(wanted, held, call.table.pick(wanted or shown)):
                    continue
            if unlike:
                differences.extend(unlike)
                differing.append(Entry(entry.key, one, two))
        return replace(found, differences=tuple(differences), differing=tuple(differing), undecided=())

    async def _without_late(self, call: Call, found: Comparison) -> Comparison:
        """What was found, without what comes of an index of DynamoDB's being behind its table; about the page itself
        nothing can be said then."""
        operation = call.operation
        if operation.action not in ("Query", LISTING) or operation.request.get("IndexName") is None:
            return found
        try:
            page = _page(read_listing, call) if operation.action == LISTING else _page(read_query, call)
        except DynamoDBError:
            return found
        late = {_text(entry.key) for entry in found.differing if await self._is_late(call, page, entry)}
        if not late:
            return found
        left = tuple(d for d in found.differences if d.key is not None and _text(d.key) not in late)
        return replace(found, differences=left, differing=tuple(e for e in found.differing if _text(e.key) not in late))

    async def _is_late(self, call: Call, page: PageRequest | Listing, entry: Entry) -> bool:
        """Whether both stores hold an item alike, and the page of the one whose indexes are prompt shows of it what it
        should, and the other's does not. An item that a late page shows at a place where it is no more may be beyond
        the other's."""
        if entry.key is None:
            return False
        key = call.table.schema.key_of(entry.key)
        wanted, held = (await self._authority.get(key)).item, (await self._mirror.get(key)).item
        rules, due = call.table.pick(wanted or held or {}), page.show(wanted)
        late, prompt = (entry.authority, entry.mirror) if self._authority_late else (entry.mirror, entry.authority)
        if compare_items(wanted, held, rules) or not compare_items(due, late, rules):
            return False
        sort = page.sort if isinstance(page, Listing) else page.schema.index_keys(page.index)[1]
        moved = late is not None and due is not None and sort is not None and late.get(sort) != due.get(sort)
        return (prompt is None and moved) or not compare_items(due, prompt, rules)

    # -- what a look concerns ---------------------------------------------------------------------------------------

    def _keys(self, call: Call, found: Comparison) -> list[Key]:
        """The keys that the differences are about; all that the operation names where they do not say."""
        operation = call.operation
        keys: dict[Key, None] = {}
        for attributes in found.keys()[:_MOST_KEYS]:
            keys.update(dict.fromkeys(_named(operation, attributes)))
        return list(keys) or list(operation.keys[:_MOST_KEYS])

    async def _losses(self, call: Call, found: Comparison) -> Mapping[str, Loss]:
        """What the mapping loses of each item that differs, by its key's text. Of an item that the mirror cannot hold
        at all, and so may hold as it was at any time before, everything."""
        losses: dict[str, Loss] = {}
        for entry in found.differing:
            attributes = entry.key or (call.operation.keys[0].attributes if len(call.operation.keys) == 1 else None)
            if attributes is None:
                continue
            for key in _named(call.operation, attributes):
                item = (await self._authority.get(key)).item
                image, _ = self._mirror.image(key, item)
                parked = self._journal.parked_reason(key) is not None
                loss = Loss(whole=True) if parked else Loss.between(item, image, call.table_of(key).pick(item or {}))
                if loss.whole or _text(attributes) not in losses:
                    losses[_text(attributes)] = loss
        return losses

    def _record(self, call: Call, verdict: Verdict, judged: Sequence[Judged] = (), reason: str | None = None) -> None:
        self._findings.record(call.operation, call.table, call.item_type, verdict, call.request_id, judged, reason)


def _page(read: Callable[[TableSchema, Mapping[str, Any]], P], call: Call) -> P:
    """What a page is to hold. Raises DynamoDBError where the mirror refuses what the authority has answered."""
    try:
        return read(call.table.schema, call.operation.request)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise serialization(type(error).__name__) from error


def _strongly(operation: Operation) -> Operation:
    """The same read, strongly consistent where the API can."""
    request = dict(operation.request)
    if operation.action == "BatchGetItem":
        request["RequestItems"] = {t: {**part, "ConsistentRead": True} for t, part in request["RequestItems"].items()}
    elif operation.action in ("GetItem", "Query", "Scan") and request.get("IndexName") is None:
        request["ConsistentRead"] = True
    request.pop("ReturnConsumedCapacity", None)
    return replace(operation, request=request, body=json_of(request))


def _bare(operation: Operation) -> Operation:
    """The same page with all of its items shown; itself where it hides nothing."""
    request = {name: value for name, value in operation.request.items() if name not in _HIDING}
    if len(request) == len(operation.request):
        return operation
    if operation.action == LISTING:
        request["Limit"] = MOST  # of what was only counted, the first
    used = set(_PLACEHOLDER.findall(request.get("KeyConditionExpression") or ""))
    for parameter in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        kept = {name: value for name, value in (request.pop(parameter, None) or {}).items() if name in used}
        request |= {parameter: kept} if kept else {}
    return replace(operation, request=request, body=json_of(request))


def _named(operation: Operation, attributes: Item) -> list[Key]:
    """The keys that some attributes may stand for: of the keys that the operation names, or of any of its tables."""
    keys = [s.key_of(attributes) for s in operation.schemas.values() if set(s.key_names) <= set(attributes)]
    return [key for key in keys if key in operation.keys] if operation.keys else keys


def _alike(answered: Outcome, mirrored: Outcome) -> bool:
    """Whether two answers are the same to the letter, as nearly all are: nothing need be told of their shape then."""
    return answered.status == mirrored.status and answered.document == mirrored.document


def _any(call: Call) -> list[Key]:
    return [any_key_of(table) for table in call.operation.tables]


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
