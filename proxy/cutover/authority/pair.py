"""Pairs a stage table with a DSQL database at their first use together, so that each knows the other from then on.

The stage table names the installation first, then DSQL takes that name and gives itself an id, and last the stage table
takes the id. Cut off anywhere, it is taken up where it was; of two databases at once, one is paired and the other
refused.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from proxy.cutover.flip.protocol import StageTableState
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import ALL_TABLES, DatabasePairing
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, AuthorityRecords

NewId = Callable[[], str]


def new_id() -> str:
    """Return the id of an installation or of a database: no two are alike."""
    return secrets.token_hex(8)


async def pair_pinned(records: AuthorityRecords, by: str, identify: NewId = new_id) -> None:
    """Write a record for stages that the settings pin. Raises StoreError."""
    await records.claim(AuthorityRecord(installation="", database=identify()), by)


async def pair_once(
    table: StageTable,
    known: StageTableState,
    records: AuthorityRecords,
    record: AuthorityRecord,
    by: str,
    identify: NewId = new_id,
) -> None:
    """Take the next step of a pairing; read both sides again before the one after. Raises StoreError."""
    pairing = known.map.pairing
    if pairing is None:
        await _write(table, known, DatabasePairing(installation=identify()))
    elif record.installation is None:
        held = AuthorityRecord(installation=pairing.installation, database=identify(), stage_table=table.name)
        await records.claim(held, by)
    elif not record.installation:
        # What was swept while the settings pinned the stages was swept in no era.
        now = time.time()
        ended = known.map.with_new_eras((ALL_TABLES,), now, "its stages were pinned before", at_least=int(now))
        if await table.write_state(known.next_row(None, ended)):
            await records.join(pairing.installation, table.name, by)
    else:
        await _write(table, known, replace(pairing, database=record.database))


async def _write(table: StageTable, known: StageTableState, pairing: DatabasePairing) -> None:
    await table.write_state(known.next_row(None, replace(known.map, pairing=pairing)))
