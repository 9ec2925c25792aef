"""The command `crossfade`: serve, check, stage, history, migrate, preflight, mapping init, stream, health, version.

Faults that an operator can mend are one message on stderr and exit code 2, never a traceback.
"""

import argparse
import asyncio
import gc
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from proxy.cli import backfill as backfill_command
from proxy.cli import mapping_init as init_command
from proxy.cli import migrate as migrate_command
from proxy.cli import preflight as preflight_command
from proxy.cli import stage as stage_command
from proxy.cli import stream as stream_command
from proxy.cli import verify as verify_command
from proxy.settings import Address, Settings, load
from proxy.settings.validation import SettingsError
from proxy.stores.errors import CredentialsError
from proxy.version import VERSION

WRONG: Final = 2
FAILED: Final = 1
HEALTH_SECONDS: Final = 3.0
_COLLECT: Final = (5_000, 80, 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (it failed) or 2 (settings or arguments are wrong)."""
    parser = argparse.ArgumentParser(
        prog="crossfade", description="Move from DynamoDB to Aurora DSQL without stopping."
    )
    parser.add_argument("--version", action="version", version=f"crossfade {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("serve", "run the proxy"), ("check", "read settings and mappings, and show what would run")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML; without it, the defaults")
    migrate_command.add(commands)
    preflight_command.add(commands)
    init_command.add(commands)
    stream_command.add(commands)
    backfill_command.add(commands)
    verify_command.add(commands)
    stage_command.add(commands)
    health = commands.add_parser("health", help="exit 0 if an address answers 200: for a container's health check")
    health.add_argument("url", metavar="URL", help="as in http://127.0.0.1:8001/readyz")
    commands.add_parser("version", help="print the version")
    chosen = parser.parse_args(arguments)

    if chosen.command == "version":
        _print(f"crossfade {VERSION}")
        return 0
    if chosen.command == "health":
        return _health(chosen.url)
    try:
        if "run_alone" in chosen:  # it reads what it needs of the settings by itself
            done: int = chosen.run_alone(chosen)
            return done
        settings = load(chosen.config, os.environ)
        if "run" in chosen:
            ran: int = chosen.run(settings, chosen)
            return ran
        return _check(settings) if chosen.command == "check" else _serve(settings)
    except SettingsError as error:
        for problem in error.problems:
            _print_error(problem)
        return WRONG
    except CredentialsError as error:
        _print_error(str(error))
        return WRONG


def _serve(settings: Settings) -> int:
    from proxy import logs  # the other commands start at once: these take most of a second
    from proxy.app.serve import renew_on_hangup, serve
    from proxy.app.service import open_service
    from proxy.signals import stop_on_signals
    from proxy.tracing.setup import setup_tracing
    from proxy.web.tls import Certificates

    tracing = setup_tracing(settings)
    log = logs.configure(settings.log.level, settings.log.format, marks=tracing.marks)

    def announce(data: Address, admin: Address, items: Address | None) -> None:
        at = f"data {_scheme(settings.tls_cert)}://{data}  admin {_scheme(settings.admin.tls_cert)}://{admin}"
        if items is not None:
            at += f"  items {_scheme(settings.tls_cert)}://{items}"
        sys.stderr.write(f"crossfade {VERSION}: {at}\n")
        sys.stderr.flush()

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        certificates = Certificates.of(settings)
        renew_on_hangup(certificates)
        _tune_garbage_collector()
        traced = partial(open_service, instrument=tracing.parts)
        await serve(settings, traced, log, stop=stop, announce=announce, certificates=certificates, tracing=tracing)

    try:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(run())
    except OSError as error:
        _print_error(error.strerror or str(error))
        return FAILED
    return 0


def _scheme(certificate: Path | None) -> str:
    return "http" if certificate is None else "https"


def _tune_garbage_collector() -> None:
    """What has been loaded stays: the garbage collector need not look at it again, nor at every 700th thing made.

    Items are thousands of dicts and hardly a cycle; a page of 20 items cost a third more without this (measured). But
    what waits for a slow mirror is looked at, and the loop stands still for 0.4 ms a thousand objects: so few are
    looked at at once, and what has survived that seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def _check(settings: Settings) -> int:
    from proxy.mapping.load import load_mappings
    from proxy.tracing.setup import setup_tracing
    from proxy.web.tls import Certificates
    from proxy.wire.client_keys import client_keys

    setup_tracing(settings)
    client_keys(settings.auth)
    Certificates.of(settings)
    shown = {
        "settings": settings.shown(),
        # A list of one's own replaces the one that is there from the beginning: so both are said.
        "gate": {"stops": settings.gate.stops, "advisory": settings.gate.advisory},
        "mappings": [
            {
                "table": name,
                "sql_table": table.mapping.sql_table,
                "columns": [column.name for column in table.mapping.columns],
                "indexes": sorted(table.mapping.indexes),
                "stage": settings.stage_of(name),
            }
            for name, table in load_mappings(settings).items()
        ],
    }
    _print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    return 0


def _health(url: str) -> int:
    if not url.startswith(("http://", "https://")):
        _print_error(f"{url}: write http://host:port/readyz")
        return WRONG
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not meant for this
    try:
        with directly.open(url, timeout=HEALTH_SECONDS) as answer:
            return 0 if answer.status == 200 else FAILED
    except (urllib.error.URLError, OSError, ValueError) as error:
        _print_error(f"{url}: {error}")
        return FAILED


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # not to be had on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_error(text: str) -> None:
    sys.stderr.write(f"crossfade: {text}\n")
