"""`crossfade migrate`: apply a folder of SQL files to DSQL, each file once; or only show what would be applied.

Exit status 0: nothing is left to do, or nothing was to be done; 1: not everything could be applied; 2: wrong settings.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.settings.validation import SettingsError

if TYPE_CHECKING:  # importing these takes a while, which other commands need not wait for
    import asyncpg

    from proxy.migrate.schema.runner import Migration, MigrationProgress
    from proxy.settings import Settings

FAILED = 1
_TRIES = 5
_TRY_SECONDS = 2.0


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    migrating = commands.add_parser("migrate", help="apply a folder of .sql files to DSQL, each file once")
    migrating.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML, for [dsql]")
    migrating.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="the files, applied in the order of their names; without it, Billio's",
    )
    instead = migrating.add_mutually_exclusive_group()
    instead.add_argument("--plan", action="store_true", help="print the statements that would be executed, and stop")
    instead.add_argument("--status", action="store_true", help="print what is applied and what is not, and stop")
    migrating.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError."""
    if not settings.dsql.given:
        raise SettingsError(
            ["migrate needs DSQL: set endpoint or dsn in [dsql], or CROSSFADE_DSQL__ENDPOINT or CROSSFADE_DSQL__DSN"]
        )
    from proxy import logs
    from proxy.migrate.schema.migration_files import MigrationError, read_folder, shipped_folder
    from proxy.stores.dsql.connect_errors import ConnectError

    logs.configure(settings.log.level, settings.log.format)
    try:
        migrations = read_folder(arguments.folder or shipped_folder())
        if arguments.plan or arguments.status:
            return asyncio.run(_show(settings, migrations, statements=arguments.plan))
        asyncio.run(_apply(settings, migrations))
    except MigrationError as error:
        sys.stderr.write(f"crossfade: {error}\n")
        return FAILED
    except ConnectError as error:
        sys.stderr.write(f"crossfade: DSQL: {error}\n")
        return FAILED
    return 0


async def _apply(settings: Settings, migrations: list[Migration]) -> None:
    from proxy.migrate.schema.runner import MigrationInterrupted, migrate

    applied = 0

    def say(text: str) -> None:
        nonlocal applied
        applied += text.startswith("applied ")
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    # Creating an index may take longer than the lifetime of a DSQL connection.
    for attempt in range(1, _TRIES + 1):
        connection = await _connect(settings)
        try:
            await migrate(connection, migrations, say)
            break
        except MigrationInterrupted:
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_TRY_SECONDS)
        finally:
            connection.terminate()
    sys.stdout.write(f"{applied} applied, nothing else to do\n")


async def _connect(settings: Settings) -> asyncpg.Connection:
    from proxy.stores.dsql.connect import connect_once
    from proxy.stores.dsql.sql.statements import quoted

    connection = await connect_once(settings.dsql)
    if settings.dsql.schema != "public":
        await connection.execute(f"SET search_path TO {quoted(settings.dsql.schema)}")
    return connection


async def _show(settings: Settings, migrations: list[Migration], *, statements: bool) -> int:
    from proxy.migrate.schema.runner import read_progress

    connection = await _connect(settings)
    try:
        found = await read_progress(connection, migrations)
    finally:
        connection.terminate()
    for each in found:
        sys.stdout.write(_progress_line(each) + "\n")
        if statements and each.applied is None:
            for statement in each.statements[each.done :]:
                sys.stdout.write("    " + statement.replace("\n", "\n    ") + ";\n")
    return FAILED if any(each.state == "changed" for each in found) else 0


def _progress_line(found: MigrationProgress) -> str:
    if found.applied is not None:
        when = f"{found.applied.at:%Y-%m-%d %H:%M} UTC"
        return {
            "applied": f"{found.name}: applied {when}",
            "changed": f"{found.name}: applied {when}, and changed since: restore it, and write a new migration",
        }.get(found.state, f"{found.name}: applied {when}, and not in this folder")
    if found.state == "begun":
        return f"{found.name}: begun, {found.done} of {len(found.statements)} statements done"
    return f"{found.name}: not applied"
