"""What happens while stages are moved, made from a seed: who writes and reads, who dies, sleeps or is cut off, and who
moves what when. Data only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from proxy.cutover.stages import Stage
from tests.simulation.line import Outage, Weather
from tests.simulation.story import DSQL_SETTLE, DYNAMODB_SETTLE, Story

STAGE_SETTLE: Final = 3.0
_ENDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Moving:
    """Somebody moves the table at a time; the command is killed after a while, or interrupted, or neither."""

    at: float
    to: Stage
    killed_after: float | None = None
    interrupted_after: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls a process at a time. `cut`: it cannot reach the stage table. `forget`: it sleeps, is taken for
    lost, is forgotten, and wakes up all the same. `lose`: it is killed and its journal is gone; it is forgotten, and
    another is started in its place. A sweep of all follows whenever one was forgotten."""

    at: float
    what: Literal["kill", "stop", "sleep", "cut", "forget", "lose"]
    process: int
    lasts: float


@dataclass(frozen=True, slots=True)
class FlipStory:
    """`base` is what a process needs to know; clients write and read `keys`, with pauses of about `hurry` seconds, from
    `begins` to `ends`, each at whichever process comes next. `stages` is the weather on the way to the stage table,
    `driver` that on the way of those who move stages, if it is another."""

    base: Story
    writers: int
    readers: int
    hurry: float
    rests: float
    begins: float
    ends: float
    moves: tuple[Moving, ...]
    troubles: tuple[Trouble, ...]
    stages: Weather
    driver: Weather | None = None
    pagers: int = 0
    """Clients that page through the whole table again and again, each page at whichever process comes next."""
    swept_at: float | None = None
    """When an operator sweeps the table, beside the sweeps that follow a forgotten process."""


def tell(seed: int) -> FlipStory:
    """The story of a seed."""
    chance = random.Random(f"flip {seed}")
    processes = chance.choice((1, 2, 2, 3, 3))
    stormy = chance.random()
    delay = chance.choice((0.005, 0.02, 0.1))
    base = Story(
        seed=seed,
        stage=chance.choice(("shadow", "shadow", "dualwrite")),
        processes=processes,
        keys=tuple(f"k{n}" for n in range(chance.choice((1, 1, 2)))),
        clients=(),
        events=(),
        dynamodb=_weather(chance, stormy, delay, DYNAMODB_SETTLE),
        dsql=_weather(chance, stormy, delay, DSQL_SETTLE),
        dynamodb_outages=(),
        dsql_outages=(Outage(3.0, 4.0, hangs=False),) if stormy > 0.9 else (),
        lag=0.0,
        probes=(),
        alone=True,
    )
    return FlipStory(
        base=base,
        writers=chance.choice((1, 2, 3)),
        readers=chance.choice((1, 2)),
        hurry=chance.choice((0.05, 0.2, 0.6)),
        # A process owes no more when it has written nothing for a while: clients rest for about so long, now and then.
        rests=chance.choice((0.0, 0.0, 3.0, 7.0)),
        begins=0.0,
        ends=_ENDS,
        moves=tuple(_moves(chance, stormy)),
        troubles=tuple(_troubles(chance, processes)) if stormy > 0.25 else (),
        stages=_weather(chance, stormy if stormy > 0.8 else 0.0, chance.choice((0.005, 0.03)), STAGE_SETTLE),
    )


def _weather(chance: random.Random, stormy: float, delay: float, settle: float) -> Weather:
    if stormy < 0.6:
        return Weather(delay, settle)
    # An outcome that nobody knows keeps flips away for the settle time, so there must not be one every second.
    most = chance.choice((0.0, 0.01, 0.03))
    return Weather(delay, settle, *(most * chance.random() if chance.random() < 0.5 else 0.0 for _ in range(5)))


def _moves(chance: random.Random, stormy: float) -> list[Moving]:
    moves, at, live = [], 0.0, False
    for _ in range(chance.choice((2, 3, 4))):
        at += chance.uniform(0.2, 4.0)
        if chance.random() < 0.25:
            to = chance.choice((Stage.RAMPDOWN, Stage.LIVE) if live else (Stage.DUALWRITE, Stage.SHADOW))
        else:
            live = not live
            to = chance.choice((Stage.LIVE, Stage.LIVE, Stage.RAMPDOWN) if live else (Stage.SHADOW, Stage.DUALWRITE))
        killed = chance.uniform(0.0, 0.8) if stormy > 0.4 and chance.random() < 0.2 else None
        interrupted = chance.uniform(0.0, 0.8) if killed is None and chance.random() < 0.1 else None
        moves.append(Moving(at, to, killed, interrupted))
    return moves


def _troubles(chance: random.Random, processes: int) -> list[Trouble]:
    troubles = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, process = chance.uniform(0.1, _ENDS * 0.8), chance.randrange(processes)
        what = chance.choice(("kill", "kill", "stop", "sleep", "sleep", "sleep", "cut", "forget", "lose"))
        lasts = chance.choice((0.2, 0.8, 2.5, 4.0, 7.0))
        if what == "forget":
            lasts = chance.uniform(6.0, 12.0)
        troubles.append(Trouble(at, what, process, lasts))  # type: ignore[arg-type]
    forgotten = [each for each in troubles if each.what in ("forget", "lose")]
    return forgotten[:1] or troubles


Kind = Literal["sleeper", "dead", "slow", "busy", "joiner", "late", "lost", "off"]


def tell_near(seed: int, kind: Kind) -> FlipStory:
    """A story of one flip, with trouble close to it. sleeper: one that owes nothing sleeps until it is over. dead: one
    dies with keys that have not converged. slow: the stage table is far. busy: the mirror is. joiner: processes start
    while writes are held. late: writes of the stage table land late, and the command is interrupted. lost: one dies as
    in `dead`, and its journal with it; it is forgotten, and moves are tried before and after a sweep. off: the table
    stands in `off` for a while, in which clients write, and moves are tried before and after a sweep."""
    chance = random.Random(f"near {kind} {seed}")
    at = chance.uniform(0.3, 0.6) if kind == "sleeper" else chance.uniform(1.0, 1.5)
    near, far = Weather(0.01, STAGE_SETTLE), Weather(chance.uniform(0.1, 0.3), STAGE_SETTLE)
    late = Weather(0.1, STAGE_SETTLE, lingering=0.15, cut=0.15)
    lost, off = kind == "lost", kind == "off"
    troubles: list[Trouble] = []
    if kind == "sleeper":
        troubles.append(Trouble(chance.uniform(0.1, at), "sleep", 1, chance.uniform(5.0, 6.0)))
    elif kind == "dead":
        troubles.append(Trouble(at - 0.05, "kill", 1, 7.0))
    elif lost:
        troubles.append(Trouble(at - 0.05, "lose", 1, 1.0))
    elif kind == "joiner":
        troubles += [Trouble(at - 0.4, "stop", n, 0.4 + chance.uniform(0.0, 0.8)) for n in (1, 2)]
    interrupted = chance.uniform(0.3, 2.0) if kind == "late" else None
    # In `complete` nothing is mirrored, so what the old authority shows is old from the first write on.
    to = Stage.COMPLETE if kind in ("sleeper", "slow", "joiner") else Stage.LIVE
    return FlipStory(
        base=Story(
            seed=seed,
            stage="dualwrite",
            processes=3 if kind == "joiner" else 2,
            keys=tuple(f"k{n}" for n in range(12)) if kind in ("dead", "lost", "off") else ("k0",),
            clients=(),
            events=(),
            dynamodb=Weather(0.05, DYNAMODB_SETTLE),
            dsql=Weather(0.4 if kind in ("dead", "busy", "lost") else 0.05, DSQL_SETTLE),
            dynamodb_outages=(),
            dsql_outages=(),
            lag=0.0,
            probes=(),
            alone=True,
        ),
        writers=3,
        readers=5 if kind == "sleeper" else 2,
        hurry=0.03,
        rests=0.0,
        begins=at + 0.2 if kind == "sleeper" else 0.0,
        ends=at + {"sleeper": 6.5, "dead": -0.06, "lost": -0.06, "off": 0.1}.get(kind, 2.0),
        moves=(
            *((Moving(at - 0.8, Stage.OFF), Moving(at, Stage.SHADOW)) if off else ()),
            Moving(at + {"lost": 5.5, "off": 1.0}.get(kind, 0.0), to, interrupted_after=interrupted),
            *((Moving(at + 25.0, to),) if lost or off else ()),
        ),
        troubles=tuple(troubles),
        stages={"slow": far, "sleeper": far, "late": late}.get(kind, near),
        driver=far if kind == "joiner" else None,
        swept_at=at + chance.uniform(8.0, 20.0) if off else None,
    )
