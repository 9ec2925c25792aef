"""A console with everything behind it played: what the page looks like in situations that take hours to come about.

It stands in at the console's own seam (`Desk`); the pages, their files and the browser are real.
"""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from comparators.difference import Difference, Kind
from comparators.redact import Redactor
from proxy.admin.console.pages import Console
from proxy.admin.console.routes import routes
from proxy.admin.console.samples import Samples
from proxy.cutover.gate.criteria import Criterion
from proxy.cutover.model import (
    FlipView,
    GateView,
    HistoryEntry,
    MoveRefused,
    ProcessView,
    StagedScope,
    StagesSource,
    StagesView,
)
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage
from proxy.metrics.registry import Metrics

TYPES = ("Book", "Feature", "TvSeason", "TvSeries", "VideoGame")
TOKENS = {"operator-token": ("operator", "lisa"), "reader-token": ("reader", "screen")}
PROCESSES = ("9f3c1d20b7aa", "51e80c77d4e2", "c07a4be19d35")

HOLD = [
    Criterion(
        "told", True, "3 proxies, the oldest report 2 s old", "each within 30 s", "Every proxy has reported recently."
    ),
    Criterion("journal", True, "3 keys, the oldest 0.1 s", "empty, or no key older than 5 s", "The mirror keeps up."),
    Criterion("settled", True, "nothing", "nothing", "No call with an unknown outcome can still take effect on DSQL."),
    Criterion("parked", True, "0 keys", "none", "The mapping holds every item that it has met."),
    Criterion("agreement", True, "0 of 48213, so at most 6.2e-05", "at most 0.0001", "The two stores agree."),
    Criterion("latency", True, "Query: p99 24 ms, DynamoDB's 11 ms", "at most 3 times DynamoDB's", "Fast enough."),
]
FAIL = [
    Criterion("sweep", False, "31.0 h ago", "within 24 h", "It is too old: run crossfade verify again."),
    Criterion(
        "coverage",
        False,
        "21 of 23 access patterns",
        "each seen in the last day compared 20 times",
        "Asked for, but hardly compared: TvSeason Query seriesId (4 of 4), Book Scan (1 of 2). Exercise them.",
    ),
]


@dataclass
class StageSet:
    """A desk whose state the test sets."""

    overview: StagesView
    verdicts: Mapping[str, int] = field(default_factory=dict)
    differences: Sequence[Mapping[str, Any]] = ()
    closed: bool = False
    entries: list[HistoryEntry] = field(default_factory=list)
    troubles: Sequence[str] = ()
    breaker: str = "closed"
    keys: int = 3
    oldest: float = 0.084
    parked: int = 0
    refuse: str = ""
    unread: Exception | None = None
    requests: list[MoveRequest] = field(default_factory=list)

    async def status(self) -> Mapping[str, Any]:
        return {
            "epoch": self.overview.epoch,
            "stages": [
                {"table": each.scope.table, "type": each.scope.item_type, "stage": str(each.stage)}
                for each in self.overview.scopes
            ],
            "journal": {"keys": self.keys, "oldest_seconds": self.oldest, "parked": self.parked},
            "breaker": {"dsql": self.breaker},
            "behind": 2,
            "comparisons": [
                {"table": "billio", "type": each, "operation": "GetItem", "verdict": verdict, "count": count // 5 or 1}
                for each in TYPES
                for verdict, count in self.verdicts.items()
                if verdict not in ("mismatch", "unrepresentable") or each == "Book"
            ],
        }

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return self.differences[:limit]

    def problems(self) -> Sequence[str]:
        return self.troubles

    async def snapshot(self) -> StagesSource:
        if self.unread is not None:
            raise self.unread
        return replace(self)

    def gate(self, scope: Scope, to: Stage, ramp: float = 0.0) -> GateView:
        at = next(place.stage for place in self.overview.scopes if place.scope == scope)
        if at is Stage.OFF and to.authority == "dsql":
            return GateView(scope, to, [], "DSQL has not been kept equal in off: go to dualwrite first, then to shadow")
        if to.authority == at.authority and to is not Stage.COMPLETE:
            return GateView(scope, to, [] if at.mirrored else HOLD[:1])
        return GateView(scope, to, [*FAIL, *HOLD] if self.closed else HOLD)

    async def history(self, limit: int) -> Sequence[HistoryEntry]:
        return self.entries[:limit]

    async def move(self, request: MoveRequest) -> None:
        if self.refuse:
            raise MoveRefused(self.refuse)
        self.requests.append(request)


def places(stage: Stage, ramp: float = 0.0, **types: Stage) -> list[StagedScope]:
    """billio in a stage, with types of their own."""
    now = time.time()
    return [
        StagedScope(Scope("billio"), stage, ramp, now - 11_520, "lisa"),
        *(
            StagedScope(
                Scope("billio", each), types.get(each, stage), ramp if each not in types else 0.0, now - 4000, "tom"
            )
            if each in types
            else StagedScope(Scope("billio", each), stage, ramp, has_own_stage=False)
            for each in TYPES
        ),
    ]


def processes(epoch: int, answers: Sequence[str] = ("", "", ""), note: str = "") -> list[ProcessView]:
    return [
        ProcessView(name, f"ip-10-0-{n}-17", epoch, answer, note if n == 1 else "", owes=n == 2, is_this_process=n == 0)
        for n, (name, answer) in enumerate(zip(PROCESSES, answers, strict=True))
    ]


def findings(values: bool) -> list[dict[str, Any]]:
    """Two findings of one operation each, as `Findings` keeps them."""
    redactor = Redactor(os.urandom(32))
    now = time.time()
    half, whole, width = {"N": "8.5"}, {"N": "8"}, {"N": "640"}
    book = {"type:id": {"S": "Book:0c6e1f1e-7d6a-4f0e-9a50-3a4d6f2b9f11"}}
    season = {"type:id": {"S": "TvSeason:8d2b7a54-11aa-4c10-b0a1-77e7c1a1d0f3"}}
    seen: list[tuple[float, str, str, Difference]] = [
        (40, "5A1XQK", "GetItem", Difference("rating", "rating", Kind.PRECISION, half, whole, "Book", "", book)),
        (40, "5A1XQK", "GetItem", Difference("image.width", "image", Kind.MISSING, width, None, "Book", "", book)),
        (
            40,
            "5A1XQK",
            "GetItem",
            Difference(
                "title", "title", Kind.VALUE, {"S": "Solaris"}, {"S": "Solaris (Polish edition)"}, "Book", "", book
            ),
        ),
        (
            400,
            "0QH31D",
            "Query",
            Difference("platforms", "platforms", Kind.ORDER, {"L": [{"S": "PC"}, {"S": "Switch"}]},
                       {"L": [{"S": "Switch"}, {"S": "PC"}]}, "TvSeason", "Items[3]", season),
        ),
    ]  # fmt: skip
    return [
        {
            "at": now - ago,
            "request_id": request,
            "table": "billio",
            "operation": operation,
            **redactor.show(difference, values),
            "type": difference.type,
            "verdict": "mismatch",
        }
        for ago, request, operation, difference in seen
    ]


def history() -> list[HistoryEntry]:
    now = time.time()
    return [
        HistoryEntry(now - 11_520, "billio", "dualwrite", "shadow", "lisa", True, because="backfill is done", epoch=3),
        HistoryEntry(
            now - 15_000, "billio/Book", "shadow", "live", "tom", False, "51e80c77d4e2 did not drain in 2 s", epoch=2
        ),
        HistoryEntry(now - 100_000, "billio", "off", "dualwrite", "lisa", True, epoch=2),
    ]


def calm() -> StageSet:
    here = StagesView(3, places(Stage.SHADOW, 5), processes(3))
    return StageSet(here, {"agreed": 48_213, "racing": 1_204, "lagging": 37}, closed=True, entries=history())


def mixed() -> StageSet:
    here = StagesView(7, places(Stage.SHADOW, 5, Book=Stage.LIVE, TvSeason=Stage.DUALWRITE), processes(7))
    moved = HistoryEntry(time.time() - 30, "billio/Book", "shadow", "live", "lisa", True, held_ms=84.0, epoch=7)
    return StageSet(here, {"agreed": 48_213, "racing": 1_204}, entries=[moved, *history()])


def alarm(values: bool = True) -> StageSet:
    stage = calm()
    stage.verdicts = {**stage.verdicts, "mismatch": 4, "mirror_error": 210}
    stage.differences = findings(values)
    stage.breaker, stage.keys, stage.oldest, stage.parked = "half_open", 12_874, 312.0, 2
    return stage


def flipping(phase: str = "holding") -> StageSet:
    stage = calm()
    flip = FlipView(Scope("billio", "Book"), Stage.SHADOW, Stage.LIVE, phase, "lisa", time.time() - 0.3)
    told = processes(3, ("drained", "ready", "drained"), "2 writes in flight, 14 keys to converge")
    stage.overview = StagesView(3, stage.overview.scopes, told, flip)
    return stage


def empty() -> StageSet:
    return StageSet(StagesView(0, [], pinned="stages are pinned by the settings"), keys=0, oldest=0.0)


class Tokens:
    """The admin port's tokens."""

    def role_of(self, token: str) -> tuple[str, str] | None:
        return TOKENS.get(token)


def samples(stage: StageSet, hours: float) -> Samples:
    """A ring filled as if the process had run for so long with the set's verdicts."""
    metrics, at = Metrics(), [time.time() - hours * 3600]
    filled = Samples(metrics.registry, lambda: at[0])
    count = int(hours * 360)
    for n in range(count if stage.verdicts else 0):
        wave = (1.2 + math.sin(n / 50) + 0.35 * math.sin(n / 7)) / (count * 1.2)
        late = stage.keys > 1000 and n > count * 0.9
        for verdict, total in stage.verdicts.items():
            if verdict in ("mismatch", "unrepresentable", "mirror_error"):
                some = total // 4 if n in (int(count * 0.62), int(count * 0.63), count - 30, count - 5) else 0
            else:
                some = max(0, round(total * wave))
            if some:
                metrics.comparison.compared("billio", "Book", "GetItem", verdict, some)
        keys = int(4 + 3 * math.sin(n / 9)) if not late else int((n - count * 0.9) * 200)
        metrics.journal.backlog(keys, 0.08 * keys if not late else (n - count * 0.9) * 10, stage.parked)
        for k, operation in enumerate(("GetItem", "PutItem", "Query", "UpdateItem", "TransactWriteItems")):
            for spread in (1, 1.4, 1.2, 1.1, 3.5):
                metrics.stores.store_seconds("dynamodb", operation, 0.0031 * spread * (1 + k / 2))
                if operation != "TransactWriteItems":
                    metrics.stores.store_seconds("dsql", operation, 0.0048 * spread * (1 + k / 1.5))
        filled.take()
        at[0] += 10
    return filled


@asynccontextmanager
async def serving(stage: StageSet, *, tokens: bool = False, hours: float = 0.24) -> AsyncIterator[str]:
    """The console's address, for as long as the block lasts."""
    app = web.Application()
    keys = Tokens() if tokens else None
    routes(app, Console(stage, samples(stage, hours), keys, "0.1.0", values=True))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
