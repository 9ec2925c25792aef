"""Records verdicts: in the metrics, in the log (all but `agreed`), and in a list of the newest differences.

Redacts differences first: no item value leaves this module unless the operator has turned values on.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from typing import Any

import structlog

from comparators.redact import Redactor
from comparators.rules import ItemRules, declared_entries
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.dynamodb.schema import Key
from proxy.metrics.registry import Metrics
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.table_registry import Table
from proxy.verdicts import Verdict

log = structlog.get_logger(__name__)

OTHER_FIELD = "other"
_LOGGED_DIFFERENCES = 5


class VerdictRecorder:
    """The record of this process's verdicts."""

    def __init__(self, metrics: Metrics, *, kept: int, values: bool, evidence: EvidenceCollector | None = None) -> None:
        """
        At most `kept` differences are kept for `newest`. `values`: show what they hold. `evidence` counts every
        verdict.
        """
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
            self._evidence.count_verdict(operation, table.name, item_type, verdict, reason, record.mirror)
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
            declared = declared_entries(table.rules.get(difference.type) or ItemRules())
            entry = self._redactor.show(difference, self._values, table=table.name, declared=declared)
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
        counts = verdict in (Verdict.MISMATCH, Verdict.UNREPRESENTABLE)
        (log.warning if counts else log.info)("verdict", **event)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` of the differences that count against cutting over, the newest first."""
        return [self._kept[-n] for n in range(1, min(limit, len(self._kept)) + 1)]

    def forget_table(self, table: str) -> None:
        """Forget the verdicts and the differences of a table that was deleted."""
        for place in [each for each in self.counts if each[0] == table]:
            del self.counts[place]
        self._kept = deque((each for each in self._kept if each["table"] != table), maxlen=self._kept.maxlen)

    def show_key(self, key: Key) -> dict[str, Any] | None:
        """Return the attributes of a key as they may be shown."""
        return self._redactor.show_key(key.attributes, self._values, key.table)

    @staticmethod
    def _field(table: Table, field: str, path: str) -> str:
        """Return a label from a bounded set: an attribute that the mapping or its rules know, a part of the answer, or
        `other`."""
        if field == "":
            # `Items[3]` and `CancellationReasons[1].Code` are Items and CancellationReasons; "" is the whole item.
            return path.partition("[")[0].partition(".")[0] or "item"
        known = field in table.mapping.fields
        if known or any(field in rules.attributes for rules in table.rules.values()):
            return field
        return OTHER_FIELD
