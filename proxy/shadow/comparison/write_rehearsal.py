"""Rehearses a write behind the client's answer: the mirror executes it by itself, and the two stores are compared.

Compared are the outcomes, and the items that the write left. Then the keys converge, whatever was found. A write that
overlaps another write to the same key is evidence for nothing (`racing`): it is not rehearsed, its keys only converge.

The rule for a mismatch:

1. The mirror gave another outcome than the authority, or was left with another item.
2. Between this write's entry in the journal and the reads of both stores, no other write to the keys was in flight in
   any process. This process's journal knows its own writes; the other processes are asked (`peers`), because a write
   of theirs in between looks exactly like a fault of the mirror.
3. Where the others cannot be asked, the difference is left alone for a while, and is a mismatch only if no other
   process repairs it. Such a mismatch is likely, not certain.
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
from proxy.off_loop import off_loop
from proxy.shadow.call import Call, wrote_nothing
from proxy.shadow.comparison.authority_reader import AuthorityReader, InconclusiveAnswer
from proxy.shadow.comparison.outcome_shapes import shape_of
from proxy.shadow.comparison.peers import PeerActivity
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
_MAX_TOKENS: Final = 10_000
_REMEMBER_SECONDS: Final = 2.0
_DECISIONS: Final = frozenset({Kind.OUTCOME, Kind.ERROR_CODE, Kind.ERROR_MESSAGE})


@dataclass(frozen=True, slots=True)
class _KeyState:
    """What the two stores hold for a key."""

    wanted: Item | None
    """The authority's item."""
    image: Item | None
    """What the mirror would give back for the authority's item."""
    held: Item | None
    """The mirror's item."""
    equal: bool
    """Whether the key has converged."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a rehearsal found."""

    verdict: Verdict
    judged: tuple[JudgedDifference, ...] = ()
    equal: frozenset[Key] = frozenset()
    """The keys that were seen to be equal: they have converged."""
    reason: str | None = None
    undisturbed: bool = False
    """Whether it is known already that no later write of this process had entered when the stores were read."""


class WriteRehearsal:
    """The rehearsal of writes, for one store as the authority. It ends the journal's entry of each write."""

    def __init__(
        self,
        journal: Journal,
        authority: Store,
        mirror: Store,
        converger: Converger,
        sink: VerdictSink,
        peers: PeerActivity,
        *,
        remember_token: Callable[[IdempotencyToken], Awaitable[None]] | None = None,
        messages: bool = False,
    ) -> None:
        """`peers` are the other processes that may write the same tables. Verdicts go to `sink`.
        `remember_token` makes the mirror answer a repeated transaction after a flip as DynamoDB would. `messages`:
        compare the words of errors too.
        """
        self._remember = remember_token
        self._journal = journal
        self._authority = AuthorityReader(authority)
        self._messages = messages
        self._mirror = mirror
        self._converger = converger
        self._sink = sink
        self._peers = peers
        self._tokens: OrderedDict[str, float] = OrderedDict()

    def is_repeat(self, call: Call) -> bool:
        """Return whether a transaction's token was seen in the last ten minutes; from now on it counts as seen.

        DynamoDB answers such a transaction and does nothing ("TransactWriteItems", ClientRequestToken), so there is
        nothing to rehearse.
        """
        token = call.operation.request.get("ClientRequestToken")
        if call.operation.action != "TransactWriteItems" or not isinstance(token, str):
            return False
        now = asyncio.get_running_loop().time()
        seen = self._tokens.get(token)
        self._tokens[token] = now
        self._tokens.move_to_end(token)
        if len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)
        return seen is not None and now - seen < _TOKEN_SECONDS

    async def rehearse(self, call: Call, entry: JournalEntry, authority_outcome: Outcome) -> None:
        """Rehearse the write, compare the stores, converge the keys and record a verdict."""
        call = call.answered_with(authority_outcome)
        comparable = is_conclusive(authority_outcome) and not authority_outcome.document.get("UnprocessedItems")
        executed: ExecutionResult | None = None
        failed: StoreError | None = None
        finding = _Finding(Verdict.RACING)
        claims: list[ClaimedKey] = []
        unchanged = False
        try:
            try:
                await self._remember_token(call, authority_outcome)
                if comparable and not entry.overlapped and not self._is_awaited(call):
                    executed = await self._mirror.execute(call.operation)
                unchanged = self._changed_nothing(call, authority_outcome, executed)
            except StoreError as error:
                failed = error
                if isinstance(error, UnknownOutcome):
                    self._converger.mark_unsettled(list(entry.keys), self._mirror.name)
            finally:
                if unchanged:
                    self._journal.withdraw(entry)
                    finding = _Finding(Verdict.RACING if executed is None else Verdict.AGREED)
                else:
                    claims = self._journal.release(entry, claim=True)
            if isinstance(failed, Unrepresentable) and len(claims) == len(entry.keys):
                finding = await self._judge_unrepresentable(call, entry, authority_outcome, failed, claims)
            elif failed is not None:
                finding = self._failure(call, failed)
            elif executed is not None and len(claims) == len(entry.keys):
                finding = await self._compare_stores(call, entry, authority_outcome, executed, claims)
            if not finding.undisturbed and self._journal.has_later_write(entry):
                finding = _Finding(Verdict.RACING)
            await self._converge(claims, finding.equal)
        finally:
            # Whatever happened, even a bug here: a key that stays claimed would never converge.
            for claim in claims:
                self._journal.retry_later(claim, 0.0)
        if comparable:
            reason = finding.reason or (None if shows_state(authority_outcome) else REQUEST_REFUSED)
            self._sink.record(VerdictRecord(call, finding.verdict, finding.judged, reason, self._mirror.name))

    def _changed_nothing(self, call: Call, authority_outcome: Outcome, executed: ExecutionResult | None) -> bool:
        """Return whether both stores refused the write alike, or the authority did and the mirror was not asked: then
        there is nothing to read, and nothing to converge."""
        if not wrote_nothing(call, self._authority.name, authority_outcome):
            return False
        return executed is None or (
            executed.outcome.without_effect and not self._judge(call, authority_outcome, executed, {})
        )

    def _is_awaited(self, call: Call) -> bool:
        """Return whether clients wait for the keys to converge: then nothing else is done with them."""
        return any(self._journal.haste.covers(table) for table in call.operation.tables)

    async def _remember_token(self, call: Call, authority_outcome: Outcome) -> None:
        """Note a transaction's token on the mirror, so that a client that repeats it after a flip finds it done.

        This must happen before the keys leave the journal, for a flip waits for them.
        """
        if self._remember is None or call.operation.action != "TransactWriteItems" or not authority_outcome.ok:
            return
        token = IdempotencyToken.of(call.operation.request)
        if token is None:
            return
        try:
            async with asyncio.timeout(_REMEMBER_SECONDS):
                await self._remember(token)
        except (StoreError, TimeoutError):
            return  # without the mirror there is no flip while a client may still repeat the transaction

    async def _judge_unrepresentable(
        self,
        call: Call,
        entry: JournalEntry,
        authority_outcome: Outcome,
        error: Unrepresentable,
        claims: list[ClaimedKey],
    ) -> _Finding:
        """Judge a write whose result the mirror cannot hold.

        It is `unrepresentable` only if the mirror cannot hold the authority's item either. Otherwise the mirror held
        another item before, and the stores are compared.
        """
        try:
            for key in entry.keys:
                if self._mirror.image(key, await self._authority.get(key))[1]:
                    return self._failure(call, error)
        except InconclusiveAnswer as other:
            return _Finding(Verdict.UNDECIDED, reason=other.reason)
        return await self._compare_stores(call, entry, authority_outcome, None, claims)

    async def _compare_stores(
        self,
        call: Call,
        entry: JournalEntry,
        authority_outcome: Outcome,
        executed: ExecutionResult | None,
        claims: list[ClaimedKey],
    ) -> _Finding:
        """Compare the outcomes and the items that the write left; only the items if the mirror gave no outcome.

        Where another process has to be asked, the keys converge first: it answers within a second, and clients may
        be waiting, because a move of stages holds writes until every key has converged.
        """
        try:
            states = await self._read_both(entry.keys, executed.left if executed is not None else {})
            if self._journal.has_later_write(entry):
                return _Finding(Verdict.RACING)
            size = len(call.operation.body)
            judged = await off_loop(size, self._judge, call, authority_outcome, executed, states)
            equal = frozenset(key for key, state in states.items() if state.equal)
            undisturbed = False
            if gravest_verdict(judged) is Verdict.MISMATCH:
                undisturbed = self._peers.can_ask
                if undisturbed:
                    await self._converge(claims, equal)
                rewritten = await self._peers.recently_written(entry.keys, self._journal.age(entry))
                if rewritten or (rewritten is None and undisturbed):
                    return _Finding(Verdict.RACING, equal=equal, reason="another_process")
                if rewritten is None and len(equal) < len(states):
                    repaired = await self._watch_for_repair(entry)
                    if repaired is not None:
                        return repaired
        except InconclusiveAnswer as error:
            return _Finding(Verdict.UNDECIDED, reason=error.reason)
        except StoreError as error:
            return _Finding(Verdict.MIRROR_ERROR, reason=error.reason)
        return _Finding(gravest_verdict(judged), tuple(judged), equal, undisturbed=undisturbed)

    async def _converge(self, claims: list[ClaimedKey], equal: frozenset[Key]) -> None:
        """Converge the claimed keys and empty the list. Of `equal` keys it is known that they have converged."""
        while claims:
            claim = claims.pop()
            if claim.key in equal:
                self._converger.mark_converged(claim)
            else:
                await self._converger.converge(claim)

    async def _watch_for_repair(self, entry: JournalEntry) -> _Finding | None:
        """Read again what differs. If the stores become equal, another process has repaired them, for this one has not;
        then return a finding, otherwise None. When clients begin to wait for the keys, end undecided."""
        for delay in RECHECK_SECONDS:
            awaited = await self._journal.haste.pause(entry.keys[0].table, delay)
            if awaited or self._journal.has_later_write(entry):
                return _Finding(Verdict.RACING)
            states = await self._read_both(entry.keys, {})
            if all(state.equal for state in states.values()):
                return _Finding(Verdict.LAGGING, equal=frozenset(states))
        return None

    async def _read_both(self, keys: Iterable[Key], left: Mapping[Key, StoredItem]) -> dict[Key, _KeyState]:
        """Return what the two stores hold now. `left` is what the rehearsal has just written to the mirror, by key."""
        states = {}
        for key in keys:
            wanted = await self._authority.get(key)
            held = left[key] if key in left else await self._mirror.get(key)
            if held.item == wanted:
                states[key] = _KeyState(wanted, wanted, wanted, equal=held.index_consistent)
                continue
            image, _ = self._mirror.image(key, wanted)
            equal = items_equal(image, held.item) and held.index_consistent and (image is not None or wanted is None)
            states[key] = _KeyState(wanted, image, held.item, equal)
        return states

    def _judge(
        self, call: Call, authority_outcome: Outcome, executed: ExecutionResult | None, states: Mapping[Key, _KeyState]
    ) -> list[JudgedDifference]:
        context = DifferenceContext(call.table.name, call.operation.action)
        comparison = Comparison()
        if executed is not None:
            mirror_outcome = executed.outcome
            comparison = compare_outcomes(
                call.operation.action,
                (authority_outcome.status, authority_outcome.document),
                (mirror_outcome.status, mirror_outcome.document),
                shape_of(call.operation, call.tables),
                messages=self._messages,
            )
        judged: list[JudgedDifference] = []
        loss_of_only_key = MappingLoss()
        for key, state in states.items():
            table = call.table_of(key)
            rules = table.pick(state.wanted or state.held or {})
            loss = MappingLoss.between(state.wanted, state.image, rules)
            loss_of_only_key = loss if len(states) == 1 else loss_of_only_key
            finding = compare_items(state.wanted, state.held, rules, key=key.attributes)
            judged.extend(judge(finding, loss, table.expected, context))
        if not judged or any(d.kind in _DECISIONS for d in comparison.differences):
            # The answers show items, which differ as the items themselves do: each difference is reported once.
            judged[:0] = judge(comparison.differences, loss_of_only_key, call.table.expected, context)
        return judged

    def _failure(self, call: Call, error: StoreError) -> _Finding:
        if isinstance(error, Unrepresentable):
            return _Finding(Verdict.UNREPRESENTABLE, tuple(self._losses(call, error)))
        return _Finding(Verdict.MIRROR_ERROR, reason=error.reason)

    def _losses(self, call: Call, error: Unrepresentable) -> list[JudgedDifference]:
        """Return one difference for each fault that the mapping reports."""
        item = call.operation.request.get("Item") or {}
        key = error.key.attributes
        judged = []
        for fault in error.faults:
            name = fault.field
            lost = Difference(name, name, Kind.MISSING, item.get(name), None, call.item_type, key=key)
            judged.append(JudgedDifference(lost, Verdict.UNREPRESENTABLE, fault.reason))
        return judged
