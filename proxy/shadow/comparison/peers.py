"""The other processes over the same stores: asks them what only they know. That is whether they were writing a key, of
which only their journals know, and which store gave out a cursor (`proxy.shadow.cursors`).

Why they are asked about keys: when two processes write one key at the same time, the mirror may execute the writes in
another order than the authority. Either process then sees outcomes and items that differ, exactly as if the mirror were
at fault, and reading the stores again does not show which it was. So the others are asked before a difference is called
a mismatch. If no journal has held the key since the comparison began, no write in flight explains the difference.

Processes are asked how long ago they held the key, because that is a duration by one clock: messages may be slow, and
nobody knows for how long a question was on its way.

Messages are rows of a table in the mirror. Each process posts there that it is present, polls every half second for
questions, and answers them from its journal. Questions are posted only when a mismatch is suspected. A process that is
present and does not answer may hold any key; so may one that ended without emptying its journal, until it returns or is
forgotten.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.journal import Journal
from proxy.stores.dsql.system_tables.peer_messages import PeerMessage
from proxy.stores.errors import Refused, StoreError

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.5
_BEAT_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 20.0
_FORGET_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 3.0
_CALL_SECONDS: Final = 2.0
_BACK_OFF_SECONDS: Final = 15.0
# Clocks run at slightly different speeds, and answers are in whole milliseconds.
_MARGIN_SECONDS: Final = 0.1

# After so long without an answer of the mirror, a client's page is not kept waiting for one.
_FRESH_SECONDS: Final = 5.0

_PRESENT: Final = "present"
_KEYS: Final = "keys"


class PeerMessageStore(Protocol):
    """The table of messages between processes (`proxy.stores.dsql.system_tables.peer_messages`). Every method raises
    StoreError."""

    async def read(self) -> Sequence[PeerMessage]:
        """Return all messages."""

    async def post(self, subject: str, process: str, text: str) -> None:
        """Post a message. It replaces the process's earlier message on the subject."""

    async def clear(self, subject: str, process: str | None = None) -> None:
        """Remove all messages on a subject, or only those of one process."""


@dataclass(frozen=True, slots=True)
class PeerReply:
    """What another process answered."""

    answer: list[Any]
    """The answer; empty where the process does not know."""
    age: float
    """How long ago it was given, in seconds by the database's clock."""


class PeerActivity(Protocol):
    """What other processes were writing: a comparison asks before it calls a difference a mismatch."""

    @property
    def can_ask(self) -> bool:
        """Whether there is a way to know, as far as is known before asking."""

    async def recently_written(self, keys: Sequence[Key], seconds: float, /) -> frozenset[Key] | None:
        """Return the keys that another process may have had in its journal in the last `seconds`; None if there is no
        way to know."""


@dataclass(frozen=True, slots=True)
class NoPeers:
    """`PeerActivity` where nobody is asked."""

    alone: bool
    """Whether the operator says that no other process writes."""

    @property
    def can_ask(self) -> bool:
        return self.alone

    async def recently_written(self, *_: object) -> frozenset[Key] | None:
        return frozenset() if self.alone else None


class Peers:
    """`PeerActivity` over a table of messages. `poll` must run as a task: otherwise no other process gets an answer."""

    def __init__(self, messages: PeerMessageStore, journal: Journal, read_seconds: float = _ANSWER_SECONDS) -> None:
        """A comparison waits for at most `read_seconds` to learn which processes are present."""
        self._messages = messages
        self._journal = journal
        self._read_seconds = read_seconds
        self._beat_at = -_BEAT_SECONDS
        self._answered: set[str] = set()
        self._answers: dict[str, Callable[[Any], list[Any]]] = {_KEYS: self._all_idle_seconds}
        self._heard_at = -_FRESH_SECONDS
        self._refused = False
        self._announced = False
        self._silent: set[str] = set()

    def answers(self, kind: str, answer: Callable[[Any], list[Any]]) -> None:
        """From now on, answer the others' questions of a kind."""
        self._answers[kind] = answer

    async def announce(self) -> None:
        """Post that this process is present, before its first write. A failure is logged, and `poll` tries again."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._beat()
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)

    async def poll(self) -> None:
        """Once: post that this process is present, answer questions, and sleep until the next poll."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._poll_once()
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)
            # Until this process is announced, the others do not know that it writes, and take its writes for mirror
            # faults.
            again = _BEAT_SECONDS if self._announced else _POLL_SECONDS
            await asyncio.sleep(_BACK_OFF_SECONDS if isinstance(error, Refused) else again)
        else:
            self._refused = False
            await asyncio.sleep(_POLL_SECONDS)

    async def withdraw(self) -> None:
        """Post that this process ends with an empty journal."""
        await self._clear(_PRESENT, self._journal.identity)

    @property
    def can_ask(self) -> bool:
        return not self._refused

    async def recently_written(self, keys: Sequence[Key], seconds: float, /) -> frozenset[Key] | None:
        if self._refused:
            return None
        subject = uuid.uuid4().hex
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._read_seconds):
                peers = self._peers(await self._messages.read())
            if not peers:
                return frozenset()
            silent = [process for process, age in peers.items() if age > _SILENT_SECONDS]
            if silent:
                self._report_silent(silent)
                return frozenset(keys)
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._messages.post(subject, self._journal.identity, _question(keys))
                try:
                    untouched = await self._collect_answers(subject, len(keys), set(peers))
                    # An answer may be as old as the question, so a key counts as written if it was idle for less than
                    # the period asked about and the time since the question together.
                    period = seconds + loop.time() - started + _MARGIN_SECONDS
                    return frozenset(keys[n] for n, idle in enumerate(untouched) if idle <= period)
                finally:
                    await self._clear(subject)
        except Refused as error:
            self._report_failure(error)
            return None
        except (StoreError, TimeoutError):
            return frozenset(keys)

    async def ask(self, kind: str, about: Any, /) -> Sequence[PeerReply]:
        """Return what the other processes answer to a question of a kind: of those that are present, as many as reply
        in time. Nobody is asked while the mirror, where the messages are, does not answer."""
        if asyncio.get_running_loop().time() - self._heard_at >= _FRESH_SECONDS:
            return ()
        subject, replies = uuid.uuid4().hex, dict[str, PeerReply]()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                present = self._present(await self._messages.read())
                if not present:
                    return ()
                await self._messages.post(subject, self._journal.identity, orjson.dumps({kind: about}).decode())
                try:
                    while not present <= replies.keys():
                        await asyncio.sleep(_POLL_SECONDS / 4)
                        posted = [each for each in await self._messages.read() if each.subject == subject]
                        answers = [each for each in posted if each.text.startswith("[")]
                        replies = {each.process: PeerReply(orjson.loads(each.text), each.age) for each in answers}
                finally:
                    await self._clear(subject)
        except StoreError as error:
            self._report_failure(error)
        except TimeoutError:
            pass
        return tuple(replies.values())

    async def _collect_answers(self, subject: str, keys: int, expected: set[str]) -> list[float]:
        """Wait until all have answered. Returns for how many seconds each key has been in nobody's journal."""
        while True:
            await asyncio.sleep(_POLL_SECONDS / 4)
            posted = await self._messages.read()
            answers = {each.process: _idle_seconds_in(each.text, keys) for each in posted if each.subject == subject}
            # A process that has appeared meanwhile may have been writing before it was announced.
            expected |= set(self._peers(posted))
            complete = [answer for process in expected if (answer := answers.get(process)) is not None]
            if len(complete) == len(expected):
                return [min(each) for each in zip(*complete, strict=True)]

    def _peers(self, posted: Iterable[PeerMessage]) -> dict[str, float]:
        """Return the other processes that are present or did not end properly, and for how many seconds each is
        silent."""
        return {
            each.process: each.age
            for each in posted
            if each.subject == _PRESENT and each.process != self._journal.identity and each.age < _FORGET_SECONDS
        }

    def _present(self, posted: Iterable[PeerMessage]) -> set[str]:
        """Return the other processes that can be expected to answer."""
        return {process for process, age in self._peers(posted).items() if age <= _SILENT_SECONDS}

    async def _poll_once(self) -> None:
        if asyncio.get_running_loop().time() - self._beat_at >= _BEAT_SECONDS:
            await self._beat()
        posted = await self._messages.read()
        self._heard_at = asyncio.get_running_loop().time()
        subjects = {each.subject for each in posted}
        self._answered &= subjects
        for each in posted:
            if each.process == self._journal.identity:
                continue
            if each.age > _FORGET_SECONDS:
                # Of a process that is forgotten, or an answer that came after its question was removed.
                await self._messages.clear(each.subject, each.process)
            elif each.text.startswith("{") and each.subject not in self._answered:
                await self._messages.post(each.subject, self._journal.identity, self._answer(each.text))
                self._answered.add(each.subject)

    async def _clear(self, subject: str, process: str | None = None) -> None:
        """Remove messages, within a time limit of its own: the caller's may just have run out."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._messages.clear(subject, process)
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)

    async def _beat(self) -> None:
        await self._messages.post(_PRESENT, self._journal.identity, "")
        self._beat_at = asyncio.get_running_loop().time()
        self._announced = True

    def _answer(self, question: str) -> str:
        """Return the answer to a question; an empty one where this process does not know its kind."""
        for kind, about in orjson.loads(question).items():
            if kind in self._answers:
                return orjson.dumps(self._answers[kind](about)).decode()
        return "[]"

    def _all_idle_seconds(self, keys: Any) -> list[Any]:
        """Return for how many seconds this journal has not held each key, rounded down to milliseconds."""
        return [math.floor(self._journal.idle_seconds(Key(table, text)) * 1000) / 1000 for table, text in keys]

    def _report_silent(self, silent: Sequence[str]) -> None:
        """Log each silent process once: while it is not forgotten, no difference can be called a mismatch."""
        for process in set(silent) - self._silent:
            self._silent.add(process)
            log.warning(
                "peer_silent",
                process=process,
                remedy=f"start it again, or wait: it is forgotten {_FORGET_SECONDS:g} s after its last message",
            )

    def _report_failure(self, error: Exception) -> None:
        if isinstance(error, Refused) and not self._refused:
            self._refused = True
            log.error(
                "peers_not_asked",
                reason=error.reason,
                remedy="let Crossfade create its table crossfade_board, or set mirror.alone if no other process writes",
            )


def _question(keys: Sequence[Key]) -> str:
    return orjson.dumps({_KEYS: [[key.table, key.text] for key in keys]}).decode()


def _idle_seconds_in(text: str, keys: int) -> list[float] | None:
    """Return the idle seconds in an answer about `keys` keys; None if the message is no such answer."""
    answer = list(orjson.loads(text)) if text.startswith("[") else []
    return answer if len(answer) == keys else None
