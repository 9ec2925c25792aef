"""`crossfade verify`: compare both stores of a whole table, repair differences on request, and record the sweep.

Exit status 0: the stores are equal, or every difference was repaired; 1: they differ, some keys are undecided, or a
store was unavailable (run it again to resume); 2: wrong settings or arguments; 130: stopped on request.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.table_job import FAILED, CallCosts, add_common, page_items, run, show_progress

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.dynamodb.schema import Key
    from proxy.migrate.table_jobs.cancellation import StopRequest
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import TableStores
    from proxy.migrate.verify.sweep_result import SweepResult
    from proxy.settings import Settings


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("verify", help="compare both stores of a whole table, in both directions")
    parser.add_argument(
        "--authority", choices=("dynamodb", "dsql"), help="which store is right; by default, the stage says"
    )
    parser.add_argument("--repair", action="store_true", help="make the mirror hold what the authority holds")
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long keys may take to agree (10)",
    )
    parser.add_argument("--spot", type=int, default=0, metavar="N", help="print N random items of both stores")
    parser.add_argument("--values", action="store_true", help="show values; by default, hashes and shapes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the printed report (Markdown) to a file too"
    )
    add_common(parser)
    parser.set_defaults(run=lambda settings, arguments: run(_verify, settings, arguments))


async def _verify(settings: Settings, arguments: argparse.Namespace, stop: StopRequest) -> int:
    from proxy.cli.progress import ProgressSnapshot
    from proxy.cutover.gate.basis import Basis
    from proxy.mapping.digest import mapping_digest
    from proxy.migrate.table_jobs.rate_limiter import RateLimiter
    from proxy.migrate.table_jobs.sources import ScanSource
    from proxy.migrate.table_jobs.table_reader import TableReader
    from proxy.migrate.table_jobs.table_stores import open_table_stores, tune_garbage_collector
    from proxy.migrate.verify.recheck import ComparedStore, Rechecker
    from proxy.migrate.verify.sweep import SweepJob, job_name
    from proxy.migrate.verify.sweep_plan import SweepAccess, SweepPlan
    from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, UNSETTLED
    from proxy.stores.interface import StoredItem

    costs = CallCosts()
    tune_garbage_collector()
    async with open_table_stores(settings, arguments.table, costs.count_retry) as stores, AsyncExitStack() as stack:
        name = _choose_authority(
            arguments, await stores.authority.refresh(), pinned=stores.authority.pinned, table=stores.table.name
        )
        limiter = RateLimiter(arguments.rate)
        reader = TableReader(
            stores.dynamodb, stores.table.schema, limiter, on_units=costs.add_units, on_retry=costs.count_retry
        )
        source = ScanSource(
            reader,
            stores.table.schema,
            total=stores.items,
            share=arguments.segment,
            parallel=arguments.parallel,
            limit=page_items(arguments),
        )
        participant = None
        if arguments.repair:
            share, shares = arguments.segment
            part = stores.job_participant(
                f"{job_name(stores.table.name, name, source)}/{share}of{shares}", name, unrecovered=False
            )
            participant = await stack.enter_async_context(part.open())
            if participant.inherits_unfinished_unit:
                # A repair was interrupted. This sweep compares the keys it was writing once its writes can no longer
                # take effect.
                participant.refuse_flips_for(settings.dsql.settle_seconds)

        async def from_dynamodb(keys: Any) -> dict[Key, StoredItem]:
            found = await reader.get_many(keys)
            return {key: StoredItem(found.get(key)) for key in keys}

        async def from_dsql(keys: Any) -> dict[Key, StoredItem]:
            return dict(await stores.dsql.rows.get_many(keys))

        dynamodb = ComparedStore(store=stores.dynamodb, read_many=from_dynamodb)
        dsql = ComparedStore(store=stores.dsql, read_many=from_dsql)
        forwards = name == "dynamodb"
        rechecker = Rechecker(
            stores.table,
            dynamodb if forwards else dsql,
            dsql if forwards else dynamodb,
            patience=arguments.patience,
            participant=participant,
            settle_seconds=(settings.dsql if forwards else settings.dynamodb).settle_seconds,
            stop=stop,
        )
        await _wait_for_forgotten_process(stores, settings)
        basis = Basis.of(stores.authority.stages, stores.table.name, mapping_digest(stores.table.mapping))
        sweep = SweepJob(
            SweepPlan(
                table=stores.table,
                authority=name,
                references=stores.references,
                basis=basis,
                spots=arguments.spot,
                values=arguments.values,
            ),
            SweepAccess(
                source=source,
                reader=reader,
                bulk=stores.bulk,
                rechecker=rechecker,
                checkpoints=stores.checkpoints,
                limiter=limiter,
            ),
            stop=stop,
        )

        def now() -> ProgressSnapshot:
            counts = sweep.counts
            found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.results.items()))
            return ProgressSnapshot(
                counts.seen, source.total, counts.size, costs.units, costs.retries, found or "no difference"
            )

        async with show_progress("verify", stores.table.name, now, arguments):
            result = await sweep.run(arguments.parallel, fresh=arguments.fresh)
            if participant is not None:
                await participant.wait_until_settled(stop)
        await _publish(settings, stores, reader, result, arguments)
        return FAILED if result.outcome in (DIFFERENT, UNSETTLED) else 0


async def _wait_for_forgotten_process(stores: TableStores, settings: Settings) -> None:
    """Wait until no write of a forgotten process can take effect, and reread the stages."""
    import time

    from proxy.cutover.gate.forgotten_writes import wait_seconds

    lost = await stores.authority.forgotten_processes()
    seconds = wait_seconds(lost, time.time(), max(settings.dynamodb.settle_seconds, settings.dsql.settle_seconds))
    if seconds > 0:
        sys.stderr.write(
            f"crossfade: {lost.last_process} was forgotten: waiting {seconds:.0f} s until none of its writes can take "
            "effect\n"
        )
        await asyncio.sleep(seconds)


def _choose_authority(arguments: argparse.Namespace, found: frozenset[str], *, pinned: bool, table: str) -> str:
    """Return which store is right. Raises SettingsError if that is unknown, or if a repair would overwrite the
    truth."""
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
    settings: Settings, stores: TableStores, reader: TableReader, result: SweepResult, arguments: argparse.Namespace
) -> None:
    import orjson

    from proxy.migrate.verify import report
    from proxy.stores.dsql.system_tables.sweep_records import SweepRecord, SweepRecords

    document = report.document(result)
    text = report.markdown(result)
    sys.stdout.write(text)
    if result.spots:
        sys.stdout.write(await _spot_checks(stores, reader, result.spots, values=arguments.values))
    if arguments.json is not None:
        await asyncio.to_thread(arguments.json.write_bytes, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    if arguments.markdown is not None:
        await asyncio.to_thread(arguments.markdown.write_text, text, "utf-8")
    if result.whole:
        sweeps = SweepRecords(stores.pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds)
        # The record is for the gate; the findings stay in the report.
        kept = document | {"findings": []}
        await sweeps.add(SweepRecord(result.table, result.began, result.ended, result.authority, result.outcome, kept))


async def _spot_checks(stores: TableStores, reader: TableReader, keys: list[Key], *, values: bool) -> str:
    """Render items of both stores side by side, for a comparison by eye."""
    import secrets

    import orjson

    from comparators.redact import Redactor

    redactor = Redactor(secrets.token_bytes(32))
    there, here = await reader.get_many(keys), await stores.dsql.rows.get_many(keys)
    lines = ["## Spot checks", ""]
    for key in keys:
        held = (("DynamoDB", there.get(key)), ("DSQL", here[key].item))
        attributes = key.attributes
        shown_key = redactor.show_key(attributes, values, key.table)
        lines += [f"### {orjson.dumps(shown_key).decode()}", "", "```"]
        for store, item in held:
            shown = redactor.show_key(item, values, key.table)
            lines.append(f"{store + ':':<10}{orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode()}")
        lines += ["```", ""]
    return "\n".join(lines)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return seconds
