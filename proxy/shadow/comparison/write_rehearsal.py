"""A write, behind the client's answer: the mirror executes it by itself, and the two stores are compared.

What is compared is the outcome and what the write left. Then the keys converge, whatever was found. A write that
overlaps another on the same key says nothing either way (`racing`), so it is not rehearsed but only converged.

The rule for a mismatch: the mirror gave another outcome, or left another item, than the authority, though no other
write to the keys was under way in any process between the moment this one entered the journal and the moment both
stores had been looked at. This process's journal tells of its own writes, the others are asked (`peers`), for a write
of theirs that comes between looks like a fault of the mirror in every particular. Where they cannot be asked, what
differs is left alone for a moment, and is a mismatch only if nobody else repairs it: likely, and not certain.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from comparators.comparison import Comparison
from comparators.difference import Difference, Kind
from comparators.expectations import DifferenceContext
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call
from proxy.shadow.comparison.outcome_shapes import shape_of
from proxy.shadow.comparison.peers import NoPeers, PeerActivity
from proxy.shadow.convergence.converger import Converger
from proxy.shadow.instrumentation import VerdictSink
from proxy.shadow.journal.entries import ClaimedKey, JournalEntry
from proxy.shadow.journal.journal import Journal
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.errors import StoreError, UnknownOutcome
from proxy.stores.interface import ExecutionResult, Store, StoredItem, Unrepresentable
from proxy.verdicts import (
    RECHECK_SECONDS,
    REQUEST_REFUSED,
    JudgedDifference,
    MappingLoss,
    Verdict,
    gravest_verdict,
    is_conclusive,
    judge,
    shows_state,
)

_TOKEN_SECONDS: Final = 600.0
_TOKENS: Final = 10_000
_NOTE_SECONDS: Final = 2.0
_DECISIONS: Final = frozenset({Kind.OUTCOME, Kind.ERROR_CODE, Kind.ERROR_MESSAGE})


@dataclass(frozen=True, slots=True)
class _KeyState:
    """What the stores hold for a key: the authority's item, what the mirror would make of it, the mirror's item."""

    wanted: Item | None
    image: Item | None
    held: Item | None
    equal: bool


@dataclass(frozen=True, slots=True)
class _Finding:
    """A verdict with its differences, and the keys that were seen to be equal: they have converged."""

    verdict: Verdict
    judged: tuple[JudgedDifference, ...] = ()
    equal: frozenset[Key] = frozenset()
    reason: str | None = None


class WriteRehearsal:
    """Compares writes. The journal's ticket of each call is closed here, whatever happens.

    `alone` says that no other process writes the same tables; `others` are those that may.
    """

    def __init__(
        self,
        journal: Journal,
        authority: Store,
        mirror: Store,
        converger: Converger,
        sink: VerdictSink,
        *,
        alone: bool,
        peers: PeerActivity | None = None,
        remember_token: Callable[[IdempotencyToken], Awaitable[None]] | None = None,
    ) -> None:
        self._remember = remember_token
        self._journal = journal
        self._authority = authority
        self._mirror = mirror
        self._converger = converger
        self._sink = sink
        self._peers: PeerActivity = NoPeers(alone) if alone or peers is None else peers
        self._tokens: OrderedDict[str, float] = OrderedDict()

    def is_repeat(self, call: Call) -> bool:
        """Whether a transaction's token was seen in the last ten minutes: DynamoDB answers it and does nothing
        ("TransactWriteItems", ClientRequestToken), so there is nothing to rehearse."""
        token = call.operation.request.get("ClientRequestToken")
        if call.operation.action != "TransactWriteItems" or not isinstance(token, str):
            return False
        now = asyncio.get_running_loop().time()
        seen = self._tokens.get(token)
        self._tokens[token] = now
        self._tokens.move_to_end(token)
        if len(self._tokens) > _TOKENS:
            self._tokens.popitem(last=False)
        return seen is not None and now - seen < _TOKEN_SECONDS

    async def rehearse(self, call: Call, entry: JournalEntry, answered: Outcome) -> None:
        """Rehearse, compare, converge, record."""
        comparable = is_conclusive(answered) and not answered.document.get("UnprocessedItems")
        executed: ExecutionResult | None = None
        failed: StoreError | None = None
        claims: list[ClaimedKey] = []
        try:
            try:
                await self._remember_token(call, answered)
                if comparable and not entry.overlapped:
                    executed = await self._mirror.execute(call.operation)
            except StoreError as error:
                failed = error
                if isinstance(error, UnknownOutcome):
                    self._converger.mark_unsettled(list(entry.keys), self._mirror.name)
            finally:
                claims = self._journal.release(entry, claim=True)
            found = _Finding(Verdict.RACING)
            if isinstance(failed, Unrepresentable) and len(claims) == len(entry.keys):
                found = await self._judge_unrepresentable(call, entry, answered, failed)
            elif failed is not None:
                found = self._failure(call, failed)
            elif executed is not None and len(claims) == len(entry.keys):
                found = await self._compare_stores(call, entry, answered, executed)
            if self._journal.has_later_write(entry):
                found = _Finding(Verdict.RACING)
            while claims:
                claim = claims.pop()
                if claim.key in found.equal:
                    self._converger.mark_converged(claim)
                else:
                    await self._converger.converge(claim)
        finally:
            # Whatever happened, even a fault of ours: a key that is kept here would never converge.
            for claim in claims:
                self._journal.retry_later(claim, 0.0)
        if comparable:
            reason = found.reason or (None if shows_state(answered) else REQUEST_REFUSED)
            self._sink.record(VerdictRecord(call, found.verdict, found.judged, reason))

    async def _remember_token(self, call: Call, answered: Outcome) -> None:
        """Before the keys leave the journal: a client that asks again after a flip is to find its transaction done."""
        if self._remember is None or call.operation.action != "TransactWriteItems" or not answered.ok:
            return
        token = IdempotencyToken.of(call.operation.request)
        if token is None:
            return
        try:
            async with asyncio.timeout(_NOTE_SECONDS):
                await self._remember(token)
        except (StoreError, TimeoutError):
            return  # the mirror is away: then there will be no flip while a client still asks again

    async def _judge_unrepresentable(
        self, call: Call, entry: JournalEntry, answered: Outcome, error: Unrepresentable
    ) -> _Finding:
        """The mirror cannot hold what the write made there. That tells of the item only if the authority's is one that
        it cannot hold; else the mirror held something else before."""
        try:
            for key in entry.keys:
                if self._mirror.image(key, (await self._authority.get(key)).item)[1]:
                    return self._failure(call, error)
        except StoreError as other:
            return _Finding(Verdict.MIRROR_ERROR, reason=other.reason)
        return await self._compare_stores(call, entry, answered, None)

    async def _compare_stores(
        self, call: Call, entry: JournalEntry, answered: Outcome, executed: ExecutionResult | None
    ) -> _Finding:
        """Compare the outcomes and what was left; what was left alone, where the mirror gave no outcome."""
        try:
            looks = await self._read_both(entry.keys, executed.left if executed is not None else {})
            judged = self._judge(call, answered, executed, looks)
            equal = frozenset(key for key, look in looks.items() if look.equal)
            if gravest_verdict(judged) is Verdict.MISMATCH:
                touched = await self._peers.recently_written(entry.keys, self._journal.age(entry))
                if touched:
                    return _Finding(Verdict.RACING, equal=equal, reason="another_process")
                if touched is None and len(equal) < len(looks):
                    excused = await self._watch_for_repair(entry)
                    if excused is not None:
                        return excused
        except StoreError as error:
            return _Finding(Verdict.MIRROR_ERROR, reason=error.reason)
        return _Finding(gravest_verdict(judged), tuple(judged), equal)

    async def _watch_for_repair(self, entry: JournalEntry) -> _Finding | None:
        """Look again at what differs: if the two become equal, and it was not us who repaired, then another process
        is writing the key."""
        for delay in RECHECK_SECONDS:
            await asyncio.sleep(delay)
            if self._journal.has_later_write(entry):
                return _Finding(Verdict.RACING)
            again = await self._read_both(entry.keys, {})
            if all(look.equal for look in again.values()):
                return _Finding(Verdict.LAGGING, equal=frozenset(again))
        return None

    async def _read_both(self, keys: Iterable[Key], left: Mapping[Key, StoredItem]) -> dict[Key, _KeyState]:
        """What the two stores hold now; where the rehearsal has just written the mirror, `left` says what."""
        looks = {}
        for key in keys:
            wanted = (await self._authority.get(key)).item
            held = left[key] if key in left else await self._mirror.get(key)
            if held.item == wanted:
                looks[key] = _KeyState(wanted, wanted, wanted, equal=held.index_consistent)
                continue
            image, _ = self._mirror.image(key, wanted)
            equal = items_equal(image, held.item) and held.index_consistent and (image is not None or wanted is None)
            looks[key] = _KeyState(wanted, image, held.item, equal)
        return looks

    def _judge(
        self, call: Call, answered: Outcome, executed: ExecutionResult | None, looks: Mapping[Key, _KeyState]
    ) -> list[JudgedDifference]:
        context = DifferenceContext(call.table.name, call.operation.action)
        comparison = Comparison()
        if executed is not None:
            mirrored = executed.outcome
            comparison = compare_outcomes(
                call.operation.action,
                (answered.status, answered.document),
                (mirrored.status, mirrored.document),
                shape_of(call.operation, call.tables),
            )
        judged: list[JudgedDifference] = []
        known = MappingLoss()
        for key, look in looks.items():
            table = call.table_of(key)
            rules = table.pick(look.wanted or look.held or {})
            loss = MappingLoss.between(look.wanted, look.image, rules)
            known = loss if len(looks) == 1 else known
            found = compare_items(look.wanted, look.held, rules, key=key.attributes)
            judged.extend(judge(found, loss, table.expected, context))
        if not judged or any(d.kind in _DECISIONS for d in comparison.differences):
            # What the answers show of items differs as the items do; it is told once.
            judged[:0] = judge(comparison.differences, known, call.table.expected, context)
        return judged

    def _failure(self, call: Call, error: StoreError) -> _Finding:
        if isinstance(error, Unrepresentable):
            return _Finding(Verdict.UNREPRESENTABLE, tuple(self._losses(call, error)))
        return _Finding(Verdict.MIRROR_ERROR, reason=error.reason)

    def _losses(self, call: Call, error: Unrepresentable) -> list[JudgedDifference]:
        """One difference a fault: the mapping's way to say what it cannot hold."""
        item = call.operation.request.get("Item") or {}
        key = error.key.attributes
        judged = []
        for fault in error.faults:
            name = fault.field
            lost = Difference(name, name, Kind.MISSING, item.get(name), None, call.item_type, key=key)
            judged.append(JudgedDifference(lost, Verdict.UNREPRESENTABLE, fault.reason))
        return judged
