"""`crossfade verify`: whether both stores of a table are equal, all of it; repairs on request; records the sweep.

Exit status 0: equal, or all that differed was repaired; 1: they differ, or a store went away (run it again: it goes
on); 2: settings or arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.migrate.backfill_command import FAILED, STOPPED, add_common

if TYPE_CHECKING:  # what these bring with them takes most of a second: other commands start without it
    from proxy.dynamodb.schema import Key
    from proxy.migrate.both import Both
    from proxy.migrate.swept import Swept
    from proxy.migrate.table_reader import TableReader
    from proxy.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("verify", help="say whether both stores hold the same, all of it, in both directions")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML; without it, the defaults")
    parser.add_argument("--table", metavar="NAME", help="the table; needed where mappings has not just one")
    parser.add_argument("--authority", choices=("dynamodb", "dsql"), help="which store is right; else by the stage")
    parser.add_argument("--repair", action="store_true", help="make the mirror hold what the authority holds")
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long it may take to agree (10)",
    )
    parser.add_argument("--spot", type=int, default=0, metavar="N", help="print N random items of both stores")
    parser.add_argument("--values", action="store_true", help="show values; without it, hashes and shapes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report as Markdown too; it is printed")
    add_common(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Raises SettingsError and CredentialsError."""
    from proxy import logs
    from proxy.stores.failures import StoreError

    logs.configure(settings.log.level, settings.log.format)
    try:
        return asyncio.run(_verify(settings, arguments))
    except StoreError as error:
        sys.stderr.write(f"crossfade: {error} ({error.reason}): run it again, it goes on where it was\n")
    except KeyboardInterrupt:
        sys.stderr.write("crossfade: stopped; run it again, it goes on where it was\n")
        return STOPPED
    return FAILED


async def _verify(settings: Settings, arguments: argparse.Namespace) -> int:
    from proxy.checked import SettingsError
    from proxy.migrate.both import collect_seldom, opened
    from proxy.migrate.looking import Looking
    from proxy.migrate.pace import Pace
    from proxy.migrate.progress import Now, Progress
    from proxy.migrate.published import Published
    from proxy.migrate.sources import ScanSource
    from proxy.migrate.sweep import Sweeping
    from proxy.migrate.sweeps import DIFFERENT
    from proxy.migrate.table_reader import TableReader
    from proxy.stores.store import Held

    spent = 0.0
    retries = 0

    def spend(units: float) -> None:
        nonlocal spent
        spent += units

    def again(_: str) -> None:
        nonlocal retries
        retries += 1

    collect_seldom()
    async with opened(settings, arguments.table, again) as both:
        name = arguments.authority
        if name is None:
            authorities = await both.standing.authorities()
            if len(authorities) > 1:
                raise SettingsError([f"types of {both.table.name} have different authorities: give --authority"])
            (name,) = authorities
        pace = Pace(arguments.rate)
        reader = TableReader(both.dynamodb, both.table.schema, pace, spent=spend, again=again)

        async def from_dynamodb(keys: Any) -> dict[Key, Held]:
            found = await reader.get_many(keys)
            return {key: Held(found.get(key)) for key in keys}

        async def from_dsql(keys: Any) -> dict[Key, Held]:
            return dict(await both.dsql.get_many(keys))

        forwards = name == "dynamodb"
        looking = Looking(
            both.table,
            both.dynamodb if forwards else both.dsql,
            both.dsql if forwards else both.dynamodb,
            from_dynamodb if forwards else from_dsql,
            from_dsql if forwards else from_dynamodb,
            patience=arguments.patience,
            repair=arguments.repair,
            # Who names the authority means it, whatever the stage.
            allowed=_nothing if arguments.authority is not None else lambda: both.standing.check(name),
        )
        limit = arguments.rate.page_items if arguments.rate is not None else 1000
        source = ScanSource(
            reader, both.table.schema, total=both.items, of=arguments.segment, parallel=arguments.parallel, limit=limit
        )
        lost = await _settled(both, settings)
        sweeping = Sweeping(
            both.table,
            source,
            reader,
            both.bulk,
            looking,
            both.checkpoints,
            pace,
            authority=name,
            references=both.references,
            values=arguments.values,
            spots=arguments.spot,
            forgotten=lost,
        )

        def now() -> Now:
            counts = sweeping.counts
            found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.results.items()))
            return Now(counts.seen, source.total, counts.size, spent, retries, found or "no difference")

        published = Published("verify", both.table.name, now, arguments.metrics)
        async with Progress("verify", now, quiet=arguments.quiet):
            with published:
                swept = await sweeping.run(arguments.parallel, fresh=arguments.fresh)
        await _told(settings, both, reader, swept, arguments)
        return FAILED if swept.result == DIFFERENT else 0


async def _settled(both: Both, settings: Settings) -> int:
    """How many processes have been forgotten that owed keys, when nothing that they sent can take effect any more."""
    import time

    from proxy.shadow.unswept import wait

    lost = await both.standing.forgotten()
    seconds = wait(lost, time.time(), max(settings.dynamodb.settle_seconds, settings.dsql.settle_seconds))
    if seconds > 0:
        sys.stderr.write(
            f"crossfade: {lost.process} was forgotten: waiting {seconds:.0f} s, until nothing it sent can take effect\n"
        )
        await asyncio.sleep(seconds)
    return lost.count


async def _nothing() -> None:
    """Nobody needs to be asked."""


async def _told(
    settings: Settings, both: Both, reader: TableReader, swept: Swept, arguments: argparse.Namespace
) -> None:
    import orjson

    from proxy.migrate import report
    from proxy.migrate.sweeps import Sweep, Sweeps

    document = report.document(swept)
    text = report.markdown(swept)
    sys.stdout.write(text)
    if swept.spots:
        sys.stdout.write(await _spots(both, reader, swept.spots, values=arguments.values))
    if arguments.json is not None:
        await asyncio.to_thread(arguments.json.write_bytes, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    if arguments.markdown is not None:
        await asyncio.to_thread(arguments.markdown.write_text, text, "utf-8")
    if swept.whole:
        sweeps = Sweeps(both.pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds)
        # The record is for the gate: what was found stays in the report.
        kept = document | {"findings": []}
        await sweeps.add(Sweep(swept.table, swept.began, swept.ended, swept.authority, swept.result, kept))


async def _spots(both: Both, reader: TableReader, keys: list[Key], *, values: bool) -> str:
    """Items side by side, for a look by eye."""
    import secrets

    import orjson

    from comparators.redact import Redactor

    redactor = Redactor(secrets.token_bytes(32))
    there, here = await reader.get_many(keys), await both.dsql.get_many(keys)
    lines = ["## Spot checks", ""]
    for key in keys:
        held = (("DynamoDB", there.get(key)), ("DSQL", here[key].item))
        attributes = key.attributes
        shown_key = attributes if values else {name: redactor.redact(value) for name, value in attributes.items()}
        lines += [f"### {orjson.dumps(shown_key).decode()}", "", "```"]
        for store, item in held:
            shown = item if values or item is None else {name: redactor.redact(value) for name, value in item.items()}
            lines.append(f"{store + ':':<10}{orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode()}")
        lines += ["```", ""]
    return "\n".join(lines)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 3600")
    return seconds
