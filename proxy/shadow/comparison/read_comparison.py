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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from comparators.comparison import Comparison
from comparators.expectations import DifferenceContext
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call, ComparisonStart
from proxy.shadow.comparison.paired_reader import PairedReader, text_of_key
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

_LEAVE_SECONDS: Final = 1.0
# A difference of no item in particular can be judged only while nobody writes the table: a few more looks find a gap.
_QUIET_SECONDS: Final = (0.2, 0.3, 0.4, 0.5)
_MOST_KEYS: Final = 200


class ReadComparison:
    """Compares reads. `journal` tells which keys are being written, and takes those found to disagree; `others` tell
    what other processes write. `late` is the store whose indexes may be behind its tables: DynamoDB, on either side."""

    def __init__(
        self,
        journal: Journal,
        authority: Store,
        mirror: Store,
        sink: VerdictSink,
        peers: PeerActivity | None = None,
        late: str = "dynamodb",
        nominate: Callable[[Sequence[Key]], Awaitable[None]] | None = None,
    ) -> None:
        self._journal = journal
        self._authority = authority
        self._mirror = mirror
        self._sink = sink
        self._peers: PeerActivity = peers or NoPeers(alone=False)
        self._pair = PairedReader(authority, mirror, late)
        self._nominate = nominate or journal.enqueue

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        """Read from the mirror, await the authority's answer (None: it gave none), compare, record."""
        begun = self.start()
        try:
            mirrored = None if call.operation.action == "Scan" else await self._mirror.execute(call.operation)
        except StoreError as error:
            self._record_failure(call, error)
            return
        await self._compare_outcomes(call, await answer, mirrored.outcome if mirrored is not None else None, begun)

    def start(self) -> ComparisonStart:
        """A look begins now."""
        return ComparisonStart(self._journal.sequence, asyncio.get_running_loop().time())

    async def compare_served(
        self, call: Call, mirrored: Outcome, answered: Outcome | None, begun: ComparisonStart
    ) -> None:
        """The mirror has served the client (`proxy.shadow.request.ramp`), who asked when it was `begun`: compare what
        it answered with the authority's answer, which is asked for now if there is none yet."""
        try:
            if answered is None:
                answered = (await self._authority.execute(call.operation)).outcome
        except StoreError:
            return  # as where the authority gave its client none
        await self._compare_outcomes(call, answered, mirrored, begun)

    async def _compare_outcomes(
        self, call: Call, answered: Outcome | None, mirrored: Outcome | None, begun: ComparisonStart
    ) -> None:
        """`mirrored` is None for a Scan, whose page is asked for in its own way."""
        if answered is None or not is_conclusive(answered):
            return
        try:
            if mirrored is None:
                found = await self._pair.compare_scan(call, answered)
            else:
                found = await self._pair.compare(call, answered, mirrored)
            if found.agreed:
                self._record(call, Verdict.AGREED, reason=None if shows_state(answered) else REQUEST_REFUSED)
            else:
                await self._recheck(call, found, begun)
        except StoreError as error:
            self._record_failure(call, error)

    def _record_failure(self, call: Call, error: StoreError) -> None:
        verdict = Verdict.UNREPRESENTABLE if isinstance(error, Unrepresentable) else Verdict.MIRROR_ERROR
        self._record(call, verdict, reason=error.reason)

    async def _recheck(self, call: Call, found: Comparison, begun: ComparisonStart) -> None:
        """`begun` says when the look that found the difference began."""
        racing, looked, parked = False, call, False
        for delay in RECHECK_SECONDS:
            keys = self._keys_of(looked, found)
            concerned = self._without_parked(keys)
            parked = bool(keys) and not concerned
            if parked:
                break
            racing = racing or any(
                self._journal.active_since(key, begun.sequence) for key in concerned or _any_keys(call)
            )
            await self._journal.wait_until_absent(concerned, _LEAVE_SECONDS)
            await asyncio.sleep(delay)
            begun = self.start()
            looked, found = await self._pair.read_again(call, keys)
            if found.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING)
                return
        for pause in (*_QUIET_SECONDS, None):
            if not parked:
                found = await self._pair.without_index_delay(looked, found)
            if found.agreed:
                self._record(call, Verdict.RACING if racing else Verdict.LAGGING, reason=None if racing else "index")
                return
            judged, mend = await self._judge(looked, found, begun)
            if judged or pause is None or any(each.key is not None for each in found.differences):
                break
            racing = True
            await asyncio.sleep(pause)
            begun = self.start()
            looked, found = await self._pair.read_again(call, self._keys_of(looked, found))
        self._record(call, gravest_verdict(judged) if judged else Verdict.RACING, judged)
        await self._nominate(mend)

    async def _judge(
        self, call: Call, found: Comparison, begun: ComparisonStart
    ) -> tuple[list[JudgedDifference], list[Key]]:
        """What goes on differing, judged, with the keys to mend; nothing of what is being written. Where the
        differences are of several items, those that are being written tell nothing of the others."""
        losses = await self._losses(call, found)
        context = DifferenceContext(call.table.name, call.operation.action)
        judged: list[JudgedDifference] = []
        for difference in found.differences:
            loss = (
                losses.get(text_of_key(difference.key), MappingLoss())
                if difference.key is not None
                else _single_loss(losses)
            )
            judged.extend(judge([difference], loss, call.table.expected, context))
        told = [each for each in judged if each.verdict is not Verdict.MISMATCH]
        accused = [(each, self._suspect_keys(call, each)) for each in judged if each.verdict is Verdict.MISMATCH]
        since = begun.sequence
        quiet = [
            (each, keys) for each, keys in accused if not any(self._journal.active_since(key, since) for key in keys)
        ]
        if quiet:
            asked = list(dict.fromkeys(key for _, keys in quiet for key in keys))
            touched = (
                await self._peers.recently_written(asked, asyncio.get_running_loop().time() - begun.loop_time)
                or frozenset()
            )
            quiet = [(each, keys) for each, keys in quiet if touched.isdisjoint(keys)]
        if accused and not quiet:
            return [], []
        mend = dict.fromkeys(key for _, keys in quiet for key in keys if key != any_key_of(key.table))
        return [*told, *(each for each, _ in quiet)], self._without_parked(list(mend))

    def _suspect_keys(self, call: Call, judged: JudgedDifference) -> list[Key]:
        """The keys that may have made a difference: its own, or all that the operation names, or any of its tables."""
        key = judged.difference.key
        named = _keys_named_by(call.operation, key) if key is not None else list(call.operation.keys)
        return self._without_parked(named) or _any_keys(call)

    def _without_parked(self, keys: Sequence[Key]) -> list[Key]:
        """Those that are not parked: a parked key differs, and goes on differing, for a reason that is told."""
        return [key for key in keys if self._journal.parked_reason(key) is None]

    # -- what a look concerns ---------------------------------------------------------------------------------------

    def _keys_of(self, call: Call, found: Comparison) -> list[Key]:
        """The keys that the differences are about; all that the operation names where they do not say."""
        operation = call.operation
        keys: dict[Key, None] = {}
        for attributes in found.keys()[:_MOST_KEYS]:
            keys.update(dict.fromkeys(_keys_named_by(operation, attributes)))
        return list(keys) or list(operation.keys[:_MOST_KEYS])

    async def _losses(self, call: Call, found: Comparison) -> Mapping[str, MappingLoss]:
        """What the mapping loses of each item that differs, by its key's text. Of an item that the mirror cannot hold
        at all, and so may hold as it was at any time before, everything."""
        losses: dict[str, MappingLoss] = {}
        for entry in found.differing:
            attributes = entry.key or (call.operation.keys[0].attributes if len(call.operation.keys) == 1 else None)
            if attributes is None:
                continue
            for key in _keys_named_by(call.operation, attributes):
                item = (await self._authority.get(key)).item
                image, _ = self._mirror.image(key, item)
                parked = self._journal.parked_reason(key) is not None
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
        self._sink.record(VerdictRecord(call, verdict, tuple(judged), reason))


def _keys_named_by(operation: Operation, attributes: Item) -> list[Key]:
    """The keys that some attributes may stand for: of the keys that the operation names, or of any of its tables."""
    keys = [s.key_of(attributes) for s in operation.schemas.values() if set(s.key_names) <= set(attributes)]
    return [key for key in keys if key in operation.keys] if operation.keys else keys


def _any_keys(call: Call) -> list[Key]:
    return [any_key_of(table) for table in call.operation.tables]


def _single_loss(losses: Mapping[str, MappingLoss]) -> MappingLoss:
    return next(iter(losses.values())) if len(losses) == 1 else MappingLoss()
