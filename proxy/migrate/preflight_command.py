"""`crossfade preflight`: what DSQL and the mapping could not hold of a table, before anything is written.

Exit status 0: nothing would be lost; 1: something would, or DynamoDB could not be read; 2: settings or arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what these bring with them takes most of a second: other commands start without it
    from proxy.mapping.load import MappedTable
    from proxy.migrate.preflight import Preflight, Report
    from proxy.settings import Settings

LOSES = 1
_TELL_ITEMS = 50_000


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("preflight", help="say what a table would lose in DSQL, before anything is written")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML; without it, the defaults")
    parser.add_argument("--table", metavar="NAME", help="the table; needed where mappings has not just one")
    parser.add_argument("--sample", type=_share, default=1.0, metavar="SHARE", help="as in 1%%: random items only")
    parser.add_argument("--migrations", type=Path, metavar="DIR", help="see that these .sql files make the indexes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--values", action="store_true", help="show the keys; without it, hashes of them")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="for a file of up to 200 bytes an item")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Raises SettingsError and CredentialsError."""
    from proxy.stores.failures import StoreError

    try:
        report = asyncio.run(_examined(settings, arguments))
    except StoreError as error:
        sys.stderr.write(f"crossfade: DynamoDB: {error} (see [dynamodb], and whether dynamodb:Scan is allowed)\n")
        return LOSES
    sys.stdout.write(_printed(report, as_json=arguments.json) + "\n")
    return LOSES if report.losses else 0


async def _examined(settings: Settings, arguments: argparse.Namespace) -> Report:
    from proxy.mapping.document import DocumentMapping
    from proxy.migrate import opening
    from proxy.migrate.census import Census
    from proxy.migrate.preflight import Preflight
    from proxy.migrate.scan import pages

    name, mapped = opening.chosen(settings, arguments.table)
    async with opening.dynamodb(settings) as store:
        schema = await opening.described(store, name)
        mapping = mapped.mapping if mapped is not None else DocumentMapping(schema)
        references = mapped.references if mapped is not None else ()
        with Census(arguments.scratch) as census:
            preflight = Preflight(mapping, schema, census, references, whole=arguments.sample >= 1)
            if arguments.migrations is not None and mapped is not None:
                _look_for_indexes(preflight, mapped, arguments.migrations)
            tell = _teller()
            async for items in pages(store, name, arguments.sample):
                preflight.look(items)
                tell(preflight.items)
            return preflight.report(values=arguments.values)


def _look_for_indexes(preflight: Preflight, mapped: MappedTable, folder: Path) -> None:
    from proxy.checked import SettingsError
    from proxy.migrate.apply import MigrationError, read_folder
    from proxy.migrate.made import unmade

    try:
        migrations = read_folder(folder)
    except MigrationError as error:
        raise SettingsError([str(error)]) from error
    for trouble in unmade(mapped.mapping, [each for migration in migrations for each in migration.statements]):
        preflight.add(trouble)


def _printed(report: Report, *, as_json: bool) -> str:
    import orjson

    return orjson.dumps(report.document(), option=orjson.OPT_INDENT_2).decode() if as_json else report.text()


def _teller() -> Callable[[int], None]:
    """Says on a terminal how far it has come."""
    told = 0

    def tell(items: int) -> None:
        nonlocal told
        if sys.stderr.isatty() and items - told >= _TELL_ITEMS:
            told = items
            sys.stderr.write(f"\r{items:,} items looked at ")
            sys.stderr.flush()

    return tell


def _share(text: str) -> float:
    from proxy.migrate.scan import share_of

    try:
        return share_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
