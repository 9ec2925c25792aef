"""The register of what is sent about Crossfade's own tables, beside `proxy.stores.dsql.sql.statement_register`.

Text only: it sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statement_register import Extent, StatementForm
from proxy.stores.dsql.system_tables.absence_locks import AbsenceLocks
from proxy.stores.dsql.system_tables.authority_record import AuthorityTable
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.dsql.system_tables.idempotency_tokens import IdempotencyTokens
from proxy.stores.dsql.system_tables.peer_messages import PeerMessages
from proxy.stores.dsql.system_tables.sweep_records import SweepRecords
from proxy.stores.dsql.system_tables.system_table import SystemTable
from proxy.stores.dsql.system_tables.table_descriptions import TableDescriptions
from proxy.stores.dsql.system_tables.table_properties import TableProperties

_MOST_LOCKED: Final = 100
"""The keys of a transaction at most."""


def own_definitions(pool: Pool, schema: str) -> tuple[str, ...]:
    """What makes the tables. `pool` is not asked."""
    absences, tokens = AbsenceLocks(schema), IdempotencyTokens(schema)
    return absences.create, tokens.create, *(text for each in _tables(pool, schema) for text in each.definitions)


def own_forms(pool: Pool, schema: str) -> Iterator[StatementForm]:
    """Every form for those tables. `pool` is not asked."""
    absences, tokens = AbsenceLocks(schema), IdempotencyTokens(schema)
    for stripes in range(1, _MOST_LOCKED + 1):
        yield StatementForm("lock absent keys", absences.take(stripes), writes=True)
    for table in (absences.table, tokens.table):
        yield from (
            StatementForm("look for a table", text, Extent.LIMIT) for text in SystemTable(pool, table, "").statements
        )
    for each in (tokens, *_tables(pool, schema)):
        for text in each.statements:
            (
                verb,
                *_,
            ) = text.split(maxsplit=1)
            # A table of a row for each process, scope or DynamoDB table may be read and written as a whole.
            small = isinstance(each, PeerMessages | AuthorityTable | TableProperties)
            extent = Extent.SMALL if small else Extent.LIMIT if "LIMIT 0" in text else Extent.CONDITION
            yield StatementForm(type(each).__name__, text, extent, writes=verb != "SELECT")


def _tables(
    pool: Pool, schema: str
) -> tuple[PeerMessages | TableDescriptions | TableProperties | AuthorityTable | Checkpoints | SweepRecords, ...]:
    return (
        PeerMessages(pool, schema),
        TableDescriptions(pool, schema),
        TableProperties(pool, schema),
        AuthorityTable(pool, schema, seconds=1.0),
        Checkpoints(pool, schema, seconds=1.0),
        SweepRecords(pool, schema, seconds=1.0),
    )
