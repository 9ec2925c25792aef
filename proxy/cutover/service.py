"""The cutover service: reads the stages, checks moves against the gate and carries them out. The admin API, the console
and the command line all call it.

Each call reads the stage table once. `prepare` checks a move: is it possible, is the gate open, has nobody moved a
stage meanwhile. `carry_out` hands it to the coordinator, and the history keeps what the gate said. A request that is
wrong raises a Problem, with a status and a sentence.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog

from proxy.cutover import documents
from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.explanations import consequences, way_back
from proxy.cutover.flip import protocol as flips
from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted, MoveProgress, read_state
from proxy.cutover.flip.coordinator import Coordinator, GateCheck, GateDecision
from proxy.cutover.flip.forget_process import follow_up, forget
from proxy.cutover.flip.protocol import StageTableState
from proxy.cutover.gate.evidence import Evidence, merge
from proxy.cutover.history_text import check_history_text, printable_entry
from proxy.cutover.model import FlipView, GateView, ProcessView, StagedScope, StagesView
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.snapshot import StagesSnapshot
from proxy.cutover.stage_table import LeaseItem, StageTable
from proxy.cutover.stages import Scope, Stage, StageMap, Stages
from proxy.problems import Problem
from proxy.settings import Settings

log = structlog.get_logger(__name__)

PINNED = "the stages are fixed by the settings (stages.table is not set): change them there and restart the proxies"


@dataclass(frozen=True, slots=True)
class PreparedMove:
    """A request that may be carried out, its ramp filled in, with what the decision rests on."""

    request: MoveRequest
    at: StagedScope
    gate: GateView
    stage_map: StageMap
    """The stages that the gate was asked for: on others, it has decided nothing."""
    unchanged: bool
    """Whether the scope is there already."""

    @property
    def epoch(self) -> int:
        return self.stage_map.epoch


@dataclass(frozen=True, slots=True)
class MoveUpdate:
    """One step of a move: its progress or, as the last step, its outcome."""

    document: Mapping[str, Any]
    is_last: bool = False


class CutoverService:
    """The service over the stage table, the flip and the gate.

    `table` is None where the settings pin the stages. `types` gives the item types that each mapped table declares;
    tables in `indivisible` move only with all of their types. `exists` reports whether DynamoDB has a table.
    `own_evidence` is this process's evidence, None for a command, which serves no clients; `process` is this process's
    name; `known_tables` gives the tables that it has met.
    """

    def __init__(
        self,
        settings: Settings,
        table: StageTable | None,
        *,
        types: Mapping[str, Iterable[str]],
        exists: Callable[[str], Awaitable[bool]],
        indivisible: Container[str] = frozenset(),
        own_evidence: Callable[[], Awaitable[Evidence]] | None = None,
        process: str = "",
        known_tables: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._settings = settings
        self._table = table
        self._types = {name: tuple(each) for name, each in types.items()}
        self._exists = exists
        self._indivisible = indivisible
        self._own_evidence = own_evidence
        self._process_name = process
        self._known_tables = known_tables

    # -- questions -------------------------------------------------------------------------------------------------

    async def snapshot(self, scope: Scope | None = None) -> StagesSnapshot:
        """The stages, leases and evidence of now. Raises StoreError, and Problem (404) for an unknown `scope`."""
        known, leases, published = (
            StageTableState(0, StageMap(), None),
            list[LeaseItem](),
            dict[str, Mapping[str, Any]](),
        )
        if self._table is not None:
            known = await read_state(self._table)
            leases = await self._table.leases()
            published = await self._table.evidence()
        stages = Stages(self._settings, self._types)
        stages.adopt(known.map)
        evidence = await self._merged_evidence(leases, published, stages)
        known_tables = {*self._known_tables(), *evidence.backlogs, *(count.pattern.table for count in evidence.counts)}
        named = {table for table, _, _ in stages.list_all(known_tables)}
        if scope is not None and scope.table not in named and await self._exists(scope.table):
            known_tables.add(scope.table)
        overview = StagesView(
            epoch=known.map.epoch,
            scopes=_staged_scopes(stages, sorted(known_tables), leases),
            processes=[_process_view(each, known.flip, self._process_name, time.time()) for each in leases],
            flip=_flip_view(known.flip) if known.flip is not None else None,
            pinned="" if self._table is not None else PINNED,
            hold_seconds=self._settings.stages.hold_seconds,
        )
        snapshot = StagesSnapshot(overview, evidence, self._settings.gate, time.time(), known.map, self._indivisible)
        if scope is not None:
            snapshot.find(scope)
        return snapshot

    async def history(self, limit: int) -> list[Mapping[str, Any]]:
        """The latest changes of stage as the stage table keeps them, newest first."""
        if self._table is None:
            return []
        return [printable_entry(each) for each in await self._table.history(limit)]

    # -- moves -----------------------------------------------------------------------------------------------------

    async def prepare(self, request: MoveRequest) -> PreparedMove:
        """Check a move. Raises Problem (400, 404, 409) for one that may not be made, and StoreError."""
        check_history_text(by=request.by, because=request.because)
        snapshot = await self.snapshot(request.scope)
        prepared = self._check(snapshot, request)
        if snapshot.overview.pinned:
            raise Problem(409, PINNED, outcome="refused")
        if prepared.unchanged:
            return prepared
        if prepared.gate.forbidden:
            raise Problem(409, prepared.gate.forbidden, outcome="refused", gate=self._gate(prepared))
        if prepared.gate.unmet and not request.force:
            names = ", ".join(each.name for each in prepared.gate.unmet)
            detail = (
                f'the gate is shut: {names}: mend that, or override it with --force --because "…", which the history '
                "keeps (over HTTP, the members force and because)"
            )
            raise Problem(409, detail, outcome="refused", gate=self._gate(prepared))
        return prepared

    async def preview(self, request: MoveRequest) -> dict[str, Any]:
        """What a move would do, and whether it would be allowed. Raises Problem (400, 404) and StoreError."""
        check_history_text(by=request.by, because=request.because)
        snapshot = await self.snapshot(request.scope)
        prepared = self._check(snapshot, request)
        stopping = prepared.gate.unmet
        refusal = snapshot.overview.pinned or prepared.gate.forbidden
        if not refusal and stopping and not request.force:
            refusal = "the gate is shut: " + ", ".join(each.name for each in stopping)
        at, to = prepared.at.stage, request.to
        sentences = consequences(at, to, len(snapshot.overview.processes), snapshot.overview.hold_seconds)
        return {
            "outcome": "would_not" if refusal else "would_move",
            "detail": refusal or ("it is there already" if prepared.unchanged else "it would be moved"),
            **self._from_to(prepared),
            "epoch": snapshot.overview.epoch,
            "sentences": [] if prepared.unchanged else [*sentences, f"The way back: {way_back(at, to)}"],
            "gate": self._gate(prepared),
        }

    async def carry_out(self, prepared: PreparedMove) -> AsyncIterator[MoveUpdate]:
        """Carry out a move and report each step; the last one is its outcome. Raises StoreError only where the outcome
        is unknown. Closing the iterator aborts the move."""
        ends = {**self._from_to(prepared), "epoch": prepared.epoch, "held_ms": 0}
        if prepared.unchanged:
            yield MoveUpdate({"outcome": "unchanged", **ends}, is_last=True)
            return
        request = prepared.request
        gate = prepared.gate
        published = {"open": gate.is_open, "criteria": [each.document() for each in gate.criteria]}

        async def gate_check(_: MoveRequest) -> GateDecision:
            return GateDecision(tuple(each.sentence for each in gate.unmet), published, prepared.stage_map)

        log.info("stage_moving", **ends, by=request.by, because=request.because or None, forced=request.force)
        events = self._coordinator(gate_check).move(request)
        assert isinstance(events, AsyncGenerator)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, MoveProgress):
                    yield MoveUpdate(documents.move_progress(event))
                    continue
                ends |= {"epoch": event.epoch}
                if isinstance(event, MoveCommitted):
                    end = {"outcome": "moved", **ends, "held_ms": event.held_ms}
                else:
                    end = {"outcome": "kept", **ends, "detail": event.reason}
                log.info("stage_moved" if isinstance(event, MoveCommitted) else "stage_kept", **end, by=request.by)
                yield MoveUpdate(end, is_last=True)

    async def forget(
        self, process: str, by: str, because: str, say: Callable[[MoveProgress], None] = lambda _: None
    ) -> str:
        """Remove from the stage table a process that is gone for good, and return what has to follow, as a sentence.
        Raises Problem and StoreError."""
        if self._table is None:
            raise Problem(409, PINNED, outcome="refused")
        check_history_text(by=by, because=because)
        before = (await read_state(self._table)).map.forgotten.count
        known = [each.process for each in await self._table.leases()]
        if process not in known:
            # Progress lines shorten names. Which process to forget is never guessed.
            alike = [each for each in known if process and each.startswith(process)]
            meant = f": did you mean {', '.join(alike)}?" if alike else ""
            raise Problem(404, f"there is no process {process!r} in the stage table{meant}")
        settle = max(self._settings.dynamodb.settle_seconds, self._settings.dsql.settle_seconds)
        async for event in forget(self._table, process, by=by, because=because, settle_seconds=settle):
            if isinstance(event, MoveAborted):
                raise Problem(409, event.reason, outcome="kept")
            if isinstance(event, MoveProgress):
                say(event)
        owed = (await read_state(self._table)).map.forgotten.count > before
        log.warning("process_forgotten", process=process, by=by, because=because, owed=owed)
        return follow_up(process, owed=owed)

    def _coordinator(self, gate_check: GateCheck | None = None) -> Coordinator:
        assert self._table is not None
        stages = Stages(self._settings, self._types)
        return Coordinator(
            self._table,
            stages,
            lease_seconds=self._settings.stages.lease_seconds,
            hold_seconds=self._settings.stages.hold_seconds,
            gate_check=gate_check or _open_gate,
        )

    def _check(self, snapshot: StagesSnapshot, request: MoveRequest) -> PreparedMove:
        at = snapshot.find(request.scope)
        ramp = request.ramp
        if ramp is None:
            ramp = at.ramp if at.stage is request.to is Stage.SHADOW else 0.0
        if request.epoch is not None and request.epoch != snapshot.overview.epoch:
            moved = f"the stages have moved meanwhile: this is epoch {snapshot.overview.epoch}, not {request.epoch}"
            raise Problem(409, f"{moved}: look again", outcome="refused")
        unchanged = all((each.stage, each.ramp) == (request.to, ramp) for each in snapshot.affected_by(request.scope))
        complete = replace(request, ramp=ramp if request.to is Stage.SHADOW else None)
        return PreparedMove(complete, at, snapshot.gate(request.scope, request.to, ramp), snapshot.stage_map, unchanged)

    def _gate(self, prepared: PreparedMove) -> dict[str, Any]:
        return documents.gate(prepared.gate, prepared.at.stage)

    @staticmethod
    def _from_to(prepared: PreparedMove) -> dict[str, Any]:
        scope = prepared.request.scope
        return {
            "table": scope.table,
            "type": scope.item_type or None,
            "from": str(prepared.at.stage),
            "to": str(prepared.request.to),
            "ramp": prepared.request.ramp or 0.0,
        }

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _merged_evidence(
        self, leases: Iterable[LeaseItem], published: Mapping[str, Mapping[str, Any]], stages: Stages
    ) -> Evidence:
        """The evidence of all processes that hold a lease, without what is of an earlier era; this process's own is of
        now.

        A process that has published nothing for long and owes nothing is gone: a flip passes over it, and so does the
        gate.
        """
        found, latest = [], time.time() - self._settings.gate.max_evidence_seconds
        for lease in leases:
            name = lease.process
            if name == self._process_name or (lease.renewed and not lease.listen and name not in published):
                continue  # a command that takes part in moves: it serves no clients and publishes nothing
            try:
                evidence = Evidence.from_document(published[name])
            except (KeyError, TypeError, ValueError):
                nothing = f"{name} has published no readable evidence: it has just started, or runs another version"
                evidence = Evidence(reported_at={name: lease.started}, troubles=frozenset({nothing}))
            if lease.owes or evidence.reported_at.get(name, 0.0) >= latest:
                found.append(evidence.in_current_eras(stages.era))
        if self._own_evidence is not None:
            found.append((await self._own_evidence()).in_current_eras(stages.era))
        return merge(found)


async def _open_gate(_: MoveRequest) -> GateDecision:
    return GateDecision()


def _staged_scopes(stages: Stages, known_tables: Iterable[str], leases: Iterable[LeaseItem]) -> list[StagedScope]:
    """Every table and type; a type without a stage of its own has its table's."""
    found = []
    # The newest word on DSQL's record; who is contradicted by it has read it as well as anybody.
    reports = [each.record.get("scopes", {}) for each in sorted(leases, key=lambda lease: lease.renewed)]
    recorded: dict[str, list[str]] = {name: each for report in reports for name, each in report.items()}
    for table, item_type, stage in stages.list_all(known_tables):
        at = stages.placement(table, item_type)
        own_evidence = not item_type or Scope(table, item_type) in stages.map.placements
        scope = Scope(table, item_type)
        authority, mapping = recorded.get(str(scope)) or recorded.get(table) or ("", "")
        found.append(
            StagedScope(
                scope,
                stage,
                at.ramp,
                at.since,
                at.by,
                own_evidence,
                era=stages.era(table, item_type),
                recorded_authority=authority,
                mapping=mapping,
            )
        )
    return found


def _process_view(lease: LeaseItem, flip: flips.Flip | None, process: str, now: float) -> ProcessView:
    answers = flip is not None and lease.flip == flip.id
    return ProcessView(
        name=lease.process,
        host=lease.host,
        epoch=lease.epoch,
        vote=lease.phase if answers else "",
        note=documents.note(lease.note),
        owes=lease.owes,
        is_this_process=lease.process == process,
        pid=lease.pid,
        listen=lease.listen,
        renewed=lease.renewed,
        database=str(lease.record.get("database", "")),
        mappings=dict(lease.record.get("mappings", {})),
        problem="; ".join(lease.record.get("problems", ())),
        lease_expired=0 < lease.renewed < now - lease.seconds - clock_skew_margin(lease.seconds),
    )


def _flip_view(flip: flips.Flip) -> FlipView:
    return FlipView(flip.scope, flip.from_stage, flip.to, str(flip.phase), flip.by, flip.started)
