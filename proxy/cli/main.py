"""The command `crossfade`: parses the command line and runs one command.

An error that an operator can fix is one message on stderr and exit code 2, never a traceback.
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
from proxy.cli import migrate as migrate_command
from proxy.cli import parked as parked_command
from proxy.cli import preflight as preflight_command
from proxy.cli import stage as stage_command
from proxy.cli import stream as stream_command
from proxy.cli import verify as verify_command
from proxy.cli.doctor import command as doctor_command
from proxy.cli.mapping import command as mapping_command
from proxy.settings import Address, Settings, load
from proxy.settings.validation import SettingsError
from proxy.stores.errors import CredentialsError
from proxy.version import VERSION

BAD_USAGE: Final = 2
FAILED: Final = 1
HEALTH_SECONDS: Final = 3.0
_GC_THRESHOLDS: Final = (5_000, 80, 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code: 0, 1 (it failed) or 2 (wrong settings or arguments)."""
    parser = argparse.ArgumentParser(
        prog="crossfade", description="Move from DynamoDB to Aurora DSQL without stopping."
    )
    parser.add_argument("--version", action="version", version=f"crossfade {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("serve", "run the proxy"), ("check", "check settings and mappings, and show what would run")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML; without it, the defaults")
    migrate_command.add(commands)
    doctor_command.add(commands)
    preflight_command.add(commands)
    mapping_command.add(commands)
    stream_command.add(commands)
    backfill_command.add(commands)
    verify_command.add(commands)
    stage_command.add(commands)
    parked_command.add(commands)
    health = commands.add_parser("health", help="exit 0 if a URL answers 200; for a container's health check")
    health.add_argument("url", metavar="URL", help="such as http://127.0.0.1:8001/readyz")
    commands.add_parser("version", help="print the version")
    parsed = parser.parse_args(arguments)

    if parsed.command == "version":
        _print(f"crossfade {VERSION}")
        return 0
    if parsed.command == "health":
        return _health(parsed.url)
    try:
        if "run_alone" in parsed:  # the command reads the settings it needs itself
            done: int = parsed.run_alone(parsed)
            return done
        settings = load(parsed.config, os.environ)
        if "run" in parsed:
            ran: int = parsed.run(settings, parsed)
            return ran
        return _check(settings) if parsed.command == "check" else _serve(settings)
    except SettingsError as error:
        for problem in error.problems:
            _print_error(problem)
        return BAD_USAGE
    except CredentialsError as error:
        _print_error(str(error))
        return BAD_USAGE


def _serve(settings: Settings) -> int:
    from proxy import logs  # importing these takes most of a second, which other commands need not wait for
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
    """Make the garbage collector skip what is loaded by now, and run less often than at every 700th new object.

    Items are thousands of dicts and hardly ever a cycle; without this, a page of 20 items cost a third more (measured).
    But objects that wait for a slow mirror are scanned, and scanning a thousand of them stops the loop for 0.4 ms. So
    the youngest generation is small, and survivors are scanned rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


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
        # A list in the settings replaces the default list, so both lists are shown.
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
        return BAD_USAGE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # a health check must not go through http_proxy
    try:
        with opener.open(url, timeout=HEALTH_SECONDS) as answer:
            return 0 if answer.status == 200 else FAILED
    except (urllib.error.URLError, OSError, ValueError) as error:
        _print_error(f"{url}: {error}")
        return FAILED


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # not available on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_error(text: str) -> None:
    sys.stderr.write(f"crossfade: {text}\n")
