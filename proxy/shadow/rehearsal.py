"""A write, behind the client's answer: the mirror executes it by itself, and the two stores are compared.

What is compared is the outcome and what the write left. Then the keys converge, whatever was found. A write that
overlaps another on the same key says nothing either way (`racing`), so it is not rehearsed but only converged.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Final

from comparators.difference import Difference, Kind
from comparators.expected import Context
from comparators.items import compare_items
from comparators.outcomes import compare_outcomes
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.shadow.context import Call
from proxy.shadow.converge import Converged
from proxy.shadow.converger import Converger
from proxy.shadow.findings import Findings
from proxy.shadow.journal import Journal, Ticket
from proxy.shadow.shapes import shape_of
from proxy.shadow.verdicts import Judged, Loss, Verdict, decides, judge, overall
from proxy.stores.failures import StoreError, UnknownOutcome
from proxy.stores.store import Executed, Held, Store, Unrepresentable

_TOKEN_SECONDS: Final = 600.0
_TOKENS: Final = 10_000


class Rehearsal:
    """Compares writes. The journal's ticket of each call is closed here, whatever happens."""

    def __init__(self, journal: Journal, mirror: Store, converger: Converger, findings: Findings) -> None:
        self._journal = journal
        self._mirror = mirror
        self._converger = converger
        self._findings = findings
        self._tokens: OrderedDict[str, float] = OrderedDict()

    def repeated(self, call: Call) -> bool:
        """Whether a transaction's token was seen in the last ten minutes: DynamoDB answers it and does nothing
        ("TransactWriteItems", ClientRequestToken), so there is nothing to rehearse."""
        token = call.operation.request.get("ClientRequestToken")
        if call.operation.action != "TransactWriteItems" or not isinstance(token, str):
            return False
        now = time.monotonic()
        seen = self._tokens.get(token)
        self._tokens[token] = now
        self._tokens.move_to_end(token)
        if len(self._tokens) > _TOKENS:
            self._tokens.popitem(last=False)
        return seen is not None and now - seen < _TOKEN_SECONDS

    async def rehearse(self, call: Call, ticket: Ticket, answered: Outcome) -> None:
        """Rehearse, converge, compare, record."""
        executed: Executed | None = None
        failed: StoreError | None = None
        comparable = decides(answered) and not answered.document.get("UnprocessedItems")
        try:
            if comparable and not ticket.overlapped:
                try:
                    executed = await self._mirror.execute(call.operation)
                except StoreError as error:
                    failed = error
                    if isinstance(error, UnknownOutcome):
                        self._converger.linger(list(ticket.keys), self._mirror.name)
        finally:
            taken = self._journal.answered(ticket, take=True)
        left = executed.left if executed is not None else {}
        alone = len(taken) == len(ticket.keys) and not ticket.overlapped
        converged: dict[Key, Converged | None] = {}
        for number, work in enumerate(taken):
            try:
                converged[work.key] = await self._converger.converge(work, left.get(work.key))
            except asyncio.CancelledError:
                for untaken in taken[number + 1 :]:
                    self._journal.again(untaken, 0.0)
                raise
        if not comparable:
            return
        if not alone or self._journal.overtaken(ticket):
            self._record(call, Verdict.RACING)
        elif isinstance(failed, Unrepresentable):
            self._record(call, Verdict.UNREPRESENTABLE, self._lost(call, failed))
        elif failed is not None:
            self._record(call, Verdict.MIRROR_ERROR, reason=failed.reason)
        elif executed is not None:
            self._compare(call, answered, executed, converged)

    def _compare(
        self, call: Call, answered: Outcome, executed: Executed, converged: dict[Key, Converged | None]
    ) -> None:
        context = Context(call.table.name, call.operation.action)
        mirrored = executed.outcome
        comparison = compare_outcomes(
            call.operation.action,
            (answered.status, answered.document),
            (mirrored.status, mirrored.document),
            shape_of(call.operation, call.tables),
        )
        judged: list[Judged] = []
        whole = Loss()
        for key, look in converged.items():
            table = call.table_of(key)
            if look is None:
                continue
            rules = table.pick(look.wanted or look.held or {})
            image, _ = self._mirror.image(key, look.wanted)
            loss = Loss.between(look.wanted, image, rules)
            whole = loss if len(converged) == 1 else whole
            held = executed.left.get(key, Held(look.held)).item
            found = compare_items(look.wanted, held, rules)
            judged.extend(judge(found, loss, table.expected, context))
        if not judged or any(d.kind in ("outcome", "error_code", "error_message") for d in comparison.differences):
            # What the answers show of items differs as the items do; it is told once.
            judged[:0] = judge(comparison.differences, whole, call.table.expected, context)
        self._record(call, overall(judged), judged)

    def _lost(self, call: Call, error: Unrepresentable) -> list[Judged]:
        """One difference a fault: the mapping's way to say what it cannot hold."""
        item = call.operation.request.get("Item") or {}
        key = error.key.attributes
        judged = []
        for fault in error.faults:
            name = fault.field
            lost = Difference(name, name, Kind.MISSING, item.get(name), None, call.item_type, key=key)
            judged.append(Judged(lost, Verdict.UNREPRESENTABLE, fault.reason))
        return judged

    def _record(
        self, call: Call, verdict: Verdict, judged: list[Judged] | None = None, reason: str | None = None
    ) -> None:
        self._findings.record(
            call.operation, call.table, call.item_type, verdict, call.request_id, judged or (), reason
        )
