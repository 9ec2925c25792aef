"""The other processes over the same stores: whether one of them was writing a key, which no journal but theirs knows.

Two processes that write one key at once may find anything: the mirror executes their writes in another order than the
authority did, so that either sees outcomes and items that differ, and no look at the stores can tell this from a fault
in the mirror (both look alike to the last byte). So before a difference is called a mismatch the others are asked. A
process whose journal did not hold the key between the moment the comparison began and now had converged before: what
differs is then nobody's write under way. It is asked how long ago it held the key, for that is a time by one clock: the
board may be slow, and nobody knows how long a question was on its way.

They ask on a board that all of them can read: a table in the mirror. Each process posts that it is there, looks every
half second whether something is asked, and answers from its journal. Only a suspicion asks. One that is there and does
not answer may hold anything; one that ended without emptying its journal, too, until it comes back or is forgotten.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

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
# Clocks run at slightly different speeds, and an age is told in whole milliseconds.
_MARGIN_SECONDS: Final = 0.1

_PRESENT: Final = "present"


class PeerMessageStore(Protocol):
    """Where processes leave notes for each other (`proxy.stores.dsql.system_tables.peer_messages`). Every method raises
    StoreError."""

    async def read(self) -> Sequence[PeerMessage]: ...

    async def post(self, subject: str, process: str, text: str) -> None:
        """A process has one note a subject: the last."""

    async def clear(self, subject: str, process: str | None = None) -> None:
        """Remove all notes on a subject, or one process's."""


class PeerActivity(Protocol):
    """What a comparison may ask before it calls a difference a mismatch."""

    async def recently_written(self, keys: Sequence[Key], seconds: float, /) -> frozenset[Key] | None:
        """Those of the keys that another process may have had in its journal in the last so many seconds; None where
        there is no way to know."""


@dataclass(frozen=True, slots=True)
class NoPeers:
    """Nobody is asked. `alone`: the operator says that no other process writes."""

    alone: bool

    async def recently_written(self, *_: object) -> frozenset[Key] | None:
        return frozenset() if self.alone else None


class Peers:
    """`Others` over a board. `work` must run as a task, or nobody else gets an answer."""

    def __init__(self, messages: PeerMessageStore, journal: Journal, read_seconds: float = _ANSWER_SECONDS) -> None:
        """`look_seconds`: how long a comparison waits to see who is there, which is what the mirror may take."""
        self._messages = messages
        self._journal = journal
        self._read_seconds = read_seconds
        self._beat_at = -_BEAT_SECONDS
        self._answered: set[str] = set()
        self._refused = False
        self._announced = False
        self._silent: set[str] = set()

    async def announce(self) -> None:
        """Be seen before the first write, if the board can be reached."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._beat()
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)

    async def poll(self) -> None:
        """Be there, and answer what is asked; one turn."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._poll_once()
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)
            # Until it is seen the others cannot know that it writes, and take its writes for faults of the mirror.
            again = _BEAT_SECONDS if self._announced else _POLL_SECONDS
            await asyncio.sleep(_BACK_OFF_SECONDS if isinstance(error, Refused) else again)
        else:
            self._refused = False
            await asyncio.sleep(_POLL_SECONDS)

    async def withdraw(self) -> None:
        """Say that this process ends with an empty journal."""
        await self._clear(_PRESENT, self._journal.identity)

    async def recently_written(self, keys: Sequence[Key], seconds: float, /) -> frozenset[Key] | None:
        if self._refused:
            return None
        subject = uuid.uuid4().hex
        loop = asyncio.get_running_loop()
        began = loop.time()
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
                    # Answered at some time since it was asked: what was touched before now by less, may have been
                    # touched in the time that is meant.
                    meant = seconds + loop.time() - began + _MARGIN_SECONDS
                    return frozenset(keys[n] for n, idle in enumerate(untouched) if idle <= meant)
                finally:
                    await self._clear(subject)
        except Refused as error:
            self._report_failure(error)
            return None
        except (StoreError, TimeoutError):
            return frozenset(keys)

    async def _collect_answers(self, subject: str, keys: int, waited: set[str]) -> list[float]:
        """For how many seconds nobody has had each key in the journal, by the one who had it last."""
        while True:
            await asyncio.sleep(_POLL_SECONDS / 4)
            posted = await self._messages.read()
            answers = {each.process: _idle_seconds_in(each.text, keys) for each in posted if each.subject == subject}
            # One that has come meanwhile may have begun before it was seen.
            waited |= set(self._peers(posted))
            told = [answer for process in waited if (answer := answers.get(process)) is not None]
            if len(told) == len(waited):
                return [min(each) for each in zip(*told, strict=True)]

    def _peers(self, posted: Iterable[PeerMessage]) -> dict[str, float]:
        """The others that are there, or have not said that they left, and how long ago each was heard of."""
        return {
            each.process: each.age
            for each in posted
            if each.subject == _PRESENT and each.process != self._journal.identity and each.age < _FORGET_SECONDS
        }

    async def _poll_once(self) -> None:
        if asyncio.get_running_loop().time() - self._beat_at >= _BEAT_SECONDS:
            await self._beat()
        posted = await self._messages.read()
        open_now = {each.subject for each in posted}
        self._answered &= open_now
        for each in posted:
            if each.process == self._journal.identity:
                continue
            if each.age > _FORGET_SECONDS:
                # Of one that is forgotten; or an answer that came when its question had been taken back.
                await self._messages.clear(each.subject, each.process)
            elif each.text.startswith("{") and each.subject not in self._answered:
                answer = orjson.dumps([self._idle_seconds(key) for key in _keys_in(each)]).decode()
                await self._messages.post(each.subject, self._journal.identity, answer)
                self._answered.add(each.subject)

    async def _clear(self, subject: str, process: str | None = None) -> None:
        """With a limit of its own: it is also asked when another has just run out, and the board may hang."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._messages.clear(subject, process)
        except (StoreError, TimeoutError) as error:
            self._report_failure(error)

    async def _beat(self) -> None:
        await self._messages.post(_PRESENT, self._journal.identity, "")
        self._beat_at = asyncio.get_running_loop().time()
        self._announced = True

    def _idle_seconds(self, key: Key) -> float:
        """For how many seconds this journal has not held the key, in whole milliseconds."""
        return math.floor(self._journal.idle_seconds(key) * 1000) / 1000

    def _report_silent(self, silent: Sequence[str]) -> None:
        """Once for each process: while it is waited for, nothing can be called a mismatch."""
        for process in set(silent) - self._silent:
            self._silent.add(process)
            log.warning(
                "peer_silent",
                process=process,
                remedy=f"start it again, or wait: it is forgotten {_FORGET_SECONDS:g} s after it was last heard of",
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
    return orjson.dumps({"keys": [[key.table, key.text] for key in keys]}).decode()


def _keys_in(question: PeerMessage) -> list[Key]:
    return [Key(table, text) for table, text in orjson.loads(question.text)["keys"]]


def _idle_seconds_in(text: str, keys: int) -> list[float] | None:
    """What an answer about so many keys says; None for a note that is none."""
    answer = list(orjson.loads(text)) if text.startswith("[") else []
    return answer if len(answer) == keys else None
