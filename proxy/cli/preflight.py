"""`crossfade preflight`: report what DSQL and the mapping could not hold of a table, before anything is written.

Exit status 0: nothing would be lost; 1: something would be lost, or DynamoDB could not be read; 2: wrong settings or
arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.dynamodb.schema import TableSchema
    from proxy.dynamodb.values import Item
    from proxy.mapping.load import LoadedMapping
    from proxy.migrate.preflight.item_checks import TableMapping
    from proxy.migrate.preflight.preflight import Preflight, PreflightReport
    from proxy.migrate.table_jobs.sources import MalformedEntry
    from proxy.settings import Settings
    from proxy.stores.dynamodb.store import DynamoDBStore

FAILED = 1
_REPORT_ITEMS = 50_000


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("preflight", help="report what a table would lose in DSQL, before anything is written")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    parser.add_argument("--table", metavar="NAME", help="the table; needed unless there is exactly one mapping")
    parser.add_argument(
        "--sample", type=_share, default=1.0, metavar="SHARE", help="check random items only, such as 1%%"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-backup", type=Path, metavar="DIR", help="JSON backups instead of the table")
    source.add_argument("--from-export", type=Path, metavar="DIR", help="a local copy of a DynamoDB export to S3")
    parser.add_argument(
        "--rate", type=_rate, metavar="RATE", help="500 for items per second, 200rcu for read capacity units"
    )
    parser.add_argument("--migrations", type=Path, metavar="DIR", help="check that these .sql files create the indexes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--values", action="store_true", help="show the keys; without it, hashes of them")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where to put a temporary file of up to 200 bytes per item"
    )
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError and CredentialsError."""
    from proxy.migrate.table_jobs.sources import SourceError
    from proxy.stores.errors import StoreError

    try:
        report = asyncio.run(_examine(settings, arguments))
    except SourceError as error:
        sys.stderr.write(f"crossfade: {error}\n")
        return FAILED
    except StoreError as error:
        sys.stderr.write(f"crossfade: DynamoDB: {error}; see also whether dynamodb:Scan is allowed\n")
        return FAILED
    sys.stdout.write(_render(report, as_json=arguments.json) + "\n")
    return FAILED if report.losses else 0


async def _examine(settings: Settings, arguments: argparse.Namespace) -> PreflightReport:
    from proxy.mapping.document_mapping import DocumentMapping
    from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
    from proxy.migrate.preflight.preflight import Preflight
    from proxy.migrate.table_jobs import open_table as opening

    name, mapped = opening.choose_table(settings, arguments.table)
    async with opening.open_dynamodb(settings) as store:
        schema = await opening.describe_table(store, name)
        mapping = mapped.mapping if mapped is not None else DocumentMapping(schema, settings.dsql.max_key_bytes)
        references = mapped.references if mapped is not None else ()
        with CrossItemChecks(arguments.scratch) as cross_item_checks:
            preflight = Preflight(mapping, schema, cross_item_checks, references, whole=arguments.sample >= 1)
            if arguments.migrations is not None and mapped is not None:
                _check_migrations(preflight, mapped, arguments.migrations)
            report_count = _item_counter()
            async with aclosing(_read_source(store, schema, mapping, arguments)) as portions:
                async for items, malformed in portions:
                    preflight.check_items(items)
                    for each in malformed:
                        preflight.count_unreadable(each.place, each.reason)
                    report_count(preflight.items)
            return preflight.report(values=arguments.values)


async def _read_source(
    store: DynamoDBStore, schema: TableSchema, mapping: TableMapping, arguments: argparse.Namespace
) -> AsyncGenerator[tuple[Sequence[Item], Sequence[MalformedEntry]], None]:
    """Yield the items of the chosen source, and its entries that are not items."""
    from proxy.mapping.column_mapping import ColumnMapping
    from proxy.migrate.backfill import export_source as exports
    from proxy.migrate.backfill.backup_source import BackupSource
    from proxy.migrate.preflight.sample_scan import scan_pages
    from proxy.migrate.table_jobs.rate_limiter import RateLimiter
    from proxy.migrate.table_jobs.sources import Source
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.settings.validation import SettingsError

    files = arguments.from_backup or arguments.from_export
    if files is None:
        async with aclosing(scan_pages(store, schema.name, arguments.sample, rate=arguments.rate)) as found:
            async for items in found:
                yield items, ()
        return
    if arguments.sample < 1:
        raise SettingsError(
            ["--sample works only on the table itself: leave it out with --from-backup and --from-export"]
        )
    reader = TableReader(store, schema, RateLimiter(None))
    if arguments.from_backup is None:
        copy = exports.local_files(files)
        source: Source = exports.ExportSource(
            await exports.read_manifests(copy, str(files), schema.name), copy, schema, reader
        )
    elif isinstance(mapping, ColumnMapping):
        source = BackupSource(files, mapping, schema, reader)
    else:
        raise SettingsError(
            [f"--from-backup needs a mapping file for {schema.name}: the mapping says which attributes are dates"]
        )
    for part in source.parts():
        async with aclosing(source.portions(part, None, None)) as portions:
            async for portion in portions:
                yield list(portion.items.values()), portion.malformed


def _check_migrations(preflight: Preflight, mapped: LoadedMapping, folder: Path) -> None:
    from proxy.migrate.preflight.index_checks import check_indexes
    from proxy.migrate.schema.migration_files import MigrationError, read_folder
    from proxy.settings.validation import SettingsError

    try:
        migrations = read_folder(folder)
    except MigrationError as error:
        raise SettingsError([str(error)]) from error
    for problem in check_indexes(mapped.mapping, [each for migration in migrations for each in migration.statements]):
        preflight.add_problem(problem)


def _render(report: PreflightReport, *, as_json: bool) -> str:
    import orjson

    return orjson.dumps(report.document(), option=orjson.OPT_INDENT_2).decode() if as_json else report.text()


def _item_counter() -> Callable[[int], None]:
    """Return a function that shows on a terminal how many items have been checked."""
    reported = 0

    def report(items: int) -> None:
        nonlocal reported
        if sys.stderr.isatty() and items - reported >= _REPORT_ITEMS:
            reported = items
            sys.stderr.write(f"\r{items:,} items checked ")
            sys.stderr.flush()

    return report


def _rate(text: str) -> Any:
    from proxy.migrate.table_jobs.rate_limiter import Rate

    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> float:
    from proxy.migrate.preflight.sample_scan import parse_share

    try:
        return parse_share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
