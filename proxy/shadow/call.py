"""One client operation on its way through the layer, and the beginning of a comparison of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from proxy.cutover.stages import DYNAMODB
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.stores.table_registry import Table


class ComparisonStart(NamedTuple):
    """When a comparison began to read the stores."""

    sequence: int
    """The journal's sequence number then."""
    loop_time: float
    """The event loop's time then, in seconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """A decoded operation, all of whose tables are known."""

    operation: Operation
    tables: Mapping[str, Table]
    """The operation's tables, by name."""
    item_type: str
    """The one item type that it is about, or `ANY_TYPE` (`proxy.shadow.request.item_type`)."""
    request_id: str
    """The id of the client's request, as the client gets it: the wire's, or that of DynamoDB's answer."""
    is_part: bool = False
    """Whether it is a part of a request whose answer is joined: the client gets no store's id then."""
    internal: bool = False
    """Whether it is Crossfade's own: its answer is compared with nothing."""
    client: str = ""
    """The connection that it came on; "" where that is not known."""

    @property
    def table(self) -> Table:
        """The table that the verdict is counted under: the first of several."""
        return self.tables[self.operation.tables[0]]

    def table_of(self, key: Key) -> Table:
        """Return the table of one of the operation's keys."""
        return self.tables[key.table]

    def answered_with(self, outcome: Outcome) -> Call:
        """Return the call with the request id that a client got by this outcome."""
        request_id = "" if self.is_part else outcome.header("x-amzn-requestid")
        return replace(self, request_id=request_id) if request_id else self


def wrote_nothing(call: Call, authority: str, outcome: Outcome) -> bool:
    """Return whether the authority certainly wrote nothing. DSQL writes the entries of a batch one by one, so that its
    error says nothing of those before it."""
    in_parts = call.operation.action == "BatchWriteItem" and authority != DYNAMODB
    return outcome.without_effect and not in_parts
