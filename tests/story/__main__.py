"""The demo: `python -m tests.story`. Starts everything, tells the story three times, and says what came of it.

First without the proxy, to know what a client should be answered. Then through the proxy, with the lossless schema.
Then through the proxy with the migration plan's schema taken literally, to see what cutting over on it would lose. In
the end the flag is flipped, and flipped back, under load.
With ONCE=1 it ends by itself and its exit code says whether everything was as it must be; else it stays up. Where
something is not, it says what happened, and keeps the servers' logs.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from tests.proxy_process import ProxyProcess
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import StandinError
from tests.story import cutover, events, independent, report
from tests.story.chapters import CHAPTERS, Narrator
from tests.story.logs import KEPT, ServerLogs
from tests.story.migrations import apply
from tests.story.patience import PATIENT, WAIT_SECONDS

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "demo-report.json"
# A story of about 1,500 calls: were fewer compared, the proxy would not have been in the way.
ENOUGH_COMPARED = 1000
# What the plan's schema is known to lose. If the demo does not find one of them, the demo is blind.
PLAN_LOSSES = {"(edits)", "(no row)", "(order)", "(shared row)", "category", "id", "image", "rating", "tags"}


@dataclass(frozen=True, slots=True)
class Place:
    """A proxy, and its two stores as they are asked past it."""

    proxy: ProxyProcess
    dynamodb: str
    dsn: str


def main() -> int:
    """0 if all parts came out as they must, else 1."""
    # Ctrl-C and SIGTERM alike unwind the stack, which stops every server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    logs = ServerLogs()
    REPORT.unlink(missing_ok=True)
    with Postgres() as postgres, Dsql(postgres) as gate, Ministack() as direct, contextlib.ExitStack() as stack:
        logs.of("postgres", postgres)
        logs.of("dsql-gate", gate)
        logs.of("alone-dynamodb", direct)
        _say(f"PostgreSQL 16, the DSQL gate and ministack are up after {time.monotonic() - began:.1f} s\n")
        proxies: dict[str, ProxyProcess] = {}
        fault = ""
        try:
            problems = _story(stack, postgres, gate, direct, logs, proxies)
        except (StandinError, OSError, subprocess.SubprocessError, BotoCoreError) as error:
            problems = [f"the demo could not go on: {str(error).partition(chr(10))[0]}"]
            fault = traceback.format_exc()
        _say("")
        for problem in problems:
            _say(f"  NOT AS IT MUST BE: {problem}")
        seconds = f"{time.monotonic() - began:.0f} s"
        details = f"details in {REPORT.name}" if REPORT.exists() else "no report was written"
        if problems:
            kept = logs.keep()
            if fault:
                (kept / "demo.log").write_text(fault, encoding="utf-8")
            _say(f"{len(problems)} problems. {seconds}; {details}, the servers' logs in {KEPT.name}/")
        else:
            _say(f"Everything is as it must be. {seconds}; {details}")
        if os.environ.get("ONCE") != "1":
            _stay_up(proxies)
    return 1 if problems else 0


def _story(
    stack: contextlib.ExitStack,
    postgres: Postgres,
    gate: Dsql,
    direct: Ministack,
    logs: ServerLogs,
    proxies: dict[str, ProxyProcess],
) -> list[str]:
    """All of it; what is not as it must be. `proxies` gets those that can be looked at."""
    _say("The story without Crossfade, to know what a client should be answered")
    billio_table(direct.endpoint, TABLE)
    expected = Narrator(direct.endpoint, TABLE)
    _tell(expected)

    _say("\nPart one: through Crossfade in stage shadow, with config/billio.toml")
    place = _place(stack, postgres, gate, logs, "part-one", "billio.toml", "migrations")
    proxies["part one"] = place.proxy
    first = _part(place, expected)
    equal = independent.disagreements(first["items"], first["rows"])
    _say(f"\n  Read again by plain SQL and boto3: {len(first['items'])} items, {len(equal)} disagreements")
    for sentence in equal[:20]:
        _say(f"    {sentence}")

    _say("\nPart two: the same story, with the migration plan's schema taken literally (config/billio-plan.toml)")
    place = _place(stack, postgres, gate, logs, "part-two", "billio-plan.toml", "migrations-plan")
    proxies["part two"] = place.proxy
    second = _part(place, expected)
    losses = independent.plan_losses(second["items"], second["rows"])
    _say("\n  What a cutover on the plan would lose, as the rows stand now\n")
    shown = [[loss.field, str(loss.items), loss.sentence] for loss in losses]
    dropped = _dropped_by_edits(second["differences"])
    if dropped:
        edited = f"an edit of one attribute in `data` dropped those it did not name: {', '.join(dropped)}"
        shown.append(["(edits)", str(max(dropped.values())), f"{edited} (the row was repaired since)"])
    _say(report.table(["field", "items", "for example"], shown, left=3))

    _say("\nPart three: the flag is flipped, and flipped back, under load\n")
    third = cutover.tell(stack, postgres, gate, logs, _say)
    proxies["part three"] = third["proxies"][0]

    problems = [
        *_problems_of_part_one(first, equal),
        *_problems_of_part_two(second, {row[0] for row in shown}),
        *cutover.problems(third),
    ]
    _write_report(first, second, third, equal, [asdict(loss) for loss in losses], dropped, problems)
    return problems


def _place(
    stack: contextlib.ExitStack,
    postgres: Postgres,
    gate: Dsql,
    logs: ServerLogs,
    name: str,
    mapping: str,
    migrations: str,
) -> Place:
    """A fresh proxy over fresh stores."""
    store = logs.of(f"{name}-dynamodb", stack.enter_context(Ministack()))
    dsn = postgres.create_database()
    dsql = gate.dsn(dsn.rsplit("/", 1)[1])
    apply(ROOT / "config" / migrations, dsql)
    billio_table(store.endpoint, TABLE)
    proxy = ProxyProcess(
        dynamodb=store.endpoint,
        dsql=dsql,
        mappings=[ROOT / "config" / mapping],
        stage=os.environ.get("CROSSFADE_STAGE", "shadow"),
        environment=PATIENT | {"CROSSFADE_MIRROR__ALONE": "true"},
    )
    return Place(logs.of(f"{name}-proxy", stack.enter_context(proxy)), store.endpoint, dsn)


def _part(place: Place, expected: Narrator) -> dict[str, Any]:
    """Tell the story through a proxy, print the tables, and return all that was found."""
    proxy = place.proxy
    story = Narrator(proxy.data, TABLE)
    _tell(story)
    settling = time.monotonic()
    proxy.settle(WAIT_SECONDS)
    _say(f"  the journal is empty and every verdict given after {time.monotonic() - settling:.1f} s more")
    unlike = [
        {"call": position, "operation": operation, "sentence": events.unlike(position, operation, answer, wanted)}
        for position, ((operation, answer), (_, wanted)) in enumerate(
            zip_longest(story.answers, expected.answers, fillvalue=("no call", {}))
        )
        if answer != wanted
    ]
    _say(f"  the client's {len(story.answers)} answers: {len(unlike)} unlike those without Crossfade\n")
    metrics = proxy.metrics()
    by_operation = report.compared(metrics.get("crossfade_comparisons_total", []))
    by_field = report.differences(metrics.get("crossfade_differences_total", []))
    _say(report.comparison_table(by_operation))
    _say("\n  Differences, by field\n" if by_field else "")
    _say(report.difference_table(by_field))
    return {
        "unlike": unlike,
        "comparisons": by_operation,
        "differences": by_field,
        "verdicts": report.total(by_operation.values()),
        "status": proxy.status(),
        "mismatches": proxy.mismatches(),
        "mirror_errors": events.mirror_errors(proxy.log_file),
        "items": independent.scan(place.dynamodb, TABLE),
        "rows": asyncio.run(independent.rows(place.dsn)),
        "calls": dict(story.calls),
    }


def _tell(story: Narrator) -> None:
    for number, (title, chapter) in enumerate(CHAPTERS.items(), 1):
        calls, began = sum(story.calls.values()), time.monotonic()
        _say(f"  {number:2}/{len(CHAPTERS)} {title} …", end="")
        chapter(story)
        calls = sum(story.calls.values()) - calls
        _say(f"\r  {number:2}/{len(CHAPTERS)} {title:24} {calls:5} calls {time.monotonic() - began:6.1f} s")


def _dropped_by_edits(by_field: dict[tuple[str, str], report.Counts]) -> dict[str, int]:
    """Attribute → in how many answers it went missing, of those that the plan keeps in its `data` column.

    Items that share a row lend each other theirs: what came as often too much as it went missing is left out.
    """
    elsewhere = independent.PLAN_COLUMNS | {"", "item", "other", "category", HASH_KEY, "type:shelf"}
    missing = {
        field: counts.get("mismatch", 0) - by_field.get((field, "extra"), {}).get("mismatch", 0)
        for (field, kind), counts in by_field.items()
        if kind == "missing" and field not in elsewhere
    }
    return {field: count for field, count in missing.items() if count > 0}


def _problems_of_part_one(part: dict[str, Any], equal: list[str]) -> list[str]:
    verdicts: report.Counts = part["verdicts"]
    problems = []
    against = sum(verdicts[name] for name in report.AGAINST)
    if against:
        which = events.first(events.differences(part["mismatches"]))
        problems.append(f"part one: {against} comparisons speak against a cutover: {which}")
    if verdicts["mirror_error"]:
        failed = events.first(part["mirror_errors"])
        problems.append(f"part one: the mirror failed {verdicts['mirror_error']} times: {failed}")
    if sum(verdicts.values()) < ENOUGH_COMPARED:
        behind = part["status"]["stage"]
        problems.append(
            f"part one: only {sum(verdicts.values())} of {sum(part['calls'].values())} calls were compared in stage "
            f"{behind}, {ENOUGH_COMPARED} are the least"
        )
    if equal:
        count = len(equal)
        problems.append(
            f"part one: plain SQL and boto3 find {count} disagreements between the stores: {events.first(equal)}"
        )
    return problems + _unlike("part one", part)


def _problems_of_part_two(part: dict[str, Any], found: set[str]) -> list[str]:
    problems = [f"part two: nothing came to {name}" for name in report.AGAINST if not part["verdicts"][name]]
    if PLAN_LOSSES - found:
        problems.append(f"part two: these losses were not found: {', '.join(sorted(PLAN_LOSSES - found))}")
    return problems + _unlike("part two", part)


def _unlike(name: str, part: dict[str, Any]) -> list[str]:
    unlike = [each["sentence"] for each in part["unlike"]]
    if not unlike:
        return []
    return [f"{name}: {len(unlike)} answers were not those the client gets without Crossfade: {events.first(unlike)}"]


def _write_report(
    first: dict[str, Any],
    second: dict[str, Any],
    third: dict[str, Any],
    equal: list[str],
    losses: list[dict[str, Any]],
    dropped: dict[str, int],
    problems: list[str],
) -> None:
    def part(found: dict[str, Any]) -> dict[str, Any]:
        return {
            "calls": found["calls"],
            "items": len(found["items"]),
            "answers_unlike": found["unlike"],
            "comparisons": [
                {"type": kind, "operation": operation, **counts}
                for (kind, operation), counts in found["comparisons"].items()
            ],
            "differences": [
                {"field": field, "kind": kind, **counts} for (field, kind), counts in found["differences"].items()
            ],
            "verdicts": found["verdicts"],
            "status": found["status"],
            "mismatches": found["mismatches"],
            "mirror_errors": found["mirror_errors"],
        }

    document = {
        "passed": not problems,
        "problems": problems,
        "part_one": part(first) | {"disagreements": equal},
        "part_two": part(second) | {"losses": losses, "dropped_by_edits": dropped},
        "part_three": {name: found for name, found in third.items() if name != "proxies"},
    }
    REPORT.write_text(json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _stay_up(proxies: dict[str, ProxyProcess]) -> None:
    _say("\nStill up, until Ctrl-C:")
    for name, proxy in proxies.items():
        _say(f"  {name}: console {proxy.admin}/   DynamoDB API {proxy.data}")
        _say(f"            {proxy.admin}/v1/status   {proxy.admin}/v1/mismatches   {proxy.admin}/metrics")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    _say("\nStopping.")


def _say(text: str, end: str = "\n") -> None:
    if end or sys.stdout.isatty():
        print(text if sys.stdout.isatty() else text.lstrip("\r"), end=end, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # Everything that was started has ended on the way here.
        sys.stdout.write("\nStopped.\n")
        sys.exit(130)
