"""The view of the overview page, worked out from what the proxy knows: a frozen record that the templates render.

Pure: no I/O, no HTML.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy import formatting as words
from proxy.admin.console import charts
from proxy.admin.console.headline import Headline, headline, open_breakers
from proxy.admin.console.mismatches import MismatchView, group_mismatches
from proxy.admin.console.samples import Latency, Sample
from proxy.admin.console.texts import ALARMING, CONCLUSIVE, PHASES, STAGE_MEANINGS, VERDICTS, scope_name
from proxy.cutover.explanations import STORES
from proxy.cutover.gate.requirements import next_stage
from proxy.cutover.model import FlipView, GateView, HistoryEntry, ProcessView, StagedScope, StagesView
from proxy.cutover.stages import Scope, Stage

_NOTICE_SECONDS: Final = 300.0
GROUPS_SHOWN: Final = 25
TABLES_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class StageStep:
    """One of the six stages, and whether the scope is past it, in it, or before it."""

    stage: Stage
    state: str


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A table or type, with its stage among the six."""

    place: StagedScope
    name: str
    steps: tuple[StageStep, ...]
    number: int
    meaning: str
    compared: int
    alarming: int

    @property
    def agreed(self) -> str:
        return words.percent(1 - self.alarming / self.compared) if self.compared else ""


@dataclass(frozen=True, slots=True)
class TableSection:
    """A table with its rows (its own first), the meanings of their stages, and the gate of its flip."""

    name: str
    rows: tuple[ScopeRow, ...]
    meanings: tuple[tuple[str, str], ...]
    gate: GateView | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One verdict's count, tone and meaning, for the legend."""

    name: str
    tone: str
    meaning: str
    count: str
    share: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The outcome of a move that has just ended."""

    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process in the list, with its vote or state in words."""

    process: ProcessView
    answer: str
    ready: bool


@dataclass(frozen=True, slots=True)
class MoveProgressView:
    """A move under way: which phases are over, and how many processes have voted in this one."""

    flip: FlipView
    text: str
    answered: int
    of: int
    phases: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class MirrorLoad:
    """The mirror's load: its breaker, shed comparisons, parked keys, and the tasks that wait."""

    breaker: str
    breaker_closed: bool
    shed: str
    parked: int
    behind: int


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    now: float
    version: str
    identity: str
    uptime: str
    since: float
    overview: StagesView
    headline: Headline
    tables: tuple[TableSection, ...]
    tables_met: int
    progress: MoveProgressView | None
    notice: Notice | None
    agreement: charts.Agreement
    verdicts: tuple[Verdicts, ...]
    mismatches: tuple[MismatchView, ...]
    mismatch_count: int
    keys: charts.Area
    oldest: charts.Area
    keys_now: int
    oldest_now: str
    latency: tuple[charts.Compared, ...]
    latency_ticks: tuple[charts.Tick, ...]
    times: tuple[charts.Tick, ...]
    mirror_load: MirrorLoad
    processes: tuple[ProcessRow, ...]
    history: Sequence[HistoryEntry]
    compared_ever: int
    unread: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """What the proxy knows at one moment, as far as the page shows it."""

    now: float
    """Unix seconds."""
    version: str
    since: float
    """When the process began, in Unix seconds."""
    status: Mapping[str, Any]
    """`/v1/status`, without the version."""
    overview: StagesView
    gates: Mapping[str, GateView]
    """The gate of each table's flip, by table."""
    mismatches: Sequence[Mapping[str, Any]]
    """The differences that the process keeps, newest first."""
    samples: Sequence[Sample]
    latency: Mapping[tuple[str, str], Latency]
    history: Sequence[HistoryEntry]
    problems: Sequence[str]
    """Why the process should get no traffic."""
    unread: str = ""
    """Why the stage table cannot be read; "" if it was read."""


def compose_view(data: PageData) -> View:
    """Work out the page."""
    now, overview, status = data.now, data.overview, data.status
    agreement = charts.agreement(data.samples, data.since, now)
    mismatches = group_mismatches(data.mismatches)
    journal = status["journal"]
    counts = _by_type(status["comparisons"])
    progress = _progress(overview)

    def area(value: Callable[[Sample], float], tops: Sequence[float], label: Callable[[float], str]) -> charts.Area:
        return charts.area(data.samples, data.since, now, value, tops, label)

    return View(
        now=now,
        version=data.version,
        identity=next((each.name for each in overview.processes if each.is_this_process), ""),
        uptime=words.duration(max(0.0, now - data.since)),
        since=data.since,
        overview=overview,
        headline=headline(status, overview, mismatches, agreement, data.problems, data.unread, now),
        tables=_tables(overview, counts, data.gates),
        tables_met=len({each.scope.table for each in overview.scopes}),
        progress=progress,
        notice=None if progress else _notice(data.history, now),
        agreement=agreement,
        verdicts=_legend(agreement),
        mismatches=tuple(mismatches[:GROUPS_SHOWN]),
        mismatch_count=len(mismatches),
        keys=area(lambda sample: float(sample.keys), charts.COUNTS, words.count),
        oldest=area(lambda sample: sample.oldest_seconds, charts.AGES, words.duration),
        keys_now=journal["keys"],
        oldest_now=words.duration(journal["oldest_seconds"]) if journal["keys"] else "none",
        latency=charts.latencies(data.latency),
        latency_ticks=charts.latency_ticks(),
        times=charts.times(agreement.seconds, now),
        mirror_load=MirrorLoad(
            breaker=" · ".join(_breakers(status["breaker"])),
            breaker_closed=not open_breakers(status["breaker"]),
            shed=words.count(sum(sample.shed for sample in data.samples)),
            parked=journal["parked"],
            behind=status["behind"],
        ),
        processes=tuple(_process_rows(overview)),
        history=data.history,
        compared_ever=sum(sum(each.values()) for each in counts.values()),
        unread=data.unread,
    )


def _breakers(breakers: Mapping[str, str]) -> list[str]:
    """The breaker's state; where there are two, because tables are on both sides of the flip, those not closed."""
    away = {STORES.get(name, name): state.replace("_", " ") for name, state in breakers.items() if state != "closed"}
    return [f"{name}'s breaker {state}" for name, state in away.items()] or ["breaker closed"]


def _by_type(comparisons: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Counter[str]]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for each in comparisons:
        found.setdefault((each["table"], each["type"]), Counter())[each["verdict"]] += each["count"]
    return found


def _tables(
    overview: StagesView, counts: Mapping[tuple[str, str], Counter[str]], gates: Mapping[str, GateView]
) -> tuple[TableSection, ...]:
    rows: dict[str, list[ScopeRow]] = {name: [] for name in tables_shown(overview.scopes)}
    for place in sorted(overview.scopes, key=lambda place: place.scope):
        table, item_type = place.scope.table, place.scope.item_type
        if table not in rows:
            continue
        verdicts: Counter[str] = Counter()
        for (of_table, of_type), here in counts.items():
            if of_table == table and item_type in ("", of_type):
                verdicts.update(here)
        stages = list(Stage)
        here_at = stages.index(place.stage)
        steps = tuple(
            StageStep(stage, "past" if n < here_at else "here" if n == here_at else "ahead")
            for n, stage in enumerate(stages)
        )
        rows[table].append(
            ScopeRow(
                place,
                item_type or "Whole table",
                steps,
                here_at + 1,
                STAGE_MEANINGS[place.stage],
                sum(verdicts[each] for each in CONCLUSIVE),
                sum(verdicts[each] for each in ALARMING),
            )
        )
    return tuple(TableSection(name, tuple(of), _meanings(of), gates.get(name)) for name, of in rows.items())


def _meanings(rows: Iterable[ScopeRow]) -> tuple[tuple[str, str], ...]:
    """The meaning of each stage that occurs, with the rows in it; no names where all rows share one stage."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.meaning, []).append(row.name)
    if len(found) == 1:
        return tuple(("", meaning) for meaning in found)
    return tuple((", ".join(names), meaning) for meaning, names in found.items())


def tables_shown(places: Iterable[StagedScope]) -> list[str]:
    """The tables that the page has room for: those past `off` first, by name; thousands may be in `off`."""
    moving: dict[str, bool] = {}
    for place in places:
        moving[place.scope.table] = moving.get(place.scope.table, False) or place.stage is not Stage.OFF
    return sorted(moving, key=lambda name: (not moving[name], name))[:TABLES_SHOWN]


def flip_target(stage: Stage) -> Stage:
    """The flip whose gate the page shows: to `live` and, after it, back to `shadow`."""
    return Stage.LIVE if stage.authority == "dynamodb" else Stage.SHADOW


def _legend(agreement: charts.Agreement) -> tuple[Verdicts, ...]:
    compared = agreement.all
    return tuple(
        Verdicts(
            name,
            tone,
            meaning,
            words.count(agreement.totals[name]),
            words.percent(agreement.totals[name] / compared) if compared else "",
        )
        for name, (tone, meaning) in VERDICTS.items()
    )


def _progress(overview: StagesView) -> MoveProgressView | None:
    flip = overview.flip
    if flip is None:
        return None
    names = [name for name in PHASES if name != "holding" or flip.from_stage.authority != flip.to.authority]
    wanted = {"announced": "ready", "holding": "drained", "switched": "switched"}[flip.phase]
    answered = sum(each.vote == wanted for each in overview.processes)
    now = names.index(flip.phase) if flip.phase in names else 0
    phases = tuple(
        (name, PHASES[name], "past" if n < now else "here" if n == now else "ahead") for n, name in enumerate(names)
    )
    return MoveProgressView(flip, PHASES[flip.phase], answered, len(overview.processes), phases)


def _process_rows(overview: StagesView) -> Iterable[ProcessRow]:
    for each in overview.processes:
        late = each.epoch != overview.epoch
        answer = each.vote or (f"at epoch {each.epoch}, behind the others" if late else "serving")
        if each.lease_expired:
            answer = "gone: it no longer renews its lease"
        yield ProcessRow(each, answer, ready=not late and not each.lease_expired and not each.problem)


def _notice(history: Sequence[HistoryEntry], now: float) -> Notice | None:
    last = next((each for each in history if each.before), None)
    if last is None or now - last.at > _NOTICE_SECONDS:
        return None
    scope = Scope.parse(last.scope)
    name = scope_name(scope.table, scope.item_type)
    if not last.committed:
        return Notice("unsure", f"{name} stays in {last.before}: {last.reason or 'the move was given up'}.")
    held = f" Writes were held for {words.duration(last.held_ms / 1000)}." if last.held_ms else " No write waited."
    return Notice("calm", f"{name} went from {last.before} to {last.after}, epoch {last.epoch}.{held}")


def default_target(place: StagedScope) -> Stage:
    """The stage that the form of a move proposes."""
    return next_stage(place.stage) or Stage.RAMPDOWN
