"""`crossfade backfill`: bring what a table held before dual writes began, from where the operator says.

Exit status 0: all of it is in the mirror; 1: something cannot be, or a store went away (run it again: it goes on);
2: settings or arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what these bring with them takes most of a second: other commands start without it
    from proxy.migrate.backfill import Backfill
    from proxy.migrate.both import Both
    from proxy.migrate.sources import Source
    from proxy.migrate.table_reader import TableReader
    from proxy.settings import Settings

FAILED = 1
STOPPED = 130


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("backfill", help="bring every item to DSQL that was there before dual writes began")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML; without it, the defaults")
    parser.add_argument("--table", metavar="NAME", help="the table; needed where mappings has not just one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-backup", type=Path, metavar="DIR", help="JSON backups: one array a type, ISO dates")
    source.add_argument("--from-export", metavar="PATH", help="a DynamoDB export to S3: its folder, or s3://…")
    parser.add_argument("--unordered", action="store_true", help="one pass: what refers may come before what it needs")
    parser.add_argument("--values", action="store_true", help="show the keys of what cannot be held; else hashes")
    add_common(parser)
    parser.set_defaults(run=run)


def add_common(parser: argparse.ArgumentParser) -> None:
    """What backfill and verify have in common."""
    parser.add_argument("--rate", type=_rate, metavar="RATE", help="500 for items a second, 200rcu for read units")
    parser.add_argument("--segment", type=_share, default=(1, 1), metavar="I/N", help="the I-th of N shares, from 1")
    parser.add_argument("--parallel", type=_count, default=4, metavar="K", help="segments at a time (4)")
    parser.add_argument("--fresh", action="store_true", help="begin anew, instead of going on where it was")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--metrics", type=_address, metavar="HOST:PORT", help="show progress to Prometheus here")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Raises SettingsError and CredentialsError."""
    from proxy import logs
    from proxy.migrate.sources import SourceError
    from proxy.stores.failures import StoreError

    logs.configure(settings.log.level, settings.log.format)
    try:
        return asyncio.run(_backfill(settings, arguments))
    except SourceError as error:
        sys.stderr.write(f"crossfade: {error}\n")
    except StoreError as error:
        sys.stderr.write(f"crossfade: {error} ({error.reason}): run it again, it goes on where it was\n")
    except KeyboardInterrupt:
        sys.stderr.write("crossfade: stopped; run it again, it goes on where it was\n")
        return STOPPED
    return FAILED


async def _backfill(settings: Settings, arguments: argparse.Namespace) -> int:
    from proxy.checked import SettingsError
    from proxy.migrate.backfill import Backfill
    from proxy.migrate.both import collect_seldom, opened
    from proxy.migrate.pace import Pace
    from proxy.migrate.progress import Now, Progress
    from proxy.migrate.published import Published
    from proxy.migrate.table_reader import TableReader

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
        if await both.standing.authorities() != {"dynamodb"}:
            what = f"DSQL is the authority for {both.table.name}, or for a type of it: backfill would overwrite"
            raise SettingsError([f"{what} the truth; see stage, and use verify --repair for the other direction"])
        pace = Pace(arguments.rate)
        reader = TableReader(both.dynamodb, both.table.schema, pace, spent=spend, again=again)
        async with _source(both, reader, settings, arguments) as source:
            backfill = Backfill(
                source,
                both.table.schema,
                both.table.mapping,
                authority=both.dynamodb,
                mirror=both.dsql,
                bulk=both.bulk,
                checkpoints=both.checkpoints,
                pace=pace,
                settle=settings.dsql.settle_seconds,
                allowed=lambda: both.standing.check("dynamodb"),
                references=() if arguments.unordered else [each.attribute for each in both.references],
                again=again,
            )

            def now() -> Now:
                tally = backfill.tally
                remark = f"{tally.inserted:,} inserted"
                if tally.unrepresentable or tally.malformed:
                    remark += f", {tally.unrepresentable + tally.malformed:,} cannot be"
                return Now(tally.seen, source.total, tally.size, spent, retries, remark)

            published = Published("backfill", both.table.name, now, arguments.metrics)
            async with Progress("backfill", now, quiet=arguments.quiet):
                with published:
                    await backfill.run(arguments.parallel, fresh=arguments.fresh)
            sys.stdout.write(_summary(both.table.name, backfill, values=arguments.values) + "\n")
            return FAILED if backfill.tally.unrepresentable or backfill.tally.malformed else 0


@asynccontextmanager
async def _source(
    both: Both, reader: TableReader, settings: Settings, arguments: argparse.Namespace
) -> AsyncIterator[Source]:
    from proxy.migrate import exports
    from proxy.migrate.backups import BackupSource
    from proxy.migrate.sources import ScanSource

    schema, share = both.table.schema, arguments.segment
    if arguments.from_backup is not None:
        yield BackupSource(arguments.from_backup, _columns(both), schema, reader, share=share)
    elif arguments.from_export is None:
        limit = arguments.rate.page_items if arguments.rate is not None else 1000
        yield ScanSource(reader, schema, total=both.items, of=share, parallel=arguments.parallel, limit=limit)
    elif arguments.from_export.startswith("s3://"):
        import aioboto3

        session = aioboto3.Session(region_name=settings.dynamodb.region)
        async with session.client("s3") as client:
            files = exports.S3Files(client, arguments.from_export)
            export = await exports.read_manifests(files, arguments.from_export, schema.name)
            yield exports.ExportSource(export, files, schema, reader, share=share)
    else:
        copy = exports.local(Path(arguments.from_export))
        export = await exports.read_manifests(copy, arguments.from_export, schema.name)
        yield exports.ExportSource(export, copy, schema, reader, share=share)


def _columns(both: Both) -> Any:
    from proxy.checked import SettingsError
    from proxy.mapping.columns import ColumnMapping

    if not isinstance(both.table.mapping, ColumnMapping):
        raise SettingsError([f"--from-backup needs a mapping file for {both.table.name}: it says what a date is"])
    return both.table.mapping


def _summary(table: str, backfill: Backfill, *, values: bool) -> str:
    import secrets

    import orjson

    from comparators.redact import Redactor

    tally = backfill.tally
    redactor = Redactor(secrets.token_bytes(32))
    lines = [
        f"{table}: {tally.seen:,} items: {tally.inserted:,} inserted, {tally.equal:,} held already, "
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


def _rate(text: str) -> Any:
    from proxy.migrate.pace import Rate

    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> tuple[int, int]:
    number, slash, shares = text.partition("/")
    if not slash or not number.isdecimal() or not shares.isdecimal() or not 1 <= int(number) <= int(shares):
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write I/N, as in 1/8")
    return int(number), int(shares)


def _address(text: str) -> Any:
    from proxy.settings import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)
