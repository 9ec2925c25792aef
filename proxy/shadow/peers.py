"""The other processes over the same stores: whether one of them was writing a key, which no journal but theirs knows.

Two processes that write one key at once may find anything: the mirror executes their writes in another order than the
authority did, so that either sees outcomes and items that differ, and no look at the stores can tell this from a fault
in the mirror (both look alike to the last byte). So before a difference is called a mismatch the others are asked. A
process whose journal did not hold the key between the moment the comparison began and now had converged before: what
differs is then nobody's write under way.

They ask on a board that all of them can read: a table in the mirror. Each process posts that it is there, looks every
half second whether something is asked, and answers from its journal. Only a suspicion asks. One that is there and does
not answer may hold anything; one that ended without emptying its journal, too, until it comes back or is forgotten.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import orjson
import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal import Journal
from proxy.stores.board import Note
from proxy.stores.failures import Refused, StoreError

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.5
_BEAT_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 20.0
_GONE_SECONDS: Final = 900.0
_ANSWER_SECONDS: Final = 3.0
_CALL_SECONDS: Final = 2.0
_BACK_OFF_SECONDS: Final = 15.0
# Clocks run at slightly different speeds, and an age is told in whole milliseconds.
_MARGIN_SECONDS: Final = 0.1

_PRESENT: Final = "present"
_YES: Final = "yes"
_NO: Final = "no"


class Board(Protocol):
    """Where processes leave notes for each other (`proxy.stores.board`). Every method raises StoreError."""

    async def read(self) -> Sequence[Note]: ...

    async def post(self, subject: str, process: str, text: str) -> None:
        """A process has one note a subject: the last."""

    async def clear(self, subject: str, process: str | None = None) -> None:
        """Remove all notes on a subject, or one process's."""


class Others(Protocol):
    """What a comparison may ask before it calls a difference a mismatch."""

    async def touched(self, keys: Sequence[Key], tables: Iterable[str], seconds: float, /) -> bool | None:
        """Whether another process may have had one of the keys in its journal in the last so many seconds; where no
        keys are known, any key of the tables. None where there is no way to know."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """Gives one answer always: False where the operator says that no other process writes, None without a board."""

    answer: bool | None

    async def touched(self, *_: object) -> bool | None:
        return self.answer


class Peers:
    """`Others` over a board. `work` must run as a task, or nobody else gets an answer."""

    def __init__(self, board: Board, journal: Journal) -> None:
        self._board = board
        self._journal = journal
        self._beat_at = -_BEAT_SECONDS
        self._answered: set[str] = set()
        self._refused = False

    async def arrive(self) -> None:
        """Be seen before the first write, if the board can be reached."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._beat()
        except (StoreError, TimeoutError) as error:
            self._tell(error)

    async def work(self) -> None:
        """Be there, and answer what is asked; one turn."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._turn()
        except (StoreError, TimeoutError) as error:
            self._tell(error)
            await asyncio.sleep(_BACK_OFF_SECONDS if isinstance(error, Refused) else _BEAT_SECONDS)
        else:
            self._refused = False
            await asyncio.sleep(_LOOK_SECONDS)

    async def leave(self) -> None:
        """Say that this process ends with an empty journal."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._board.clear(_PRESENT, self._journal.identity)
        except (StoreError, TimeoutError) as error:
            self._tell(error)

    async def touched(self, keys: Sequence[Key], tables: Iterable[str], seconds: float) -> bool | None:
        if self._refused:
            return None
        asked = [[key.table, key.text] for key in keys] or [[table, ""] for table in tables]
        subject = uuid.uuid4().hex
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                peers = self._peers(await self._board.read())
                if not peers:
                    return False
                if any(age > _SILENT_SECONDS for age in peers.values()):
                    return True
                window = seconds + loop.time() - began
                await self._board.post(subject, self._journal.identity, _question(asked, window))
                try:
                    return await self._answer(subject, set(peers))
                finally:
                    await self._board.clear(subject)
        except Refused as error:
            self._tell(error)
            return None
        except (StoreError, TimeoutError):
            return True

    async def _answer(self, subject: str, waited: set[str]) -> bool:
        while True:
            await asyncio.sleep(_LOOK_SECONDS / 4)
            posted = await self._board.read()
            answers = {each.process: each.text for each in posted if each.subject == subject}
            if _YES in answers.values():
                return True
            # One that has come meanwhile may have begun before it was seen.
            waited |= set(self._peers(posted))
            if all(answers.get(process) == _NO for process in waited):
                return False

    def _peers(self, posted: Iterable[Note]) -> dict[str, float]:
        """The others that are there, or have not said that they left, and how long ago each was heard of."""
        return {
            each.process: each.age
            for each in posted
            if each.subject == _PRESENT and each.process != self._journal.identity and each.age < _GONE_SECONDS
        }

    async def _turn(self) -> None:
        if asyncio.get_running_loop().time() - self._beat_at >= _BEAT_SECONDS:
            await self._beat()
        posted = await self._board.read()
        open_now = {each.subject for each in posted}
        self._answered &= open_now
        for each in posted:
            if each.text in ("", _YES, _NO) or each.process == self._journal.identity:
                continue
            if each.age > _GONE_SECONDS:
                await self._board.clear(each.subject)
            elif each.subject not in self._answered:
                touched = self._touched(each)
                await self._board.post(each.subject, self._journal.identity, _YES if touched else _NO)
                self._answered.add(each.subject)

    async def _beat(self) -> None:
        await self._board.post(_PRESENT, self._journal.identity, "")
        self._beat_at = asyncio.get_running_loop().time()

    def _touched(self, question: Note) -> bool:
        asked = orjson.loads(question.text)
        since = self._journal.moment(asked["seconds"] + question.age + _MARGIN_SECONDS)
        for table, text in asked["keys"]:
            if text and self._journal.touched(Key(table, text), since):
                return True
            if not text and self._journal.table_touched(table, since):
                return True
        return False

    def _tell(self, error: Exception) -> None:
        if isinstance(error, Refused) and not self._refused:
            self._refused = True
            log.error(
                "peers_not_asked",
                reason=error.reason,
                remedy="let Crossfade create its table crossfade_board, or set mirror.alone if no other process writes",
            )


def _question(keys: list[list[str]], seconds: float) -> str:
    return orjson.dumps({"keys": keys, "seconds": round(seconds, 3)}).decode()
