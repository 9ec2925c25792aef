"""The status of a process, as the admin port, the console and the gate need it: a protocol, which asks no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from proxy.cutover.gate.evidence import Evidence


class ParkedKeysControl(Protocol):
    """The parked keys of a process (`proxy.shadow.parked_control`): those that cannot converge."""

    def list(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return at most `limit` of them, the oldest first, redacted as the settings say."""

    def retry(self, key_id: str | None = None) -> int:
        """Have one of them, or all, converge once more. Returns how many."""

    def drop(self, key_id: str, by: str, because: str) -> bool:
        """Give one up, although its item differs. Returns whether there was one of this id."""


class ProcessStatus(Protocol):
    """What a process reports of itself (`proxy.shadow.status`)."""

    @property
    def identity(self) -> str:
        """The name of this process, which it keeps with its journal."""

    @property
    def parked(self) -> ParkedKeysControl:
        """The keys that cannot converge."""

    async def status(self) -> Mapping[str, Any]:
        """Return stages, journal, verdicts and breakers as a JSON document."""

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return at most `limit` disagreements, newest first, redacted as the settings say; `at` is in Unix seconds."""

    def problems(self) -> Sequence[str]:
        """Return why this process should get no traffic now; empty if it can work."""

    def notices(self) -> Sequence[str]:
        """Return what sets this process apart from the others without keeping it from its work."""

    async def evidence(self) -> Evidence:
        """Return what the gate needs to know of this process."""

    def resume(self, earlier: Evidence) -> None:
        """Take up what an earlier run of this process counted."""

    def met(self) -> Iterable[str]:
        """Return the names of the tables that this process has met."""
