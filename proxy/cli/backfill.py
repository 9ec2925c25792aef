"""`crossfade backfill`: bring what a table held before dual writes began, from where the operator says.

Exit status 0: all of it is in the mirror; 1: something cannot be, or a store went away (run it again: it goes on);
2: settings or arguments; 130: it was asked to stop.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.table_job import FAILED, CallCosts, add_common, page_items, run, show_progress

if TYPE_CHECKING:  # what these bring with them takes most of a second: other commands start without it
    from proxy.migrate.backfill.job import Backfill
    from proxy.migrate.table_jobs.cancellation import StopRequest
    from proxy.migrate.table_jobs.sources import Source
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import TableStores
    from proxy.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("backfill", help="bring every item to DSQL that was there before dual writes began")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-backup", type=Path, metavar="DIR", help="JSON backups: one array a type, ISO dates")
    source.add_argument("--from-export", metavar="PATH", help="a DynamoDB export to S3: its folder, or s3://…")
    parser.add_argument("--unordered", action="store_true", help="one pass: what refers may come before what it needs")
    parser.add_argument("--values", action="store_true", help="show the keys of what cannot be held; else hashes")
    add_common(parser)
    parser.set_defaults(run=lambda settings, arguments: run(_backfill, settings, arguments))


async def _backfill(settings: Settings, arguments: argparse.Namespace, stopping: StopRequest) -> int:
    from proxy.cli.progress import ProgressSnapshot
    from proxy.cutover.gate.basis import Basis
    from proxy.mapping.digest import mapping_digest
    from proxy.migrate.backfill.job import Backfill, job_name
    from proxy.migrate.table_jobs.cancellation import StopRequestedError
    from proxy.migrate.table_jobs.rate_limiter import RateLimiter
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import open_table_stores, tune_garbage_collector
    from proxy.settings.validation import SettingsError

    counting = CallCosts()
    tune_garbage_collector()
    async with open_table_stores(settings, arguments.table, counting.count_retry) as both:
        name = both.table.name
        if await both.authority.refresh() != {"dynamodb"}:
            what = f"DSQL is the authority for {name}, or for a type of it: backfill would overwrite"
            raise SettingsError([f"{what} the truth; see stage, and use verify --repair for the other direction"])
        pace = RateLimiter(arguments.rate)
        reader = TableReader(
            both.dynamodb, both.table.schema, pace, on_units=counting.add_units, on_retry=counting.count_retry
        )
        share, shares = arguments.segment
        async with (
            _open_source(both, reader, settings, arguments) as source,
            both.job_participant(
                f"{job_name(name, source)}/{share}of{shares}", "dynamodb", unrecovered=True
            ).open() as moves,
        ):
            backfill = Backfill(
                source,
                both.table.schema,
                both.table.mapping,
                moves=moves,
                bulk=both.bulk,
                checkpoints=both.checkpoints,
                pace=pace,
                settle=settings.dsql.settle_seconds,
                basis=Basis.of(both.authority.stages, name, mapping_digest(both.table.mapping)),
                references=() if arguments.unordered else [each.attribute for each in both.references],
                again=counting.count_retry,
                stop=stopping,
            )

            def now() -> ProgressSnapshot:
                tally = backfill.counts
                remark = f"{tally.inserted:,} inserted"
                if tally.unrepresentable or tally.malformed:
                    remark += f", {tally.unrepresentable + tally.malformed:,} cannot be"
                return ProgressSnapshot(tally.seen, source.total, tally.size, counting.units, counting.retries, remark)

            async with show_progress("backfill", name, now, arguments):
                await backfill.run(arguments.parallel, fresh=arguments.fresh)
            if backfill.restart_reason is not None:
                sys.stdout.write(f"{name}: what an earlier run had done began anew: {backfill.restart_reason}\n")
            sys.stdout.write(_summary(name, backfill, values=arguments.values, stopped=stopping()) + "\n")
            if stopping():
                raise StopRequestedError
            return FAILED if backfill.counts.unrepresentable or backfill.counts.malformed else 0


@asynccontextmanager
async def _open_source(
    both: TableStores, reader: TableReader, settings: Settings, arguments: argparse.Namespace
) -> AsyncIterator[Source]:
    from proxy.migrate.backfill import export_source as exports
    from proxy.migrate.backfill.backup_source import BackupSource
    from proxy.migrate.table_jobs.sources import ScanSource

    schema, share = both.table.schema, arguments.segment
    if arguments.from_backup is not None:
        yield BackupSource(arguments.from_backup, _column_mapping(both), schema, reader, share=share)
    elif arguments.from_export is None:
        limit = page_items(arguments)
        yield ScanSource(reader, schema, total=both.items, share=share, parallel=arguments.parallel, limit=limit)
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


def _column_mapping(both: TableStores) -> Any:
    from proxy.mapping.column_mapping import ColumnMapping
    from proxy.settings.validation import SettingsError

    if not isinstance(both.table.mapping, ColumnMapping):
        raise SettingsError([f"--from-backup needs a mapping file for {both.table.name}: it says what a date is"])
    return both.table.mapping


def _summary(table: str, backfill: Backfill, *, values: bool, stopped: bool) -> str:
    import secrets

    import orjson

    from comparators.redact import Redactor

    tally = backfill.counts
    redactor = Redactor(secrets.token_bytes(32))
    lines = [
        f"{table}: {tally.seen:,} items{' until now' if stopped else ''}: {tally.inserted:,} inserted, "
        f"{tally.equal:,} held already, "
        f"{tally.converged:,} converged, {tally.unrepresentable:,} cannot be represented"
        + (f", {tally.lossy:,} with a loss that the mapping allows" if tally.lossy else "")
    ]
    for example in tally.examples:
        key = example["key"] if values else {name: redactor.redact(each) for name, each in example["key"].items()}
        lines.append(f"  {orjson.dumps(key).decode()}: {'; '.join(example['reasons'])}")
    if tally.malformed:
        lines.append(f"{tally.malformed:,} entries are no items:")
        lines += [f"  {each}" for each in tally.troubles]
    return "\n".join(lines)
