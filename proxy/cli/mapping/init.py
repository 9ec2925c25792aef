"""`crossfade mapping init`: draft a mapping of a table, and the SQL that creates the table in DSQL.

Reads DescribeTable and a random sample; writes files, and nothing to either store. Exit status 0: the files are written
and the mapping holds the sample without loss; 1: the files are written, but some of the sample would be lost (the
preflight report says what), or DynamoDB could not be read; 2: wrong settings or arguments, or files that exist already.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.dynamodb.schema import TableSchema
    from proxy.dynamodb.values import Item
    from proxy.migrate.preflight.preflight import PreflightReport
    from proxy.settings import Settings

FAILED = 1
_SAMPLE_BYTES = 64 * 1024 * 1024


def add(actions: Any) -> None:
    """Add the action to those of `crossfade mapping`."""
    init = actions.add_parser("init", help="draft a mapping and its migrations from a sample of a table")
    init.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    init.add_argument("--table", metavar="NAME", required=True, help="the table's name in DynamoDB")
    init.add_argument("--out", type=Path, metavar="DIR", required=True, help="where to write NAME.toml and migrations/")
    init.add_argument("--sql-table", metavar="NAME", help="the table's name in DSQL; by default, derived from --table")
    init.add_argument("--items", type=_count, default=10_000, metavar="N", help="how many items to sample (10,000)")
    init.add_argument("--force", action="store_true", help="overwrite files that exist")
    init.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError and CredentialsError."""
    from proxy.stores.errors import StoreError

    try:
        schema, items = asyncio.run(_sample(settings, arguments))
    except StoreError as error:
        sys.stderr.write(f"crossfade: DynamoDB: {error}; see also whether dynamodb:Scan is allowed\n")
        return FAILED
    return _write(schema, items, settings.dsql.max_key_bytes, arguments)


async def _sample(settings: Settings, arguments: argparse.Namespace) -> tuple[TableSchema, list[Item]]:
    from proxy.migrate.preflight.sample_scan import collect_sample, scan_pages
    from proxy.migrate.table_jobs import open_table as opening

    async with opening.open_dynamodb(settings) as store:
        schema = await opening.describe_table(store, arguments.table)
        items = await collect_sample(scan_pages(store, schema.name, shuffled=True), arguments.items, _SAMPLE_BYTES)
    return schema, items


def _write(schema: TableSchema, items: list[Item], max_key_bytes: int, arguments: argparse.Namespace) -> int:
    from proxy.migrate.mapping_draft.draft import draft_mapping
    from proxy.migrate.mapping_draft.render import render_migrations, render_toml
    from proxy.settings.validation import SettingsError

    drafted = draft_mapping(schema, items, arguments.sql_table)
    mapping_file = arguments.out / f"{schema.name}.toml"
    folder = arguments.out / "migrations"
    files = {mapping_file: render_toml(drafted)} | {
        folder / name: text for name, text in render_migrations(drafted).items()
    }
    there = [path for path in files if path.exists()]
    if there and not arguments.force:
        raise SettingsError(
            [f"{path}: exists already: give --force to overwrite it, or another --out" for path in there]
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError([f"{error.filename}: {error.strerror}: give an --out that can be written"]) from error
    report = _checked(mapping_file, max_key_bytes, schema, items)
    sys.stdout.write(f"{mapping_file}: {len(drafted.columns)} columns, {len(drafted.indexes)} indexes\n")
    sys.stdout.write(f"{folder}: {len(files) - 1} migrations\n")
    sys.stdout.write("".join(f"left out: {each}\n" for each in drafted.left_out))
    if report.findings:
        sys.stdout.write(report.text() + "\n")
    else:
        sys.stdout.write(f"the mapping holds all {report.items} items of the sample without loss\n")
    return FAILED if report.losses else 0


def _checked(mapping_file: Path, max_key_bytes: int, schema: TableSchema, items: list[Item]) -> PreflightReport:
    """Read the written mapping back, and check it on the sample."""
    from proxy.mapping.load import load
    from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
    from proxy.migrate.preflight.preflight import Preflight

    mapped = load(mapping_file, max_key_bytes)
    with CrossItemChecks() as cross_item_checks:
        preflight = Preflight(mapped.mapping, schema, cross_item_checks)
        preflight.check_items(items)
        return preflight.report(values=False)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of items from 1 to 1000000")
    return int(text)
