"""`crossfade backfill`: bring the items from before dual writes to DSQL, from the table, a backup or an export.

Exit status 0: every item is in DSQL; 1: some items cannot be held, or a store was unavailable (run it again to resume);
2: wrong settings or arguments; 130: stopped on request.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.table_job import FAILED, CallCosts, add_common, page_items, run, show_progress

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.migrate.backfill.job import Backfill
    from proxy.migrate.table_jobs.cancellation import StopRequest
    from proxy.migrate.table_jobs.sources import Source
    from proxy.migrate.table_jobs.table_authority import TableAuthority
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import TableStores
    from proxy.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("backfill", help="bring the items from before dual writes to DSQL")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-backup", type=Path, metavar="DIR", help="JSON backups: one array per type, ISO dates")
    source.add_argument("--from-export", metavar="PATH", help="a DynamoDB export to S3: its folder, or s3://…")
    parser.add_argument(
        "--unordered", action="store_true", help="one pass: an item may come before the item it refers to"
    )
    parser.add_argument("--values", action="store_true", help="show the keys of items that cannot be held; else hashes")
    add_common(parser)
    parser.set_defaults(run=lambda settings, arguments: run(_backfill, settings, arguments))


async def _backfill(settings: Settings, arguments: argparse.Namespace, stop: StopRequest) -> int:
    from proxy.cli.progress import ProgressSnapshot
    from proxy.cutover.gate.basis import Basis
    from proxy.mapping.digest import mapping_digest
    from proxy.migrate.backfill.job import Backfill, job_name
    from proxy.migrate.backfill.plan import BackfillAccess, BackfillPlan
    from proxy.migrate.table_jobs.cancellation import StopRequestedError
    from proxy.migrate.table_jobs.rate_limiter import RateLimiter
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import open_table_stores, tune_garbage_collector
    from proxy.settings.validation import SettingsError

    costs = CallCosts()
    tune_garbage_collector()
    async with open_table_stores(settings, arguments.table, costs.count_retry) as stores:
        name = stores.table.name
        if await stores.authority.refresh() != {"dynamodb"}:
            what = f"DSQL is the authority for {name}, or for one of its types: backfill would overwrite the truth"
            raise SettingsError([f"{what}; see crossfade stage, and use verify --repair for the other direction"])
        limiter = RateLimiter(arguments.rate)
        reader = TableReader(
            stores.dynamodb, stores.table.schema, limiter, on_units=costs.add_units, on_retry=costs.count_retry
        )
        share, shares = arguments.segment
        async with (
            _open_source(stores, reader, settings, arguments) as source,
            stores.job_participant(
                f"{job_name(name, source)}/{share}of{shares}", "dynamodb", unrecovered=True
            ).open() as participant,
        ):
            _refuse_ramp(stores.authority, name)
            backfill = Backfill(
                BackfillPlan(
                    schema=stores.table.schema,
                    mapping=stores.table.mapping,
                    settle_seconds=settings.dsql.settle_seconds,
                    references=() if arguments.unordered else [each.attribute for each in stores.references],
                    basis=Basis.of(stores.authority.stages, name, mapping_digest(stores.table.mapping)),
                ),
                BackfillAccess(
                    source=source,
                    participant=participant,
                    bulk=stores.bulk,
                    checkpoints=stores.checkpoints,
                    limiter=limiter,
                ),
                on_retry=costs.count_retry,
                stop=lambda: stop() or stores.authority.ramp > 0,
            )

            def now() -> ProgressSnapshot:
                counts = backfill.counts
                remark = f"{counts.inserted:,} inserted"
                if counts.unrepresentable or counts.malformed:
                    remark += f", {counts.unrepresentable + counts.malformed:,} cannot be held"
                return ProgressSnapshot(counts.seen, source.total, counts.size, costs.units, costs.retries, remark)

            async with show_progress("backfill", name, now, arguments):
                await backfill.run(arguments.parallel, fresh=arguments.fresh)
            _refuse_ramp(stores.authority, name)
            if backfill.restart_reason is not None:
                sys.stdout.write(f"{name}: the backfill began anew: {backfill.restart_reason}\n")
            sys.stdout.write(_summary(name, backfill, values=arguments.values, stopped=stop()) + "\n")
            if stop():
                raise StopRequestedError
            return FAILED if backfill.counts.unrepresentable or backfill.counts.malformed else 0


def _refuse_ramp(authority: TableAuthority, name: str) -> None:
    """Refuse to fill a table that serves clients: what is not there yet would be missing in their answers."""
    from proxy.settings.validation import SettingsError

    if authority.ramp > 0:
        problem = f"DSQL serves {authority.ramp:g} % of the reads of {name}, which must not miss what is not filled yet"
        raise SettingsError([f"{problem}: set the ramp to 0 first (crossfade stage {name} shadow --ramp 0)"])


@asynccontextmanager
async def _open_source(
    stores: TableStores, reader: TableReader, settings: Settings, arguments: argparse.Namespace
) -> AsyncIterator[Source]:
    from proxy.migrate.backfill import export_source as exports
    from proxy.migrate.backfill.backup_source import BackupSource
    from proxy.migrate.table_jobs.sources import ScanSource

    schema, share = stores.table.schema, arguments.segment
    if arguments.from_backup is not None:
        yield BackupSource(arguments.from_backup, _column_mapping(stores), schema, reader, share=share)
    elif arguments.from_export is None:
        limit = page_items(arguments)
        yield ScanSource(reader, schema, total=stores.items, share=share, parallel=arguments.parallel, limit=limit)
    elif arguments.from_export.startswith("s3://"):
        import aioboto3

        session = aioboto3.Session(region_name=settings.dynamodb.region)
        async with session.client("s3") as client:
            files = exports.S3Files(client, arguments.from_export)
            export = await exports.read_manifests(files, arguments.from_export, schema.name)
            yield exports.ExportSource(export, files, schema, reader, share=share)
    else:
        copy = exports.local_files(Path(arguments.from_export))
        export = await exports.read_manifests(copy, arguments.from_export, schema.name)
        yield exports.ExportSource(export, copy, schema, reader, share=share)


def _column_mapping(stores: TableStores) -> Any:
    from proxy.mapping.column_mapping import ColumnMapping
    from proxy.settings.validation import SettingsError

    if not isinstance(stores.table.mapping, ColumnMapping):
        raise SettingsError(
            [f"--from-backup needs a mapping file for {stores.table.name}: the mapping says which attributes are dates"]
        )
    return stores.table.mapping


def _summary(table: str, backfill: Backfill, *, values: bool, stopped: bool) -> str:
    import secrets

    import orjson

    from comparators.redact import Redactor

    counts = backfill.counts
    redactor = Redactor(secrets.token_bytes(32))
    lines = [
        f"{table}: {counts.seen:,} items{' so far' if stopped else ''}: {counts.inserted:,} inserted, "
        f"{counts.equal:,} already held, "
        f"{counts.converged:,} converged, {counts.unrepresentable:,} cannot be represented"
        + (f", {counts.lossy:,} with a loss that the mapping allows" if counts.lossy else "")
    ]
    for example in counts.examples:
        key = redactor.show_key(example["key"], values, table)
        lines.append(f"  {orjson.dumps(key).decode()}: {'; '.join(example['reasons'])}")
    if counts.malformed:
        lines.append(f"{counts.malformed:,} entries are not items:")
        lines += [f"  {each}" for each in counts.troubles]
    return "\n".join(lines)
