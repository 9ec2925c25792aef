"""Whether this process may serve: a lease in the stage table, counted by this machine's clock alone.

It runs from the moment before the renewal was sent, and counts once the state has been read after it: whoever has a
lease has seen every change that was made without waiting for it. Keeps the numbers; renews nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.cutover.flip.clocks import boottime
from proxy.stores.errors import Unreachable

_OWE_SECONDS: Final = 2.0


class Lease:
    """`clock` gives seconds; `wake` asks the one who renews to do so now."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._owed: asyncio.Future[None] | None = None
        self.wake = asyncio.Event()
        self.term = 0
        self.owing = False

    # -- what the layer asks ------------------------------------------------------------------------------------------

    @property
    def valid(self) -> bool:
        return self._clock() < self._until

    def holds(self, term: int) -> bool:
        """Whether it is valid, and has been ever since the term was read.

        Lost and taken again is not the same lease: in between the authority may have been moved, without waiting for
        a process that seemed to be gone.
        """
        return self.term == term and self._clock() < self._until

    async def owe(self) -> None:
        """Before the first write that will stand in the journal: it is written in the lease that this process may owe
        keys. Raises Unreachable where that takes too long: nothing has been done then."""
        if self.owing:
            return
        if self._owed is None:
            self._owed = asyncio.get_running_loop().create_future()
            self.wake.set()
        try:
            async with asyncio.timeout(_OWE_SECONDS):
                await asyncio.shield(self._owed)
        except TimeoutError:
            raise Unreachable("lease", "the stage table does not take that this process will write") from None

    # -- what the one who renews says ---------------------------------------------------------------------------------

    @property
    def owe_requested(self) -> bool:
        """Whether somebody waits for `owe`."""
        return self._owed is not None

    def renewal_sent(self, until: float, *, owes: bool) -> None:
        """A renewal is about to be sent, to end then. If no answer comes it may have been taken all the same: so the
        lease ends by then at the latest, and from now on this process owes only if the renewal says so."""
        self._lapse()
        self._until = min(self._until, until)
        self.owing = self.owing and owes

    def renewal_stored(self, *, owes: bool) -> None:
        """The renewal is in the table."""
        self.owing = owes
        if owes and self._owed is not None:
            self._owed.set_result(None)
            self._owed = None

    def extend(self, until: float) -> None:
        """The state was read after it, and followed."""
        self._lapse()
        self._until = until

    def lose(self) -> None:
        """It is lost."""
        self._lapse()
        self._until = float("-inf")

    def _lapse(self) -> None:
        """If it has run out, the next one is another."""
        if self._clock() >= self._until > float("-inf"):
            self._until = float("-inf")
        if self._until == float("-inf"):
            self.term += 1
