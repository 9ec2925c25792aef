"""This process's lease in the stage table: without it the process may not serve. Measured by this machine's clock
alone.

A renewal starts the lease from the moment before it was sent, and counts once the state has been read after it: a
process with a lease has seen every change that was made without waiting for it. This module does the arithmetic; the
participant renews.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.cutover.flip.clocks import boottime
from proxy.stores.errors import Unreachable

# A stage table that stalls for ten seconds costs the first write time, and no error.
_OWE_SECONDS: Final = 15.0


class Lease:
    """A lease and its term. `clock` gives elapsed seconds; `wake` asks the participant to renew now."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._owed: asyncio.Future[None] | None = None
        self.wake = asyncio.Event()
        self.term = 0
        self.owing = False

    # -- for the write fence ------------------------------------------------------------------------------------------

    @property
    def valid(self) -> bool:
        return self._clock() < self._until

    def holds(self, term: int) -> bool:
        """Whether the lease is valid, and has been since the term was read.

        A lease that was lost and taken again is another lease: in between, the authority may have moved without waiting
        for a process that seemed to be gone.
        """
        return self.term == term and self._clock() < self._until

    async def owe(self) -> None:
        """Publish in the lease that this process may owe keys; required before the first write enters the journal.
        Raises Unreachable where that takes too long; nothing has been written then."""
        if self.owing:
            return
        if self._owed is None:
            self._owed = asyncio.get_running_loop().create_future()
            self.wake.set()
        try:
            async with asyncio.timeout(_OWE_SECONDS):
                await asyncio.shield(self._owed)
        except TimeoutError:
            raise Unreachable(
                "lease", "the stage table did not record in time that this process is about to write"
            ) from None

    # -- for the participant ---------------------------------------------------------------------------------

    @property
    def owe_requested(self) -> bool:
        """Whether a caller waits for `owe`."""
        return self._owed is not None

    def renewal_sent(self, until: float, *, owes: bool) -> None:
        """A renewal until `until` is about to be sent. It may be stored even if no response comes, so the lease ends
        then at the latest, and from now on this process counts as owing only if the renewal says so."""
        self._lapse()
        self._until = min(self._until, until)
        self.owing = self.owing and owes

    def renewal_stored(self, *, owes: bool) -> None:
        """The renewal is in the stage table."""
        self.owing = owes
        if owes and self._owed is not None:
            self._owed.set_result(None)
            self._owed = None

    def extend(self, until: float) -> None:
        """The state was read after the renewal, and applied."""
        self._lapse()
        self._until = until

    def lose(self) -> None:
        """The lease is lost."""
        self._lapse()
        self._until = float("-inf")

    def _lapse(self) -> None:
        """If the lease has expired, begin a new term."""
        if self._clock() >= self._until > float("-inf"):
            self._until = float("-inf")
        if self._until == float("-inf"):
            self.term += 1
