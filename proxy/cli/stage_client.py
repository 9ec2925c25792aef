"""What the command line asks of the stages, by whichever way it reaches them: straight at the stage table (`straight`),
or over a proxy's admin port (`over_admin`).

Both give the same documents (`proxy.cutover.documents`), so that what is printed is printed once. Faults are Problems.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage

ReportProgress = Callable[[Mapping[str, Any]], None]


class StageClient(Protocol):
    """What can be asked. Every method raises Problem, and StoreError where DynamoDB cannot be reached."""

    async def stages(self) -> Mapping[str, Any]: ...

    async def gate(self, scope: Scope, to: Stage | None) -> Mapping[str, Any]: ...

    async def preview(self, request: MoveRequest) -> Mapping[str, Any]: ...

    def move(self, request: MoveRequest) -> AsyncIterator[Mapping[str, Any]]:
        """Each step of a move; the last one has one member, `end`."""

    async def history(self, limit: int) -> list[Mapping[str, Any]]: ...

    async def forget(self, process: str, by: str, because: str, report: ReportProgress) -> str:
        """Gives what has to follow; `say` is told how far it is, as steps of a move are."""
