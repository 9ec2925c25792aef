"""`crossfade stream`: follow DynamoDB streams in a process of its own, to keep this work out of the proxies.

The process is a proxy without a data port. It has a journal, a lease and a place among its peers like any other, so
that a flip waits for it and comparisons take its writes into account. Its journal must be its own.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.settings import Address, Settings

FAILED = 1


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("stream", help="follow DynamoDB streams in a process of its own")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    parser.add_argument(
        "--table", action="append", metavar="NAME", help="overrides tables in [stream]; may be repeated"
    )
    parser.add_argument(
        "--from", dest="start", choices=("trim_horizon", "latest"), help="where to begin in a new stream"
    )
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="the process's own journal; overrides journal.path"
    )
    parser.add_argument("--admin", metavar="ADDRESS", help="the process's own admin port; overrides listen in [admin]")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError and CredentialsError."""
    from proxy import logs
    from proxy.app.stream_process import follow
    from proxy.signals import stop_on_signals
    from proxy.version import VERSION

    chosen = _with_overrides(settings, arguments)
    log = logs.configure(chosen.log.level, chosen.log.format)

    def announce(admin: Address) -> None:
        sys.stderr.write(f"crossfade {VERSION}: following {', '.join(chosen.stream.tables)}  admin http://{admin}\n")
        sys.stderr.flush()

    async def process() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await follow(chosen, os.environ, log, stop=stop, announce=announce)

    try:
        asyncio.run(process())
    except OSError as error:
        sys.stderr.write(f"crossfade: {error.strerror or error}\n")
        return FAILED
    return 0


def _with_overrides(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Return the settings with the command line's overrides. Raises SettingsError."""
    from proxy.settings import Address
    from proxy.settings.validation import SettingsError

    stream = settings.stream
    if arguments.table:
        stream = dataclasses.replace(stream, tables=tuple(dict.fromkeys(arguments.table)))
    if arguments.start:
        stream = dataclasses.replace(stream, start=arguments.start)
    if not stream.tables:
        raise SettingsError(["which table's stream? give --table, or tables in [stream]"])
    journal, admin = settings.journal, settings.admin
    try:
        if arguments.journal is not None:
            journal = dataclasses.replace(journal, path=arguments.journal)
        if arguments.admin is not None:
            admin = dataclasses.replace(admin, listen=Address.parse(arguments.admin))
        return dataclasses.replace(settings, stream=stream, journal=journal, admin=admin)
    except ValueError as error:
        raise SettingsError([f"--admin: {error}"]) from error
