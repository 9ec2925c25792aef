"""`crossfade verify`: whether both stores of a table are equal, all of it; repairs on request; records the sweep.

Exit status 0: equal, or all that differed was repaired; 1: they differ, or some keys could not be settled, or a store
went away (run it again: it goes on); 2: settings or arguments; 130: it was asked to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.table_job import FAILED, CallCosts, add_common, page_items, run, show_progress

if TYPE_CHECKING:  # what these bring with them takes most of a second: other commands start without it
    from proxy.dynamodb.schema import Key
    from proxy.migrate.table_jobs.cancellation import StopRequest
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import TableStores
    from proxy.migrate.verify.sweep_result import SweepResult
    from proxy.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("verify", help="say whether both stores hold the same, all of it, in both directions")
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
    parser.set_defaults(run=lambda settings, arguments: run(_verify, settings, arguments))


async def _verify(settings: Settings, arguments: argparse.Namespace, stopping: StopRequest) -> int:
    from proxy.cli.progress import ProgressSnapshot
    from proxy.cutover.gate.basis import Basis
    from proxy.mapping.digest import mapping_digest
    from proxy.migrate.table_jobs.rate_limiter import RateLimiter
    from proxy.migrate.table_jobs.sources import ScanSource
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import open_table_stores, tune_garbage_collector
    from proxy.migrate.verify.recheck import Rechecker
    from proxy.migrate.verify.sweep import SweepJob, job_name
    from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, UNSETTLED
    from proxy.stores.interface import StoredItem

    counting = CallCosts()
    tune_garbage_collector()
    async with open_table_stores(settings, arguments.table, counting.count_retry) as both, AsyncExitStack() as stack:
        name = _choose_authority(
            arguments, await both.authority.refresh(), pinned=both.authority.pinned, table=both.table.name
        )
        pace = RateLimiter(arguments.rate)
        reader = TableReader(
            both.dynamodb, both.table.schema, pace, on_units=counting.add_units, on_retry=counting.count_retry
        )
        source = ScanSource(
            reader,
            both.table.schema,
            total=both.items,
            share=arguments.segment,
            parallel=arguments.parallel,
            limit=page_items(arguments),
        )
        moves = None
        if arguments.repair:
            share, shares = arguments.segment
            part = both.job_participant(
                f"{job_name(both.table.name, name, source)}/{share}of{shares}", name, unrecovered=False
            )
            moves = await stack.enter_async_context(part.open())
            if moves.inherits_unfinished_unit:
                # A repair was cut off: what it was writing, this sweep looks at when it can take effect no more.
                moves.refuse_flips_for(settings.dsql.settle_seconds)

        async def from_dynamodb(keys: Any) -> dict[Key, StoredItem]:
            found = await reader.get_many(keys)
            return {key: StoredItem(found.get(key)) for key in keys}

        async def from_dsql(keys: Any) -> dict[Key, StoredItem]:
            return dict(await both.dsql.rows.get_many(keys))

        forwards = name == "dynamodb"
        looking = Rechecker(
            both.table,
            both.dynamodb if forwards else both.dsql,
            both.dsql if forwards else both.dynamodb,
            from_dynamodb if forwards else from_dsql,
            from_dsql if forwards else from_dynamodb,
            patience=arguments.patience,
            moves=moves,
            settle=(settings.dsql if forwards else settings.dynamodb).settle_seconds,
            stopping=stopping,
        )
        await _wait_for_forgotten_process(both, settings)
        basis = Basis.of(both.authority.stages, both.table.name, mapping_digest(both.table.mapping))
        sweeping = SweepJob(
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
            basis=basis,
            stop=stopping,
        )

        def now() -> ProgressSnapshot:
            counts = sweeping.counts
            found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.results.items()))
            return ProgressSnapshot(
                counts.seen, source.total, counts.size, counting.units, counting.retries, found or "no difference"
            )

        async with show_progress("verify", both.table.name, now, arguments):
            swept = await sweeping.run(arguments.parallel, fresh=arguments.fresh)
            if moves is not None:
                await moves.wait_until_settled(stopping)
        await _publish(settings, both, reader, swept, arguments)
        return FAILED if swept.result in (DIFFERENT, UNSETTLED) else 0


async def _wait_for_forgotten_process(both: TableStores, settings: Settings) -> None:
    """Until nothing can take effect any more that a forgotten process sent. The stages have been read by then."""
    import time

    from proxy.cutover.gate.forgotten_writes import wait_seconds

    lost = await both.authority.forgotten_processes()
    seconds = wait_seconds(lost, time.time(), max(settings.dynamodb.settle_seconds, settings.dsql.settle_seconds))
    if seconds > 0:
        sys.stderr.write(
            f"crossfade: {lost.last_process} was forgotten: waiting {seconds:.0f} s, until nothing that it sent can "
            "take effect\n"
        )
        await asyncio.sleep(seconds)


def _choose_authority(arguments: argparse.Namespace, found: frozenset[str], *, pinned: bool, table: str) -> str:
    """Which store is right. Raises SettingsError where nobody can tell, or where a repair would overwrite the truth."""
    from proxy.settings.validation import SettingsError

    named: str | None = arguments.authority
    if named is None:
        if len(found) > 1:
            raise SettingsError([f"types of {table} have different authorities: give --authority"])
        return next(iter(found))
    if arguments.repair and not pinned and named not in found:
        (authority,) = found
        what = f"{authority} is the authority for {table}: --repair would overwrite it with what {named} holds"
        raise SettingsError([f"{what}; move the stage first (crossfade stage), or leave --authority out"])
    return named


async def _publish(
    settings: Settings, both: TableStores, reader: TableReader, swept: SweepResult, arguments: argparse.Namespace
) -> None:
    import orjson

    from proxy.migrate.verify import report
    from proxy.stores.dsql.system_tables.sweep_records import SweepRecord, SweepRecords

    document = report.document(swept)
    text = report.markdown(swept)
    sys.stdout.write(text)
    if swept.spots:
        sys.stdout.write(await _spot_checks(both, reader, swept.spots, values=arguments.values))
    if arguments.json is not None:
        await asyncio.to_thread(arguments.json.write_bytes, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    if arguments.markdown is not None:
        await asyncio.to_thread(arguments.markdown.write_text, text, "utf-8")
    if swept.whole:
        sweeps = SweepRecords(both.pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds)
        # The record is for the gate: what was found stays in the report.
        kept = document | {"findings": []}
        await sweeps.add(SweepRecord(swept.table, swept.began, swept.ended, swept.authority, swept.result, kept))


async def _spot_checks(both: TableStores, reader: TableReader, keys: list[Key], *, values: bool) -> str:
    """Items side by side, for a look by eye."""
    import secrets

    import orjson

    from comparators.redact import Redactor

    redactor = Redactor(secrets.token_bytes(32))
    there, here = await reader.get_many(keys), await both.dsql.rows.get_many(keys)
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
