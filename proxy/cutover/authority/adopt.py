"""The deliberate take-over: pairs this stage table (or these settings) with this DSQL database, as both are now.

The stage table is written first, with its history, and then DSQL's record: cut off in between, every process is refused
until it is done again. All eras end, because nobody knows what the two have in common. What belonged to the database
before is refused from its next look at the record on.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from proxy.cutover.authority.beliefs import Beliefs
from proxy.cutover.authority.pair import NewId, new_id
from proxy.cutover.flip.active_move import read_state
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import ALL_TABLES, DatabasePairing, StageMap, Stages
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, AuthorityRecords
from proxy.stores.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What an adoption has changed."""

    before: AuthorityRecord
    """What DSQL's record said."""
    after: AuthorityRecord
    """What it says now."""


async def adopt(
    records: AuthorityRecords,
    table: StageTable | None,
    stages: Stages,
    mappings: Mapping[str, str],
    *,
    by: str,
    because: str,
    identify: NewId = new_id,
    wall: Callable[[], float] = time.time,
) -> Adoption:
    """Pair them, and return what has changed. `table` is None where the settings pin the stages; `mappings` are the
    digests of the tables that are mapped.

    Raises Refused while a stage is moved, and StoreError.
    """
    before = await records.read()
    database = identify()
    if table is None:
        stages.adopt(StageMap())
        after = _record(stages, mappings, AuthorityRecord(installation="", database=database), None)
        await records.replace(after, by, because)
        return Adoption(before=before, after=after)
    await table.ensure()
    known = await read_state(table)
    if known.flip is not None:
        raise Refused("moving", f"{known.flip.scope} is being moved: try again when that is over")
    pairing = DatabasePairing(installation=identify(), database=database)
    # Another stage table counts its eras from 0, too: what was swept in one of those must not count here.
    adopted = replace(known.map, pairing=pairing).with_new_eras(
        (ALL_TABLES,), wall(), "the database was adopted", at_least=int(wall())
    )
    pulse = max(await table.pulse(), before.pulse) + 1
    entry = _entry(known.map, pairing, before, by, because, wall())
    if not await table.write_state(known.next_row(None, adopted), entry=entry):
        raise Refused("moving", "the stages were changed meanwhile: check them, and try again")
    stages.adopt(adopted)
    installed = AuthorityRecord(
        installation=pairing.installation, database=database, stage_table=table.name, pulse=pulse
    )
    after = _record(stages, mappings, installed, table.name)
    await records.replace(after, by, because)
    await table.raise_pulse(pulse)
    return Adoption(before=before, after=after)


def _record(
    stages: Stages, mappings: Mapping[str, str], installed: AuthorityRecord, stage_table: str | None
) -> AuthorityRecord:
    """Return the whole record as the stages say."""
    beliefs = Beliefs.of(stages, mappings, stage_table=stage_table, mappings=mappings)
    scopes = beliefs.undeclared(installed).scopes
    return replace(installed, scopes=MappingProxyType(dict(scopes)))


def _entry(
    known: StageMap, pairing: DatabasePairing, before: AuthorityRecord, by: str, because: str, now: float
) -> dict[str, Any]:
    """Return what the history keeps."""
    return {
        "id": uuid.uuid4().hex[:12],
        "at": now,
        "epoch": known.epoch,
        "outcome": "adopted",
        "installation": pairing.installation,
        "database": pairing.database,
        "installation_before": before.installation,
        "database_before": before.database,
        "by": by,
        "because": because,
    }
