"""Holds what a process believes against DSQL's record, and says what it may do: write a mirror, serve a table.

Each reason is a sentence that says what the record says, what is believed here, and what to do. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from proxy.cutover.authority.beliefs import Beliefs, moving, recorded
from proxy.cutover.stages import DSQL, DYNAMODB, Scope
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord

_NAMES: Final = {DYNAMODB: "DynamoDB", DSQL: "DSQL"}
_SHOWN: Final = 12
_ADOPT: Final = 'crossfade stage adopt --because "…"'
_RECORD: Final = "DSQL's record (crossfade_authority)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a process may do, as far as DSQL's record says."""

    whole: str = ""
    """Why it may write to no mirror at all; "" if it may."""
    unmirrored: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why it may write to no mirror of a table, by table."""
    unserved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why it may not serve a table, by table."""
    odd: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What sets it apart from the other processes, by table, where it may work all the same."""

    @property
    def agrees(self) -> bool:
        """Whether the record contradicts nothing that is believed."""
        return not (self.whole or self.unmirrored or self.unserved)

    def sentences(self) -> list[str]:
        """Return every reason, each once."""
        return list(dict.fromkeys(filter(None, (self.whole, *self.unserved.values(), *self.unmirrored.values()))))


def judge(beliefs: Beliefs, record: AuthorityRecord) -> Judgement:
    """Return what the record says of what is believed.

    The record was read after the stage table, and the stage table has not changed since. What may be paired or
    declared first is no contradiction.
    """
    whole = _contradiction(beliefs, record)
    unmirrored: dict[str, str] = {}
    unserved: dict[str, str] = {}
    odd: dict[str, str] = {}
    for table in beliefs.tables:
        if not beliefs.is_active(table) and not _is_truth_of(record, table):
            continue
        against = _against_authority(beliefs, record, table)
        if whole and (beliefs.past_the_flip(table) or against):
            unserved[table] = whole
        elif not whole and against:
            unserved[table] = unmirrored[table] = against
        if whole or against:
            continue
        mapping = _against_mapping(beliefs, record, table)
        if mapping and beliefs.past_the_flip(table):
            unserved[table] = unmirrored[table] = (
                f"{mapping}: start this process with the mapping in force; a new mapping takes effect by way of shadow "
                '(docs/operating.md, "A new mapping")'
            )
        elif mapping:
            odd[table] = f"{mapping}: give every process the same mapping, and sweep the table before the flip"
    return Judgement(
        whole=whole,
        unmirrored=MappingProxyType(unmirrored),
        unserved=MappingProxyType(unserved),
        odd=MappingProxyType(odd),
    )


def can_pair(beliefs: Beliefs, record: AuthorityRecord) -> bool:
    """Return whether the stage table and this database may become one installation: neither belongs to another."""
    if beliefs.pinned:
        return record.installation is None
    pairing = beliefs.pairing
    if pairing is not None and pairing.database:
        return False
    return not record.installation or (pairing is not None and record.installation == pairing.installation)


def pinned_elsewhere(beliefs: Beliefs, record: AuthorityRecord) -> dict[str, str]:
    """Return the authorities that the settings pin and that an earlier start with other settings recorded otherwise, by
    scope. While nobody else is at work, settings may move them; a stage table never lets settings do that."""
    if not beliefs.pinned or record.installation != "":
        return {}
    return {
        str(scope): stage.authority
        for scope, stage in beliefs.stages.items()
        if (own := record.scopes.get(str(scope))) is not None and own.authority != stage.authority
    }


def mapping_text(digest: str) -> str:
    """Return a digest as people are shown it."""
    return digest[:_SHOWN] or "unknown"


def _contradiction(beliefs: Beliefs, record: AuthorityRecord) -> str:
    """Return why this process and this database do not belong together; "" if they do, or may be paired."""
    if can_pair(beliefs, record):
        return ""
    if beliefs.pinned:
        if not record.installation or not any(map(beliefs.is_mirrored, beliefs.tables)):
            return ""
        return (
            f"{_RECORD} says that this database belongs to an installation whose stages are in the stage table "
            f"{record.stage_table!r}; the settings here name no stage table and pin the stages: set table in [stages] "
            f"to {record.stage_table!r}, or, if pinned stages are to take over, run {_ADOPT} with these settings"
        )
    here = f"the stage table {beliefs.stage_table!r}"
    pairing = beliefs.pairing
    if record.installation is None:
        return (
            f"{here} is paired with a DSQL database that has a record; this database has none: it is another database, "
            f"or was emptied: correct endpoint or dsn in [dsql], or, if this database is to be used from now on, run "
            f"{_ADOPT}, then backfill and verify"
        )
    if pairing is None or record.installation != pairing.installation:
        holder = f"whose stage table is {record.stage_table!r}" if record.stage_table else "whose stages are pinned"
        paired = "is paired with no database" if pairing is None or not pairing.database else "is paired with another"
        truths = sorted(name for name, each in record.scopes.items() if each.authority == DSQL)
        truth = f" and that DSQL is the authority for {', '.join(truths)}" if truths else ""
        return (
            f"{_RECORD} says that this database belongs to another installation, {holder}{truth}; {here} {paired}: "
            f"correct table in [stages] or endpoint or dsn in [dsql], or, if {here} is to take over, run {_ADOPT}"
        )
    if record.database != pairing.database:
        return (
            f"{here} is paired with the DSQL database {pairing.database}; {_RECORD} says that this one is "
            f"{record.database}: correct endpoint or dsn in [dsql], or, if this database is to be used from now on, "
            f"run {_ADOPT}, then backfill and verify"
        )
    return _outdated(beliefs, record, here)


def _outdated(beliefs: Beliefs, record: AuthorityRecord, here: str) -> str:
    """Return why one of the two is of an earlier time than the other; "" if neither is."""
    pairing = beliefs.pairing
    assert pairing is not None
    last = max((each.epoch for each in record.scopes.values()), default=0)
    under_way = {each.moving.epoch for each in record.scopes.values() if each.moving is not None}
    behind = last < pairing.flipped and pairing.flipped not in under_way and not pairing.unrecorded
    if record.pulse < beliefs.pulse or behind:
        return (
            f"{_RECORD} is older than {here} knows it to be (pulse {record.pulse} and epoch {last}, not "
            f"{beliefs.pulse} and {pairing.flipped}): this is a restored backup of the database; what was written "
            f"since is not in it: correct endpoint or dsn in [dsql], or, if it is to be used from now on, "
            f"run {_ADOPT}, then backfill and verify"
        )
    if last > pairing.flipped:
        return (
            f"{_RECORD} says that an authority was moved at epoch {last}; {here} knows of none after epoch "
            f"{pairing.flipped}: it is a copy, or was restored from a backup: correct table in [stages], or, if it is "
            f"to be used from now on, set every stage as it is to be and run {_ADOPT}"
        )
    return ""


def _against_authority(beliefs: Beliefs, record: AuthorityRecord, table: str) -> str:
    """Return how the record contradicts what is believed of the authority for a table; "" if it does not."""
    for scope, stage in beliefs.stages.items():
        if scope.table != table:
            continue
        found = recorded(record, scope)
        if found is None:
            continue
        own = not beliefs.pinned and beliefs.pairing is not None and beliefs.pairing.installation == record.installation
        if own and beliefs.pairing is not None and beliefs.pairing.unrecorded:
            continue  # the record does not know of a move that this process is about to tell it
        if moving(record, scope):
            # Processes of the installation go by the stage table; nobody else may take either store for the truth.
            if own:
                continue
            return f"{_RECORD} says that the authority for {scope} is being moved: wait for the end of the move"
        if found.authority == stage.authority:
            continue
        where = f"the stage table {beliefs.stage_table!r}" if not beliefs.pinned else "the settings"
        remedy = (
            "correct stage in the settings; or stop every process that has the stages of before, which lets this one "
            f"move the authority; or, if {_NAMES[stage.authority]} is the truth, run {_ADOPT}"
        )
        if not beliefs.pinned:
            remedy = (
                f"stages in the settings move no authority: set them as they were and run crossfade stage {table} "
                f"STAGE; or, if {_NAMES[stage.authority]} is the truth, run {_ADOPT}"
            )
        return (
            f"{_RECORD} says that {_NAMES[found.authority]} is the authority for {scope}; {where} here say"
            f"{'s' if not beliefs.pinned else ''} {_NAMES[stage.authority]} (stage {stage}): {remedy}"
        )
    return ""


def _against_mapping(beliefs: Beliefs, record: AuthorityRecord, table: str) -> str:
    """Return how the mapping in force differs from the one that this process has; "" if it does not."""
    rows = [each for name, each in record.scopes.items() if Scope.parse(name).table == table and each.mapping]
    in_force = [each.mapping for each in rows if each.authority == DSQL] or [each.mapping for each in rows]
    here = beliefs.mappings.get(table, "")
    other = next((each for each in in_force if each != here), None)
    if not here or other is None:
        return ""
    return f"this process has the mapping {mapping_text(here)} of {table}; {_RECORD} has {mapping_text(other)} in force"


def _is_truth_of(record: AuthorityRecord, table: str) -> bool:
    """Return whether DSQL is, or is about to be, the authority for any of a table."""
    return any(
        Scope.parse(name).table == table and (each.authority == DSQL or each.moving is not None)
        for name, each in record.scopes.items()
    )
