"""The layer: what happens to a client's operation between the wire and the two stores.

It names the tables and the item type, makes sure that this process may serve at all, and hands reads to `reads` and
writes to `writes`. The stage says which store is the authority. The layer knows nothing of HTTP, and the mirror nothing
of the client. It answers requests and nothing else: `proxy.app.process` is its life, `proxy.shadow.status` its status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.cutover.authority.guard import AuthorityGuard
from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.stages import Stages
from proxy.dynamodb.errors import service_unavailable
from proxy.dynamodb.operations import LISTING, STATEMENTS, WRITES, Operation, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.off_loop import off_loop
from proxy.shadow.call import Call
from proxy.shadow.instrumentation import Execute, Nominate
from proxy.shadow.request.bypass import Bypass
from proxy.shadow.request.decoder import RequestDecoder, refusal_of
from proxy.shadow.request.partiql_statements import PartiQLStatements, tables_of_statements
from proxy.shadow.request.placement import placement_of
from proxy.shadow.request.table_operations import TableOperations
from proxy.shadow.request.writes import LEASE_EXPIRED
from proxy.stores.errors import Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The layer of one process."""

    stages: Stages
    """The stages of this process."""
    lease: ServingLease
    """The lease without which nothing is served."""
    authority: AuthorityGuard
    """DSQL's record of the authority: a table that it contradicts is not served."""
    decoder: RequestDecoder
    """Decodes requests into calls."""
    read: Execute
    """The path of reads."""
    write: Execute
    """The path of writes."""
    bypass: Bypass
    """The path of operations on items that are not mirrored."""
    statements: PartiQLStatements
    """The path of PartiQL."""
    table_operations: TableOperations
    """The path of all other operations."""
    nominate: Nominate
    """Enqueues the keys of a write that was sent to DynamoDB alone and should not have been."""
    count_seen: Callable[[Operation, str, str], None]
    """Counts a call, with its table and item type, as evidence of what clients ask."""

    async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
        """Execute one of the ten operations on items, or PartiQL, and return the client's outcome. `client` is the
        connection that it came on.

        Raises DynamoDBError for a body that is no request. Raises StoreError where DynamoDB is the authority and gave
        no answer, or nobody can say which store is.
        """
        if not self.lease.valid:
            raise Unreachable("lease", LEASE_EXPIRED)
        if self.authority.refuses:
            # Asked only while there is something to refuse: no other request pays for it.
            request = await off_loop(len(body), parse_body, body)
            names = tables_of_statements(action, request) if action in STATEMENTS else tables_of(action, request)
            for name in names:
                why = self.authority.refusal(name)
                if why is not None:
                    return Outcome.failed(service_unavailable(f"nothing was done: {why}"))
        if self.stages.all_off and action != LISTING:
            return await self.bypass.execute(action, body)
        if action in STATEMENTS:

            async def run(part_action: str, part: bytes) -> Outcome:
                return await self.execute(part_action, part, request_id, client)

            return await self.statements.execute(action, body, run)
        request = await off_loop(len(body), parse_body, body)
        names = tables_of(action, request)
        if not names and self.table_operations.control is not None:
            # No DynamoDB is left to refuse a request that names no table.
            return await refusal_of(action, body, request, None)
        if action != LISTING and not any(self.stages.active(name) for name in names):
            return await self.bypass.execute(action, body, names)
        call = await self.decoder.decode(action, body, request, names, request_id, client)
        if isinstance(call, Call):
            self.count_seen(call.operation, call.table.name, call.item_type)
            return await (self.write(call) if call.operation.writes else self.read(call))
        if any(self.stages.past_the_flip(name) for name in names):
            # Nothing that DSQL has not taken may reach a DynamoDB that is only its mirror.
            return await refusal_of(action, body, request, call)
        outcome = await self.bypass.execute(action, body)
        if outcome.ok and action in WRITES:
            await self._catch_up(action, body, request, names)
        return outcome

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send any other operation to DynamoDB, unread. Raises StoreError."""
        return await self.table_operations.pass_through(action, target, body, headers)

    async def _catch_up(self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...]) -> None:
        """Enqueue the keys of a write after the fact: DynamoDB has accepted what could not be decoded, as a write to a
        table that was created past this proxy a moment ago."""
        call = await self.decoder.decode_again(action, body, request, names)
        if call is not None:
            await self.nominate(placement_of(self.stages, call).mirrored_keys)
