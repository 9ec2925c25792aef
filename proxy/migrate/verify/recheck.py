"""Rechecks keys that seemed to differ until they agree or `patience` has passed; repairs them on request.

Traffic continues while a table is verified, so a key may still be converging. A key differs only if both stores, read
with strong consistency, still differed at the last recheck, and the authority did not change during it. The comparators
compare; `shadow.convergence` repairs.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from comparators.difference import Difference, Kind
from comparators.expectations import DifferenceContext, find_expectation
from comparators.items import compare_items
from comparators.redact import Redactor
from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs.cancellation import StopRequest, StopRequestedError
from proxy.migrate.table_jobs.concurrently import run_concurrently
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.table_authority import AuthorityMovedError
from proxy.shadow.convergence.converge import converge
from proxy.stores.errors import StoreError, UnknownOutcome
from proxy.stores.interface import Store, StoredItem, Unrepresentable
from proxy.stores.table_registry import Table

_FIRST_WAIT: Final = 0.2
_REPAIRS_AT_ONCE: Final = 8
_KEYS_A_UNIT: Final = 200
OPERATION: Final = "Verify"


class KeyResult(StrEnum):
    """What a sweep found for one key."""

    AGREED = "agreed"
    MISSING = "missing"  # the authority has the item, the mirror does not
    EXTRA = "extra"  # the mirror has the item, the authority does not
    DIFFERENT = "different"
    UNREPRESENTABLE = "unrepresentable"  # the mapping cannot hold the item
    EXPECTED = "expected"  # it differs as the configuration declares and explains
    RACING = "racing"  # it was written during each recheck: undecided


@dataclass(frozen=True, slots=True)
class SweepFinding:
    """The finding for one key. `repaired` is None if no repair was tried."""

    key: Key
    result: KeyResult
    item_type: str
    differences: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()
    repaired: bool | None = None

    def document(self, redactor: Redactor, *, values: bool, declared: Collection[str] = ()) -> dict[str, Any]:
        key, table = self.key.attributes, self.key.table
        return {
            "key": redactor.show_key(key, values, table),
            "result": str(self.result),
            "type": self.item_type,
            "differences": [redactor.show(each, values, table=table, declared=declared) for each in self.differences],
            "reasons": list(self.reasons),
            "repaired": self.repaired,
        }


ReadMany = Callable[[Sequence[Key]], Awaitable[dict[Key, StoredItem]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStore:
    """One of the two stores that a recheck compares."""

    store: Store
    """Says what it would hold for an item, and converges single keys."""
    read_many: ReadMany
    """Reads many keys with strong consistency, and returns an entry for each. Raises StoreError."""


class Rechecker:
    """A rechecker of keys of one table.

    `patience` is in seconds. `participant` allows repairs; None means that nothing is repaired. `settle_seconds` is the
    mirror's settle time. After a stop request, StopRequestedError is raised when the step under way is done.
    """

    def __init__(
        self,
        table: Table,
        authority: ComparedStore,
        mirror: ComparedStore,
        *,
        patience: float,
        participant: JobParticipant | None = None,
        settle_seconds: float = 0.0,
        stop: StopRequest | None = None,
    ) -> None:
        self._table = table
        self._authority = authority.store
        self._mirror = mirror.store
        self._read_authority = authority.read_many
        self._read_mirror = mirror.read_many
        self._patience = patience
        self._participant = participant
        self._settle_seconds = settle_seconds
        self._stop = stop or StopRequest()

    async def recheck(self, keys: Sequence[Key]) -> list[SweepFinding]:
        """Return a finding for each key. Raises StoreError and StopRequestedError."""
        last: dict[Key, SweepFinding] = {}
        waiting = list(dict.fromkeys(keys))
        until = time.monotonic() + self._patience
        wait = _FIRST_WAIT
        while True:
            for finding in await self._compare_once(waiting):
                last[finding.key] = finding
            waiting = [key for key in waiting if last[key].result in _UNSETTLED]
            left = until - time.monotonic()
            if not waiting or left <= 0:
                break
            if await self._stop.wait(min(wait, left)):
                raise StopRequestedError
            wait *= 2
        findings = [last[key] for key in dict.fromkeys(keys)]
        wrong = [each for each in findings if each.result in _DIFFERING]
        if self._participant is None or not wrong:
            return findings
        if self._stop():
            raise StopRequestedError
        repaired: dict[Key, SweepFinding] = {}
        # Few keys a unit, because a flip waits for the unit.
        for some in (wrong[first : first + _KEYS_A_UNIT] for first in range(0, len(wrong), _KEYS_A_UNIT)):
            async with self._participant.write_unit(len(some)):
                repaired |= await self._repair(self._participant, some)
        return [repaired.get(each.key, each) for each in findings]

    async def _compare_once(self, keys: Sequence[Key]) -> list[SweepFinding]:
        before = await self._read_authority(keys)
        held = await self._read_mirror(keys)
        findings = [self._compare(key, before[key], held[key]) for key in keys]
        doubtful = [each.key for each in findings if each.result in _DIFFERING]
        if doubtful:
            after = await self._read_authority(doubtful)
            moved = {key for key in doubtful if not items_equal(before[key].item, after[key].item)}
            findings = [
                SweepFinding(each.key, KeyResult.RACING, each.item_type) if each.key in moved else each
                for each in findings
            ]
        return findings

    def _compare(self, key: Key, truth: StoredItem, held: StoredItem) -> SweepFinding:
        wanted = truth.item
        item_type = self._table.mapping.type_of(wanted or held.item or key.attributes)
        unreadable = truth.unreadable or held.unreadable
        if unreadable is not None:
            reason = f"the row in DSQL cannot be read as an item: {unreadable}"
            return SweepFinding(key, KeyResult.DIFFERENT, item_type, reasons=(reason,))
        image, faults = self._mirror.image(key, wanted)
        if image is None and wanted is not None:
            reasons = tuple(f"{fault.field}: {fault.reason}" for fault in faults)
            return SweepFinding(key, KeyResult.UNREPRESENTABLE, item_type, reasons=reasons)
        differences = () if items_equal(image, held.item) else self._differences(key, image, held.item)
        if not differences:
            if held.index_consistent:
                return SweepFinding(key, KeyResult.AGREED, item_type)
            reason = "its columns are not what this mapping writes for the item"
            return SweepFinding(key, KeyResult.DIFFERENT, item_type, reasons=(reason,))
        context = DifferenceContext(self._table.name, OPERATION)
        if all(find_expectation(self._table.expected, each, context) is not None for each in differences):
            return SweepFinding(key, KeyResult.EXPECTED, item_type, differences)
        # The path "" means the item as a whole.
        whole = differences[0].kind if not differences[0].path else None
        return SweepFinding(key, _RESULT_OF_KIND.get(whole, KeyResult.DIFFERENT), item_type, differences)

    def _differences(self, key: Key, authority: Item | None, mirror: Item | None) -> tuple[Difference, ...]:
        rules = self._table.pick(authority or mirror or {})
        return compare_items(authority, mirror, rules, key=key.attributes)

    async def _repair(self, participant: JobParticipant, findings: Sequence[SweepFinding]) -> dict[Key, SweepFinding]:
        done: dict[Key, SweepFinding] = {}

        async def one(finding: SweepFinding) -> None:
            done[finding.key] = await self._repair_one(participant, finding)

        await run_concurrently(findings, one, _REPAIRS_AT_ONCE)
        return done

    async def _repair_one(self, participant: JobParticipant, finding: SweepFinding) -> SweepFinding:
        reasons: Iterable[str] = finding.reasons
        if not participant.is_responsible_for(finding.item_type):
            reasons = (*reasons, f"not repaired: {self._authority.name} is not the authority for its type")
            return replace(finding, reasons=tuple(reasons), repaired=False)
        try:
            await converge(finding.key, self._authority, participant.mirror)
        except Unrepresentable as error:
            reasons = (*reasons, *(f"{fault.field}: {fault.reason}" for fault in error.faults))
            repaired = False
        except AuthorityMovedError:
            raise
        except StoreError as error:
            if isinstance(error, UnknownOutcome):
                participant.unsettle(finding.key.text, self._settle_seconds)
            # A key that cannot be repaired now is reported; the others are repaired all the same.
            reasons = (*reasons, f"not repaired: {error.reason}")
            repaired = False
        else:
            repaired = True
        return replace(finding, reasons=tuple(reasons), repaired=repaired)


_RESULT_OF_KIND: Final[dict[Kind | None, KeyResult]] = {Kind.MISSING: KeyResult.MISSING, Kind.EXTRA: KeyResult.EXTRA}
_DIFFERING: Final = frozenset({KeyResult.MISSING, KeyResult.EXTRA, KeyResult.DIFFERENT})
_UNSETTLED: Final = _DIFFERING | {KeyResult.RACING}
