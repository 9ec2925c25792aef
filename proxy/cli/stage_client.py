"""The protocol by which the command line reaches the stages: `stage_table_client` uses the stage table itself,
`admin_client` a proxy's admin port.

Both return the same documents (`proxy.cutover.documents`), which `stage_output` prints. Faults are Problems.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage

ReportProgress = Callable[[Mapping[str, Any]], None]


class StageClient(Protocol):
    """Reads and moves stages. Every method raises Problem, and StoreError if DynamoDB cannot be reached."""

    async def stages(self) -> Mapping[str, Any]: ...

    async def gate(self, scope: Scope, to: Stage | None) -> Mapping[str, Any]: ...

    async def preview(self, request: MoveRequest) -> Mapping[str, Any]: ...

    def move(self, request: MoveRequest) -> AsyncIterator[Mapping[str, Any]]:
        """Make a move and give each step; the last one has a single member, `end`."""

    async def history(self, limit: int) -> list[Mapping[str, Any]]: ...

    async def forget(self, process: str, by: str, because: str, report: ReportProgress) -> str:
        """Forget a process, and return what has to follow. `report` gets the progress, as steps of a move."""
