"""The flip as a small state machine, and a search through every state that it can come to.

Proxies, one key, and the stage table; a network that loses, delays and lands late; processes that crash, that are
paused past their lease, that are forgotten by an operator, that start again. A value is the set of writes that took
effect, so that what is lost or goes back can be seen in every state. A time limit is an event that may come at any
moment: nothing here depends on how long anything takes. There is no driver: whatever a driver does, it does by
conditional writes of the state, and any process may decide on one at any moment, so that every driver that dies, hangs
or races with another is among the runs.

`Guards` names what the protocol depends on. With all of them no run is bad; `python -m tests.simulation.flip_model`
takes each out and shows the shortest run that goes wrong. Converge is taken to be right here (tests/simulation does
it with the real one); its rows are guarded by what was read, as they are in the product.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

ANNOUNCED, HOLDING, SWITCHED = 1, 2, 3
# A write's way: begun (in the journal, not sent), flying (sent), done (it took effect; the answer is on its way).
BEGUN, FLYING, DONE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Guards:
    """What can be taken out."""

    the_rule: bool = True  # one that owes and has not drained is never passed over
    lease_at_start: bool = True  # no write and no read without a lease
    lease_before_ack: bool = True  # no acknowledgement without one
    unbroken_lease: bool = True  # ... and not with another one than the write began with
    owes_first: bool = True  # a process says that it owes before its first write
    waits_for_switched: bool = True  # writes go on when all have switched, and not when the first has
    joiner_holds: bool = True  # one that comes while a flip is on holds writes too
    conditional_writes: bool = True  # the state is written if its version is still what was read
    renews_then_reads: bool = True  # the lease counts if the state was read after it was renewed
    drains_the_unknown: bool = True  # drained: nothing that was sent can still take effect
    converges_with_lease: bool = True  # one without a lease repairs nothing
    lease_counts_in_switched: bool = True  # in `switched`, one whose lease has run out is not waited for


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of each may happen."""

    proxies: int = 2
    writes: int = 2
    flips: int = 1
    crashes: int = 1
    pauses: int = 1
    forgets: int = 0
    late: int = 1  # conditional writes of the state that are on their way at once
    nominated: bool = False  # the first process begins with the key in its journal
    observed: bool = True  # what a client has read may not be gone later, acknowledged or not


class Proxy(NamedTuple):
    """One process, its journal, and its item in the stage table."""

    alive: bool = True
    fresh: bool = False  # nobody could yet call its newest lease run out
    valid: bool = False  # it holds a lease, for all it knows
    item: bool = False  # it stands in the table
    owes: bool = False
    answer: tuple[int, int] = (0, 0)  # (flip, phase) in its item
    knows: bool = False  # it has read the map since it started
    epoch: int = 0  # the map that it goes by
    flip: tuple[int, int] = (0, 0)  # the flip it has seen
    met: int = 0  # the flip that it has answered in time: for the guard `joiner_holds`
    hold: bool = False
    renewed: bool = False  # its item is renewed, and it has not read the state since
    write: tuple[int, int, int, bool] = (0, 0, 0, False)  # way, which, under which epoch, lease unbroken
    journal: bool = False
    repair: tuple[int, int, int] = (-1, 0, 0)  # under which epoch (-1: none), what is wanted, what was held
    orphan: tuple[int, int] = (-1, 0)  # a write that its process gave up: epoch (-1: none), which


class State(NamedTuple):
    stores: tuple[int, int] = (0, 0)  # DynamoDB, DSQL: bits of the writes in them
    epoch: int = 0
    flip: tuple[int, int] = (0, 0)
    flips: int = 0
    late: tuple[int, ...] = ()  # conditional writes on their way: to which phase; 0 ends the flip
    acknowledged: int = 0
    seen: int = 0
    begun: int = 0
    crashes: int = 0
    pauses: int = 0
    forgets: int = 0
    proxies: tuple[Proxy, ...] = ()


class Broken(Exception):
    """An invariant does not hold; the text says which."""


def authority(epoch: int) -> int:
    """0: DynamoDB. Each flip goes to the other store."""
    return epoch % 2


Step = tuple[str, State]


class Model:
    """The steps from a state."""

    def __init__(self, guards: Guards, bounds: Bounds) -> None:
        self.guards = guards
        self.bounds = bounds

    def start(self) -> State:
        ready = Proxy(fresh=True, valid=True, item=True, knows=True)
        first = ready._replace(owes=True, journal=True) if self.bounds.nominated else ready
        return State(proxies=tuple(sorted((first, *(ready,) * (self.bounds.proxies - 1)))))

    def steps(self, state: State) -> Iterator[Step]:
        yield from self._of_the_flip(state)
        for n, proxy in enumerate(state.proxies):
            if n and proxy == state.proxies[n - 1]:
                continue  # the same steps as its twin's
            for name, shared, after in self._of(state, proxy):
                proxies = list(state.proxies)
                proxies[n] = after
                proxies.sort()
                yield f"{name}", shared._replace(proxies=tuple(proxies))

    # -- the flip: decided by anybody, at any moment, and landing when it likes ---------------------------------------

    def _of_the_flip(self, state: State) -> Iterator[Step]:
        number, phase = state.flip
        if not phase and state.flips < self.bounds.flips:
            yield "announce", self._written(state._replace(flip=(state.flips + 1, ANNOUNCED), flips=state.flips + 1))
        for wanted in self._decisions(state, number, phase):
            if len(state.late) < self.bounds.late and wanted not in state.late:
                yield f"decide {_PHASES[wanted]}", state._replace(late=tuple(sorted((*state.late, wanted))))
        for wanted in state.late:
            rest = state._replace(late=tuple(other for other in state.late if other != wanted))
            yield f"lost: {_PHASES[wanted]}", rest
            yield f"lands: {_PHASES[wanted]}", self._land(rest, wanted)

    def _decisions(self, state: State, number: int, phase: int) -> Iterator[int]:
        if phase == ANNOUNCED and all(self._past(p, number, ANNOUNCED) for p in state.proxies):
            yield HOLDING
        if phase == HOLDING and all(self._past(p, number, HOLDING) for p in state.proxies):
            yield SWITCHED
        if phase in (ANNOUNCED, HOLDING):
            yield 0
        if phase == SWITCHED and (
            not self.guards.waits_for_switched or all(self._switched(p, number) for p in state.proxies)
        ):
            yield 0

    def _past(self, proxy: Proxy, number: int, phase: int) -> bool:
        if not proxy.item or (proxy.answer[0] == number and proxy.answer[1] >= phase):
            return True
        return not proxy.fresh and not (proxy.owes and self.guards.the_rule)

    def _switched(self, proxy: Proxy, number: int) -> bool:
        if not proxy.item or proxy.answer == (number, SWITCHED):
            return True
        return not proxy.fresh and self.guards.lease_counts_in_switched

    def _land(self, state: State, wanted: int) -> State:
        number, phase = state.flip
        if wanted == SWITCHED:
            number = number or state.flips  # unconditional, it writes what its maker knew
            return self._written(state._replace(epoch=state.epoch + 1, flip=(number, SWITCHED)))
        if not phase:
            return state
        return self._written(state._replace(flip=(number, wanted) if wanted else (0, 0)))

    def _written(self, state: State) -> State:
        """The state has another version now: conditional writes that are still on their way will have no effect."""
        return state._replace(late=()) if self.guards.conditional_writes else state

    # -- one process --------------------------------------------------------------------------------------------------

    def _of(self, state: State, p: Proxy) -> Iterator[tuple[str, State, Proxy]]:
        if p.alive:
            yield from self._lease(state, p)
            yield from self._client(state, p)
            yield from self._repair(state, p)
            if state.crashes < self.bounds.crashes:
                yield "crash", state._replace(crashes=state.crashes + 1), self._crashed(p)
        else:
            yield "start again", state, self._crashed(p)._replace(alive=True)
        if p.fresh and not p.alive:
            yield "a dead one's lease runs out", state, p._replace(fresh=False)
        elif p.fresh and state.pauses < self.bounds.pauses:
            way, which, epoch, _ = p.write
            broken = p._replace(fresh=False, valid=False, write=(way, which, epoch, False))
            yield "lease runs out", state._replace(pauses=state.pauses + 1), broken
        if p.orphan[0] >= 0:
            yield "an unknown write takes effect", self._effect(state, *p.orphan), p._replace(orphan=(-1, 0))
            yield "an unknown write is lost", state, p._replace(orphan=(-1, 0))
        if p.item and not p.fresh and p.owes and state.forgets < self.bounds.forgets and state.flip == (0, 0):
            yield "swept and forgotten", self._swept(state), p._replace(item=False, owes=False, answer=(0, 0))

    def _lease(self, state: State, p: Proxy) -> Iterator[tuple[str, State, Proxy]]:
        swapped = not self.guards.renews_then_reads
        if not p.renewed:
            # Its item: a new one owes what its journal holds.
            after = p._replace(
                item=True, fresh=True, renewed=True, answer=self._answer(p), owes=p.owes if p.item else p.journal
            )
            if swapped:
                after = self._read_state(state, p)._replace(renewed=True)
            yield "reads, to renew" if swapped else "renews", state, after
        else:
            if swapped:
                after = p._replace(item=True, fresh=True, valid=True, answer=self._answer(p))
            else:
                after = self._read_state(state, p)._replace(valid=p.fresh)
            yield "renews" if swapped else "reads the state", state, after._replace(renewed=False)
        if p.item and not p.owes and state.begun < self.bounds.writes:
            yield "owes", state, p._replace(owes=True)
        if p.item and p.owes and not p.journal and not p.write[0]:
            yield "is clean", state, p._replace(owes=False)

    def _read_state(self, state: State, p: Proxy) -> Proxy:
        number, phase = state.flip
        held = phase >= HOLDING and (self.guards.joiner_holds or p.met == number)
        met = number if phase == ANNOUNCED and not self.guards.joiner_holds else p.met
        return p._replace(epoch=max(p.epoch, state.epoch), flip=state.flip, hold=held, knows=True, met=met)

    def _answer(self, p: Proxy) -> tuple[int, int]:
        number, phase = p.flip
        if phase == HOLDING and not self._drained(p):
            return (number, ANNOUNCED)
        return (number, phase) if phase else (0, 0)

    def _drained(self, p: Proxy) -> bool:
        if not p.hold or p.write[0] or p.repair[0] >= 0:
            return False
        return not p.journal and (p.orphan[0] < 0 or not self.guards.drains_the_unknown)

    def _client(self, state: State, p: Proxy) -> Iterator[tuple[str, State, Proxy]]:
        served = p.knows and (p.valid or not self.guards.lease_at_start)
        way, which, epoch, unbroken = p.write
        if served:
            found = state.stores[authority(p.epoch)]
            if (state.acknowledged | state.seen) & ~found:
                raise Broken("a read goes back")
            if found & ~state.acknowledged & ~state.seen and self.bounds.observed:
                yield "a client reads", state._replace(seen=found & ~state.acknowledged), p
        if way == 0:
            owes = p.owes or not self.guards.owes_first
            if served and owes and not p.hold and state.begun < self.bounds.writes:
                write = (BEGUN, 1 << state.begun, p.epoch, p.valid)
                yield "a write begins", state._replace(begun=state.begun + 1), p._replace(write=write, journal=True)
        elif way == BEGUN:
            yield "sends it", state, p._replace(write=(FLYING, which, epoch, unbroken))
        elif way == FLYING:
            yield "it takes effect", self._effect(state, epoch, which), p._replace(write=(DONE, which, epoch, unbroken))
            if p.orphan[0] < 0:
                yield "gives up waiting", state, p._replace(write=(0, 0, 0, False), orphan=(epoch, which))
        elif self._may_acknowledge(p):
            if authority(epoch) != authority(state.epoch):
                raise Broken("a write is acknowledged by a store that is not the authority")
            acknowledged = state._replace(acknowledged=state.acknowledged | which, seen=state.seen & ~which)
            yield "acknowledges", acknowledged, p._replace(write=(0, 0, 0, False))
        else:
            yield "answers an error", state, p._replace(write=(0, 0, 0, False))

    def _may_acknowledge(self, p: Proxy) -> bool:
        if not self.guards.lease_before_ack:
            return True
        return p.valid and (p.write[3] or not self.guards.unbroken_lease)

    def _repair(self, state: State, p: Proxy) -> Iterator[tuple[str, State, Proxy]]:
        may = p.valid or not self.guards.converges_with_lease
        direction, wanted, held = p.repair
        if direction < 0:
            if p.journal and may:
                side = authority(p.epoch)
                read = (p.epoch, state.stores[side], state.stores[1 - side])
                yield "converge reads", state, p._replace(repair=read)
            return
        if not may:
            yield "converge gives up", state, p._replace(repair=(-1, 0, 0))
            return
        side = authority(direction)
        stores = list(state.stores)
        if stores[1 - side] == held:
            stores[1 - side] = wanted
        done = stores[0] == stores[1] and stores[side] == wanted and not p.write[0]
        done = done and (p.orphan[0] < 0 or not self.guards.drains_the_unknown)
        after = p._replace(repair=(-1, 0, 0), journal=p.journal and not done)
        yield "converge writes", state._replace(stores=(stores[0], stores[1])), after

    def _crashed(self, p: Proxy) -> Proxy:
        way, which, epoch, _ = p.write
        orphan = (epoch, which) if way == FLYING and p.orphan[0] < 0 else p.orphan
        return Proxy(
            alive=False, fresh=p.fresh, item=p.item, owes=p.owes, answer=p.answer, journal=p.journal, orphan=orphan
        )

    def _effect(self, state: State, epoch: int, which: int) -> State:
        stores = list(state.stores)
        stores[authority(epoch)] |= which
        return state._replace(stores=(stores[0], stores[1]))

    def _swept(self, state: State) -> State:
        truth = state.stores[authority(state.epoch)]
        return state._replace(stores=(truth, truth))


_PHASES: Final = ("end", "announced", "holding", "switched")


def check(state: State) -> None:
    """What must hold in every state."""
    if state.acknowledged & ~state.stores[authority(state.epoch)]:
        raise Broken("an acknowledged write is not in the authority")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to: how many states there are, and the shortest bad run, if any."""

    states: int
    broken: str | None = None
    run: tuple[str, ...] = ()
    stuck: int = 0


def search(
    guards: Guards, bounds: Bounds, *, given: Iterable[str] = (), ends: bool = False, most: int = 3_000_000
) -> Found:
    """Every state within the bounds that comes after the steps `given`, the nearest first. With `ends`, also whether
    from each of them the flip can end and every process that is alive can go on writing, with no crash, no restart and
    no operator to help."""
    model = Model(guards, bounds)
    queue, at = [model.start()], 0
    for name in given:
        queue = [after for state in queue for step, after in model.steps(state) if step == name]
    assert queue, f"there is no such beginning: {given}"
    came: dict[State, tuple[State, str] | None] = dict.fromkeys(queue)
    back: dict[State, list[State]] = {}
    while at < len(queue):
        state = queue[at]
        at += 1
        try:
            check(state)
            for name, after in model.steps(state):
                if after not in came:
                    came[after] = (state, name)
                    queue.append(after)
                if ends and name not in _HELP:
                    back.setdefault(after, []).append(state)
        except Broken as error:
            return Found(len(queue), str(error), _run(came, state))
        if len(queue) > most:
            raise MemoryError(f"more than {most} states: narrow the bounds")
    if not ends:
        return Found(len(queue))
    good = [state for state in queue if state.flip == (0, 0) and not any(p.alive and p.hold for p in state.proxies)]
    reached = set(good)
    while good:
        for before in back.get(good.pop(), ()):
            if before not in reached:
                reached.add(before)
                good.append(before)
    stuck = next((state for state in queue if state not in reached), None)
    if stuck is None:
        return Found(len(queue))
    return Found(len(queue), "a flip that nobody can end", _run(came, stuck), len(queue) - len(reached))


_HELP: Final = frozenset({"crash", "start again", "swept and forgotten", "a write begins", "announce"})


def _run(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names = []
    step = came[state]
    while step is not None:
        names.append(step[1])
        step = came[step[0]]
    return tuple(reversed(names))


@dataclass(frozen=True, slots=True)
class Without:
    """Bounds, and a beginning, by which a guard that is taken out is missed soon."""

    guard: str
    bounds: Bounds
    given: tuple[str, ...] = ()
    ends: bool = False

    def search(self) -> Found:
        return search(replace(Guards(), **{self.guard: False}), self.bounds, given=self.given, ends=self.ends)


_COUNTED: Final = ("proxies", "writes", "flips", "crashes", "pauses", "forgets", "late")
_READY: Final = ("announce", "renews", "renews", "reads the state", "reads the state", "renews", "renews",
                 "decide holding", "lands: holding")  # fmt: skip
_CALM: Final = Bounds(writes=1, crashes=0, pauses=0)
_PAUSED: Final = Bounds(writes=1, crashes=0)
_FORGOTTEN: Final = Bounds(writes=1, crashes=0, forgets=1, observed=False)
_LOST: Final = ("lease runs out", "swept and forgotten")
WITHOUT: Final = (
    Without("the_rule", _PAUSED, _READY),
    Without("lease_at_start", _PAUSED, _READY),
    Without("lease_before_ack", _FORGOTTEN, ("owes", "a write begins", *_LOST)),
    Without("unbroken_lease", _FORGOTTEN, ("owes", "a write begins", *_LOST)),
    Without("owes_first", _PAUSED, _READY),
    Without("waits_for_switched", _CALM, _READY),
    Without("joiner_holds", _PAUSED, ("announce", "renews", "lease runs out")),
    Without("conditional_writes", replace(_CALM, late=2), ("announce", "decide end")),
    Without("renews_then_reads", _PAUSED, ("announce", "reads, to renew", "reads, to renew", "lease runs out")),
    Without("drains_the_unknown", _CALM, _READY),
    Without("converges_with_lease", replace(_FORGOTTEN, nominated=True), _LOST),
    Without("lease_counts_in_switched", replace(_CALM, writes=0, crashes=1), _READY, ends=True),
)


def _tell() -> None:
    """Every run within bounds of one's own, and each guard taken out."""
    given: dict[str, Any] = dict(zip(_COUNTED, map(int, sys.argv[1:]), strict=False))
    bounds = Bounds(**given)
    began = time.perf_counter()
    found = search(Guards(), bounds)
    print(f"{bounds}: {found.states} states, {time.perf_counter() - began:.1f} s: {found.broken or 'none is bad'}")
    for each in WITHOUT:
        began = time.perf_counter()
        found = each.search()
        print(f"without {each.guard}: {found.states} states, {time.perf_counter() - began:.1f} s: {found.broken}")
        for step in (*each.given, "--", *found.run):
            print("   ", step)


if __name__ == "__main__":
    _tell()
