"""Keeps DSQL's record of the authority: what one process writes to it, and when.

It pairs a stage table with a database at their first use, declares tables as they are met, settles the mappings in
force, raises the pulse, and records the moves of the authority: before the commit that one is under way, after it that
it is done, and for whoever has died meanwhile, too. Decides no move, and judges nobody.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from proxy.cutover.authority.beliefs import Beliefs, WatchedTables
from proxy.cutover.authority.judgement import can_pair, pinned_elsewhere
from proxy.cutover.authority.pair import NewId, pair_once, pair_pinned
from proxy.cutover.flip.active_move import read_state
from proxy.cutover.flip.protocol import Phase, StageTableState
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import DSQL, Scope, Stages
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, AuthorityRecords, RecordedMove
from proxy.stores.errors import Refused

log = structlog.get_logger(__name__)

PULSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The stage table at one moment."""

    known: StageTableState
    """The stages, and the move under way."""
    pulse: int
    """The pulse that DSQL's record is known to have reached."""


class RecordKeeper:
    """The hand of one process at the record. `step` until there is nothing left to write."""

    def __init__(
        self,
        records: AuthorityRecords,
        table: StageTable | None,
        stages: Stages,
        tables: WatchedTables,
        *,
        process: str,
        lease_seconds: float,
        clock: Callable[[], float],
        identify: NewId,
    ) -> None:
        """As `AuthorityWatch` has them."""
        self.recorded_flip = ""
        """The id of the flip that this process has seen on record."""
        self.flip_problem = ("", "")
        """The id of a flip that this process cannot record, and why."""
        self._records = records
        self._table = table
        self._stages = stages
        self._tables = tables
        self._process = process
        self._seconds = lease_seconds
        self._clock = clock
        self._identify = identify
        self._pulsed_at = float("-inf")

    async def now(self) -> Moment | None:
        """Read the stage table; None where the stages are pinned. Raises StoreError."""
        if self._table is None:
            return None
        known = await read_state(self._table)
        return Moment(known=known, pulse=await self._table.pulse())

    @property
    def attends(self) -> bool:
        """Whether it must say that it is at work: its stages are pinned, and it serves clients."""
        return self._table is None and not self._tables.written and not self._stages.all_off

    async def repin(self, beliefs: Beliefs, record: AuthorityRecord) -> bool:
        """Move the authorities that other settings pinned, if no other process is at work. Gives whether any was."""
        pinned = pinned_elsewhere(beliefs, record)
        others = [name for name, age in record.present.items() if name != self._process and age < self._seconds]
        if not pinned or others or not self.attends:
            return False
        for scope, authority in pinned.items():
            await self._records.repin(record, scope, authority, self._process)
            log.warning("authority_pinned_anew", scope=scope, authority=authority)
        return True

    async def step(self, moment: Moment | None, beliefs: Beliefs, record: AuthorityRecord) -> bool:
        """Write what is missing in the record. Gives whether anything was written: then it has to be read again."""
        if can_pair(beliefs, record):
            unused = self._stages.all_off and not self._tables.written
            if unused or (moment is not None and moment.known.flip is not None):
                return False
            if moment is None or self._table is None:
                await pair_pinned(self._records, self._process, self._identify)
            else:
                await pair_once(self._table, moment.known, self._records, record, self._process, self._identify)
            return True
        missing = beliefs.undeclared(record)
        if missing.scopes:
            await self._records.declare(missing, self._process)
            return True
        if await self._settle_mappings(moment, beliefs, record):
            return True
        if moment is None:
            return False
        return (
            await self._end_stale_moves(moment, record)
            or await self._record_missed_flips(moment, beliefs, record)
            or await self._record_flip(moment, record)
            or await self._beat_if_due(moment, record)
        )

    # -- moves of the authority ---------------------------------------------------------------------------------------

    async def _end_stale_moves(self, moment: Moment, record: AuthorityRecord) -> bool:
        """Record the end of moves that are not under way any more: done where the stage table says so."""
        flip = moment.known.flip
        pending = flip.id if flip is not None and flip.phase is not Phase.SWITCHED else ""
        stale = {
            name: each.moving
            for name, each in record.scopes.items()
            if each.moving is not None and each.moving.flip != pending
        }
        if not stale:
            return False
        after = await self._if_unchanged(moment)
        if after is None:
            return True
        assert record.installation is not None
        for name, move in stale.items():
            scope = Scope.parse(name)
            self._stages.adopt(after.known.map)
            committed = self._stages.stage_of(scope.table, scope.item_type).authority == move.authority
            end = self._records.finish if committed else self._records.withdraw
            await end(record.installation, name, move, self._process)
        return True

    async def _settle_mappings(self, moment: Moment | None, beliefs: Beliefs, record: AuthorityRecord) -> bool:
        """Record the mapping in force: where none is; before a flip also where no other process has that one."""
        others: set[str] | None = None
        for table, digest in beliefs.unsettled_mappings(record).items():
            held = record.scopes[table].mapping
            if held and others is None:
                others = await self._others_mappings(moment, record)
            if not held or held not in (others or ()):
                await self._records.set_mapping(record, table, digest, self._process)
                return True
        return False

    async def _others_mappings(self, moment: Moment | None, record: AuthorityRecord) -> set[str]:
        """Return the mappings of the other processes; of pinned ones that are at work, whatever is on record."""
        if moment is None or self._table is None:
            at_work = any(name != self._process and age < self._seconds for name, age in record.present.items())
            return {each.mapping for each in record.scopes.values()} if at_work else set()
        leases = await self._table.leases()
        now = time.time()
        return {
            str(digest)
            for each in leases
            if each.process != self._process and now - each.renewed < 2 * each.seconds
            for digest in each.record.get("mappings", {}).values()
        }

    async def _record_missed_flips(self, moment: Moment, beliefs: Beliefs, record: AuthorityRecord) -> bool:
        """Record what was moved while no process was there: as moves that are stale, which the next look ends."""
        pairing = moment.known.map.pairing
        if pairing is None or not pairing.unrecorded or moment.known.flip is not None or self._table is None:
            return False
        moves = beliefs.missed(record, pairing.flipped)
        for scope, authority in moves.items():
            move = RecordedMove(
                flip=f"missed-{pairing.flipped}", authority=authority, epoch=pairing.flipped, mapping=""
            )
            held = record.scopes[scope].authority if scope in record.scopes else authority
            await self._records.announce(pairing.installation, scope, held, move, self._process)
        if not moves:
            told = replace(moment.known.map, pairing=replace(pairing, unrecorded=False))
            await self._table.write_state(moment.known.next_row(None, told))
        return True

    async def _if_unchanged(self, moment: Moment) -> Moment | None:
        """Read the stage table once more; None where it has changed: a move may have been announced after it was read,
        and before the record was."""
        after = await self.now()
        return after if after is not None and after.known.version == moment.known.version else None

    async def _record_flip(self, moment: Moment, record: AuthorityRecord) -> bool:
        """Record a move before its commit, or see that another process has."""
        flip = moment.known.flip
        if flip is None or not flip.recorded or flip.phase is Phase.SWITCHED:
            return False
        scope = str(flip.scope)
        held = record.scopes.get(scope)
        mapping = ""
        if flip.to.authority == DSQL:
            await self._tables.find(flip.scope.table)
            mapping = self._tables.digest_of(flip.scope.table)
        if held is not None and held.moving is not None and held.moving.flip == flip.id:
            if mapping and held.moving.mapping and mapping != held.moving.mapping:
                why = (
                    f"its mapping of {flip.scope.table} is {mapping[:12]}, and another process has "
                    f"{held.moving.mapping[:12]}: give every process the same mapping"
                )
                self.flip_problem = (flip.id, why)
            else:
                self.recorded_flip = flip.id
            return False
        if flip.to.authority == DSQL and not mapping:
            return False  # a process that maps the table records it
        move = RecordedMove(
            flip=flip.id, authority=flip.to.authority, epoch=moment.known.map.epoch + 1, mapping=mapping
        )
        assert record.installation is not None
        await self._records.announce(record.installation, scope, flip.from_stage.authority, move, self._process)
        return True

    # -- the pulse ----------------------------------------------------------------------------------------------------

    async def _beat_if_due(self, moment: Moment, record: AuthorityRecord) -> bool:
        if self._clock() - self._pulsed_at < PULSE_SECONDS:
            return False
        await self.beat(moment, record.pulse)
        return True

    async def beat(self, moment: Moment, recorded: int = 0) -> None:
        """Raise the pulse: first in DSQL, then in the stage table, which so never knows of a greater one."""
        pairing = moment.known.map.pairing
        assert self._table is not None
        assert pairing is not None
        pulse = max(moment.pulse, recorded) + 1
        await self._records.advance(pairing.installation, pulse)
        with contextlib.suppress(Refused):  # the function for streams may only read the stage table; others write it
            await self._table.raise_pulse(pulse)
        self._pulsed_at = self._clock()


def alike(one: Moment | None, other: Moment | None) -> bool:
    """Return whether nothing has changed that the record is held against."""
    if one is None or other is None:
        return one is other
    flips = [each.known.flip.id if each.known.flip is not None else "" for each in (one, other)]
    return one.known.map == other.known.map and one.pulse == other.pulse and flips[0] == flips[1]
