"""Where verdicts go: metrics, one log event each that is not `agreed`, and the newest differences for whoever looks.

Redacts before it keeps: no item value leaves here unless the operator has turned values on.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from typing import Any

import structlog

from comparators.redact import Redactor
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.metrics.registry import Metrics
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.table_registry import Table
from proxy.verdicts import Verdict

log = structlog.get_logger(__name__)

OTHER_FIELD = "other"
_LOGGED_DIFFERENCES = 5


class VerdictRecorder:
    """`kept` is how many differences are remembered; `values` shows what they hold; `witness` hears every verdict."""

    def __init__(self, metrics: Metrics, *, kept: int, values: bool, evidence: EvidenceCollector | None = None) -> None:
        self._metrics = metrics
        self._values = values
        self._evidence = evidence
        self._redactor = Redactor(os.urandom(32))
        self._kept: deque[dict[str, Any]] = deque(maxlen=kept)
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    def record(self, record: VerdictRecord) -> None:
        """Count a call's verdict, log it unless it is `agreed`, and keep the differences that count."""
        call, verdict, reason = record.call, record.verdict, record.reason
        operation, table, item_type = call.operation, call.table, call.item_type
        self._metrics.comparison.compared(table.name, item_type, operation.action, verdict)
        self.counts[table.name, item_type, operation.action, verdict] += 1
        if self._evidence is not None:
            self._evidence.count_verdict(operation, table.name, item_type, verdict, reason)
        if verdict is Verdict.AGREED:
            return
        if verdict is Verdict.MIRROR_ERROR:
            self._metrics.stores.gave_up(table.name, reason or "unknown")
        shown = []
        for each in record.judged:
            difference = each.difference
            field = self._field(table, difference.field, difference.path)
            of_type = difference.type if difference.type not in ("", "*") else item_type
            self._metrics.comparison.difference(table.name, of_type, field, difference.kind, each.verdict)
            entry = self._redactor.show(difference, self._values)
            entry["verdict"] = each.verdict
            if each.because is not None:
                entry["because"] = each.because
            shown.append(entry)
            if each.verdict in (Verdict.MISMATCH, Verdict.UNREPRESENTABLE):
                self._kept.append(
                    {
                        "at": time.time(),
                        "request_id": call.request_id,
                        "table": table.name,
                        "type": of_type,
                        "operation": operation.action,
                        **entry,
                    }
                )
        event: dict[str, Any] = {
            "request_id": call.request_id,
            "table": table.name,
            "type": item_type,
            "operation": operation.action,
            "verdict": str(verdict),
        }
        if reason is not None:
            event["reason"] = reason
        if shown:
            event["differences"] = shown[:_LOGGED_DIFFERENCES]
            event["difference_count"] = len(shown)
        grave = verdict in (Verdict.MISMATCH, Verdict.UNREPRESENTABLE)
        (log.warning if grave else log.info)("verdict", **event)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The newest differences that count against cutting over, newest first."""
        return [self._kept[-n] for n in range(1, min(limit, len(self._kept)) + 1)]

    @staticmethod
    def _field(table: Table, field: str, path: str) -> str:
        """A bounded label: attributes that the mapping or its rules know, the answer's own parts, else `other`."""
        if field == "":
            # `Items[3]` and `CancellationReasons[1].Code` are Items and CancellationReasons; "" is the whole item.
            return path.partition("[")[0].partition(".")[0] or "item"
        known = field in table.mapping.fields
        if known or any(field in rules.attributes for rules in table.rules.values()):
            return field
        return OTHER_FIELD
