"""Compares a read behind the client's answer: the mirror reads at the same time, and what differs is read again.

A first difference says little: the key may be in flight, DynamoDB's answer may be stale, two items with equal sort keys
may come in either order. So the comparison waits until the keys have left the journal and reads both stores again, more
than once, strongly consistently where the API allows it. Only what still differs is a mismatch, and its keys are
nominated for convergence.

The rule for a mismatch:

1. In the last pair of reads the answers differed, and the difference is neither declared nor a known loss of the
   mapping.
2. While that pair was read, none of the keys was in any process's journal: neither in this one's, nor in another's,
   which is asked (`peers`). So no write in flight can explain the difference.
3. The reads were strongly consistent, and an index that is behind its table was recognized by reading its items by key.
   So DynamoDB's own delay cannot explain it either.

A page that hides what differs (by a count, a filter or a projection) is read again without these, so that the keys are
known: to ask about them, and to repair them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from comparators.comparison import Comparison
from comparators.expectations import DifferenceContext
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call, ComparisonStart
from proxy.shadow.comparison.authority_reader import AuthorityReader, InconclusiveAnswer
from proxy.shadow.comparison.expired_items import ExpiredItems
from proxy.shadow.comparison.index_delays import IndexDelays
from proxy.shadow.comparison.paired_reader import PairedReader, text_of_key, without_keys
from proxy.shadow.comparison.peers import NoPeers, PeerActivity
from proxy.shadow.instrumentation import VerdictSink
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.key_activity import any_key_of
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.errors import StoreError
from proxy.stores.interface import Store, Unrepresentable
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

_DEPARTURE_SECONDS: Final = 1.0
# A difference that belongs to no item can be judged only while nobody writes the table: a few more reads find a pause.
_QUIET_SECONDS: Final = (0.2, 0.3, 0.4, 0.5)
_MAX_KEYS: Final = 200


class ReadComparison:
    """The comparison of reads, for one store as the authority."""

    def __init__(
        self,
        journal: Journal,
        authority: Store,
        mirror: Store,
        sink: VerdictSink,
        peers: PeerActivity | None = None,
        nominate: Callable[[Sequence[Key]], Awaitable[None]] | None = None,
        *,
        messages: bool = False,
        expiry_attribute: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`journal` says which keys this process is writing, `peers` which keys other processes are. Verdicts go to
        `sink`. `nominate` takes the keys that disagree; by default the journal does. `messages`: compare the words of
        errors too. `expiry_attribute` says by which attribute a table's items expire.
        """
        self._journal = journal
        self._authority = AuthorityReader(authority)
        self._mirror = mirror
        self._sink = sink
        self._peers: PeerActivity = peers or NoPeers(alone=False)
        self._delays = IndexDelays(journal, self._peers)
        self._pair = PairedReader(authority, mirror, messages=messages)
        self._nominate = nominate or journal.enqueue
        self._expired = ExpiredItems(self._authority, mirror, expiry_attribute)

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        """Read from the mirror, await the authority's answer (None if it gave none), compare them and record a
        verdict."""
        started = self.start()
        try:
            mirror_outcome = None if call.operation.action == "Scan" else await self._mirror.execute(call.operation)
        except StoreError as error:
            self._record_failure(call, error)
            return
        await self._compare_outcomes(
            call, await answer, mirror_outcome.outcome if mirror_outcome is not None else None, started
        )

    def start(self) -> ComparisonStart:
        """Note that a comparison begins now."""
        return ComparisonStart(self._journal.sequence, asyncio.get_running_loop().time())

    async def compare_served(
        self, call: Call, mirror_outcome: Outcome, authority_outcome: Outcome | None, started: ComparisonStart
    ) -> None:
        """Compare what the mirror answered a client on the ramp with the authority's answer.

        `started` is when the client asked. The authority is called now if `authority_outcome` is None.
        """
        try:
            if authority_outcome is None:
                authority_outcome = await self._authority.execute(call.operation)
        except InconclusiveAnswer:
            return  # as if the authority had given a client no answer
        await self._compare_outcomes(call, authority_outcome, mirror_outcome, started, served=True)

    async def _compare_outcomes(
        self,
        call: Call,
        authority_outcome: Outcome | None,
        mirror_outcome: Outcome | None,
        started: ComparisonStart,
        *,
        served: bool = False,
    ) -> None:
        """`mirror_outcome` is None for a Scan: its page is read from the mirror in another way. `served`: the mirror
        has answered the client, or the call has the client's request id already."""
        if authority_outcome is None or not is_conclusive(authority_outcome):
            return
        call = call if served else call.answered_with(authority_outcome)
        comparison: Comparison | None = None
        try:
            if mirror_outcome is None:
                comparison = await self._pair.compare_scan(call, authority_outcome)
            else:
                comparison = await self._pair.compare(call, authority_outcome, mirror_outcome)
            if not comparison.agreed:
                await self._recheck(call, comparison, started)
            elif comparison.uncompared and not comparison.compared:
                # A batch that left its keys unprocessed, or a page whose items show no key to read them by.
                batch = call.operation.action == "BatchGetItem"
                self._record(call, Verdict.UNDECIDED, reason="unprocessed" if batch else "no_key")
            else:
                self._record(call, Verdict.AGREED, reason=None if shows_state(authority_outcome) else REQUEST_REFUSED)
        except InconclusiveAnswer as error:
            self._record(call, Verdict.UNDECIDED, reason=error.reason)
            if comparison is not None:
                # Nobody will look again, and the mirror may be at fault.
                await self._nominate(self._without_parked(self._keys_of(call, comparison)))
        except StoreError as error:
            self._record_failure(call, error)

    def _record_failure(self, call: Call, error: StoreError) -> None:
        verdict = Verdict.UNREPRESENTABLE if isinstance(error, Unrepresentable) else Verdict.MIRROR_ERROR
        self._record(call, verdict, reason=error.reason)

    async def _recheck(self, call: Call, comparison: Comparison, started: ComparisonStart) -> None:
        """Read again until the stores agree or the difference can be judged. `started` is when the first pair of reads
        began. Raises InconclusiveAnswer if the authority did not answer the last look."""
        racing, reread, parked = False, call, False
        unanswered: InconclusiveAnswer | None = None
        for delay in RECHECK_SECONDS:
            keys = self._keys_of(reread, comparison)
            unparked = self._without_parked(keys)
            parked = bool(keys) and not unparked
            if parked:
                break
            racing = racing or any(
                self._journal.active_since(key, started.sequence) for key in unparked or _any_keys(call)
            )
            await self._journal.wait_until_absent(unparked, _DEPARTURE_SECONDS)
            await asyncio.sleep(delay)
            started = self.start()
            try:
                reread, comparison = await self._pair.read_again(call, keys)
                unanswered = None
            except InconclusiveAnswer as error:
                unanswered = error
                continue
            if comparison.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING)
                return
        if unanswered is not None:
            raise unanswered
        for pause in (*_QUIET_SECONDS, None):
            if not parked:
                comparison = await self._without_index_delay(reread, comparison)
            if comparison.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING, reason=None if racing else "index")
                return
            judged, repairs = await self._judge(reread, comparison, started)
            if judged or pause is None or any(each.key is not None for each in comparison.differences):
                break
            racing = True
            await asyncio.sleep(pause)
            started = self.start()
            reread, comparison = await self._pair.read_again(call, self._keys_of(reread, comparison))
        self._record(call, gravest_verdict(judged) if judged else Verdict.RACING, judged)
        await self._nominate(repairs)

    async def _judge(
        self, call: Call, comparison: Comparison, started: ComparisonStart
    ) -> tuple[list[JudgedDifference], list[Key]]:
        """Return the differences that can be judged, with their verdicts, and the keys to repair.

        A mismatch of an item that was being written is left out; it says nothing about the other items. If every
        mismatch is, nothing is returned.
        """
        losses = await self._losses(call, comparison)
        context = DifferenceContext(call.table.name, call.operation.action)
        judged: list[JudgedDifference] = []
        for difference in comparison.differences:
            loss = (
                losses.get(text_of_key(difference.key), MappingLoss())
                if difference.key is not None
                else _single_loss(losses)
            )
            judged.extend(judge([difference], loss, call.table.expected, context))
        explained = [each for each in judged if each.verdict is not Verdict.MISMATCH]
        mismatches = [(each, self._suspect_keys(call, each)) for each in judged if each.verdict is Verdict.MISMATCH]
        expired, mismatches, left_over = await self._expired.explain(mismatches)
        explained += expired
        since = started.sequence
        confirmed = [
            (each, keys) for each, keys in mismatches if not any(self._journal.active_since(key, since) for key in keys)
        ]
        if confirmed:
            suspects = list(dict.fromkeys(key for _, keys in confirmed for key in keys))
            rewritten = (
                await self._peers.recently_written(suspects, asyncio.get_running_loop().time() - started.loop_time)
                or frozenset()
            )
            confirmed = [(each, keys) for each, keys in confirmed if rewritten.isdisjoint(keys)]
        if mismatches and not confirmed:
            return [], []
        repairs = dict.fromkeys(key for _, keys in confirmed for key in keys if key != any_key_of(key.table))
        repairs |= dict.fromkeys(left_over)
        return [*explained, *(each for each, _ in confirmed)], self._without_parked(list(repairs))

    async def _without_index_delay(self, call: Call, comparison: Comparison) -> Comparison:
        """Return the comparison without the differences of an index that is behind its table, unless that lasts."""
        late = await self._pair.index_delays(call, comparison)
        if not late:
            return comparison
        lasting = await self._delays.lasting(str(call.operation.request.get("IndexName")), late)
        return without_keys(call, comparison, late.keys() - lasting)

    def _suspect_keys(self, call: Call, judged: JudgedDifference) -> list[Key]:
        """Return the keys that may have caused a difference: its own, or those that the operation names, or
        `any_key_of` each of its tables."""
        key = judged.difference.key
        named = _keys_named_by(call.operation, key) if key is not None else list(call.operation.keys)
        return self._without_parked(named) or _any_keys(call)

    def _without_parked(self, keys: Sequence[Key]) -> list[Key]:
        """Return the keys that are not parked: a parked key differs for a reason that has been reported."""
        return [key for key in keys if self._journal.parked.reason_of(key) is None]

    # -- keys and losses --------------------------------------------------------------------------------------------

    def _keys_of(self, call: Call, comparison: Comparison) -> list[Key]:
        """Return the keys that the differences are about; those that the operation names if the differences show
        none."""
        operation = call.operation
        keys: dict[Key, None] = {}
        for attributes in comparison.keys()[:_MAX_KEYS]:
            keys.update(dict.fromkeys(_keys_named_by(operation, attributes)))
        return list(keys) or list(operation.keys[:_MAX_KEYS])

    async def _losses(self, call: Call, comparison: Comparison) -> Mapping[str, MappingLoss]:
        """Return what the mapping loses of each item that differs, by the text of its key.

        Of an item that the mirror cannot hold at all, everything: the mirror may hold any earlier version of it.
        """
        losses: dict[str, MappingLoss] = {}
        for entry in comparison.differing:
            attributes = entry.key or (call.operation.keys[0].attributes if len(call.operation.keys) == 1 else None)
            if attributes is None:
                continue
            for key in _keys_named_by(call.operation, attributes):
                item = await self._authority.get(key)
                image, _ = self._mirror.image(key, item)
                parked = self._journal.parked.reason_of(key) is not None
                loss = (
                    MappingLoss(whole=True)
                    if parked
                    else MappingLoss.between(item, image, call.table_of(key).pick(item or {}))
                )
                if loss.whole or text_of_key(attributes) not in losses:
                    losses[text_of_key(attributes)] = loss
        return losses

    def _record(
        self, call: Call, verdict: Verdict, judged: Sequence[JudgedDifference] = (), reason: str | None = None
    ) -> None:
        self._sink.record(VerdictRecord(call, verdict, tuple(judged), reason, self._mirror.name))


def _keys_named_by(operation: Operation, attributes: Item) -> list[Key]:
    """Return the keys that some attributes may be: of those that the operation names, or else of any of its tables."""
    keys = [s.key_of(attributes) for s in operation.schemas.values() if set(s.key_names) <= set(attributes)]
    return [key for key in keys if key in operation.keys] if operation.keys else keys


def _any_keys(call: Call) -> list[Key]:
    return [any_key_of(table) for table in call.operation.tables]


def _single_loss(losses: Mapping[str, MappingLoss]) -> MappingLoss:
    return next(iter(losses.values())) if len(losses) == 1 else MappingLoss()
