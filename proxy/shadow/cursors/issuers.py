"""Which store a page continues at: the one that gave out its cursor, as far as any process remembers.

The stores hold the same items in different orders. If a table is flipped or ramped while a client pages through it, a
page of the other store would show some items twice and others never. Where nobody remembers the cursor, it means "after
this key, in the authority's order".

Other processes are asked only where another store than the authority may have given out the cursor: on the ramp, and
for an hour after the authority or the ramp was changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from proxy.cutover.stages import DSQL, DYNAMODB, Stages
from proxy.dynamodb.outcome import Outcome
from proxy.shadow.call import Call
from proxy.shadow.cursors.digest import page_digests, start_digest
from proxy.shadow.cursors.memory import KEPT_SECONDS, CursorMemory

CURSOR: Final = "cursor"
"""The kind of question about a cursor: its digest. The answer is a store and an age in seconds, or empty."""


class Reply(Protocol):
    """What another process answered."""

    @property
    def answer(self) -> list[Any]: ...
    @property
    def age(self) -> float:
        """How long ago it answered, in seconds."""


class Inquiry(Protocol):
    """Asks the other processes over the same stores."""

    async def ask(self, kind: str, about: Any, /) -> Sequence[Reply]:
        """Return the answers of those that reply in time."""


class CursorIssuers:
    """What is known of the cursors that clients continue from."""

    def __init__(
        self,
        stages: Stages,
        memory: CursorMemory,
        inquiry: Inquiry | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`inquiry` is None where there is no other process. `wall` is the clock of the stages' times."""
        self._stages = stages
        self._memory = memory
        self._inquiry = inquiry
        self._wall = wall

    def note_page(self, call: Call, store: str, outcome: Outcome) -> None:
        """Remember the cursors that a client can have from a page of a store."""
        self._memory.remember(page_digests(call.operation, outcome), store, call.client)

    async def issuer_of(self, call: Call, *, ramped: bool) -> str | None:
        """Return the store that gave out the call's start key; None if nobody remembers. `ramped` is whether the ramp
        applies to the call's first page."""
        digest = start_digest(call.operation)
        if digest is None:
            return None
        known = self._memory.of_client(digest, call.client)
        if known is not None:
            return known.store
        others = await self._ask_others(digest) if self._others_may_know(call, ramped=ramped) else []
        newest = self._memory.newest(digest)
        own = [(self._memory.age(newest), newest.store)] if newest is not None else []
        return min((*own, *others), default=(0.0, None))[1]

    def answer(self, digest: Any) -> list[Any]:
        """Answer another process about a cursor."""
        newest = self._memory.newest(digest) if isinstance(digest, str) else None
        return [newest.store, self._memory.age(newest)] if newest is not None else []

    def _others_may_know(self, call: Call, *, ramped: bool) -> bool:
        """Return whether a store that is not the authority now may have given out the cursor at another process."""
        return ramped or self._wall() - self._stages.reordered_at(call.table.name) < KEPT_SECONDS

    async def _ask_others(self, digest: str) -> list[tuple[float, str]]:
        """Return how long ago other processes gave out the cursor, and the stores that it was of."""
        if self._inquiry is None:
            return []
        replies = await self._inquiry.ask(CURSOR, digest)
        known = [each for each in replies if each.answer[:1] in ([DYNAMODB], [DSQL])]
        return [(each.answer[1] + each.age, each.answer[0]) for each in known]
