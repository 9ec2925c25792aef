"""The demo: `python -m tests.story`. Starts everything, tells the story three times, and says what came of it.

First without the proxy, to know what a client should be answered. Then through the proxy, with the lossless schema.
Then through the proxy with the migration plan's schema taken literally, to see what cutting over on it would lose. In
the end the flag is flipped, and flipped back, under load.
With ONCE=1 it ends by itself and its exit code says whether everything was as it must be; else it stays up.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.proxy_process import ProxyProcess
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story import cutover, independent, report
from tests.story.chapters import CHAPTERS, Narrator
from tests.story.migrations import apply

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "demo-report.json"
# A story of about 1,500 calls: were fewer compared, the proxy would not have been in the way.
ENOUGH_COMPARED = 1000
# What the plan's schema is known to lose. If the demo does not find one of them, the demo is blind.
PLAN_LOSSES = {"(edits)", "(no row)", "(order)", "(shared row)", "category", "id", "image", "rating", "tags"}


def main() -> int:
    """0 if both parts came out as they must, else 1."""
    # Ctrl-C and SIGTERM alike unwind the stack, which stops every server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with Postgres() as postgres, Dsql(postgres) as gate, Ministack() as direct, contextlib.ExitStack() as stack:
        _say(f"PostgreSQL 16, the DSQL gate and ministack are up after {time.monotonic() - began:.1f} s\n")
        _say("The story without Crossfade, to know what a client should be answered")
        billio_table(direct.endpoint, TABLE)
        expected = Narrator(direct.endpoint, TABLE)
        _tell(expected)

        _say("\nPart one: through Crossfade in stage shadow, with config/billio.toml")
        first = _part(stack, postgres, gate, "billio.toml", "migrations", expected)
        equal = independent.disagreements(first["items"], first["rows"])
        _say(f"\n  Read again by plain SQL and boto3: {len(first['items'])} items, {len(equal)} disagreements")
        for sentence in equal[:20]:
            _say(f"    {sentence}")

        _say("\nPart two: the same story, with the migration plan's schema taken literally (config/billio-plan.toml)")
        second = _part(stack, postgres, gate, "billio-plan.toml", "migrations-plan", expected)
        losses = independent.plan_losses(second["items"], second["rows"])
        _say("\n  What a cutover on the plan would lose, as the rows stand now\n")
        shown = [[loss.field, str(loss.items), loss.sentence] for loss in losses]
        dropped = _dropped_by_edits(second["differences"])
        if dropped:
            edited = f"an edit of one attribute in `data` dropped those it did not name: {', '.join(dropped)}"
            shown.append(["(edits)", str(max(dropped.values())), f"{edited} (the row was repaired since)"])
        _say(report.table(["field", "items", "for example"], shown, left=3))

        _say("\nPart three: the flag is flipped, and flipped back, under load\n")
        third = cutover.tell(stack, postgres, gate, _say)

        problems = [
            *_problems_of_part_one(first["verdicts"], first["unlike"], equal),
            *_problems_of_part_two(second["unlike"], {row[0] for row in shown}, second["verdicts"]),
            *cutover.problems(third),
        ]
        _write_report(first, second, third, equal, [asdict(loss) for loss in losses], dropped, problems)
        _say("")
        for problem in problems:
            _say(f"  NOT AS IT MUST BE: {problem}")
        verdict = "Everything is as it must be." if not problems else f"{len(problems)} problems."
        _say(f"{verdict} {time.monotonic() - began:.0f} s; details in {REPORT.relative_to(ROOT)}")
        if os.environ.get("ONCE") != "1":
            _stay_up({"part one": first["proxy"], "part two": second["proxy"], "part three": third["proxies"][0]})
    return 1 if problems else 0


def _part(
    stack: contextlib.ExitStack, postgres: Postgres, gate: Dsql, mapping: str, migrations: str, expected: Narrator
) -> dict[str, Any]:
    """Tell the story through a fresh proxy over fresh stores, print the tables, and return all that was found."""
    store = stack.enter_context(Ministack())
    database = postgres.create_database().rsplit("/", 1)[1]
    apply(ROOT / "config" / migrations, gate.dsn(database))
    billio_table(store.endpoint, TABLE)
    proxy = stack.enter_context(
        ProxyProcess(
            dynamodb=store.endpoint,
            dsql=gate.dsn(database),
            mappings=[ROOT / "config" / mapping],
            stage=os.environ.get("CROSSFADE_STAGE", "shadow"),
            environment={"CROSSFADE_MIRROR__ALONE": "true"},
        )
    )
    story = Narrator(proxy.data, TABLE)
    _tell(story)
    settling = time.monotonic()
    proxy.settle(120)
    _say(f"  the journal is empty and every verdict given after {time.monotonic() - settling:.1f} s more")
    unlike = [
        (position, operation)
        for position, ((operation, answer), (_, wanted)) in enumerate(zip(story.answers, expected.answers, strict=True))
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
        "proxy": proxy,
        "unlike": unlike,
        "comparisons": by_operation,
        "differences": by_field,
        "verdicts": report.total(by_operation.values()),
        "status": proxy.status(),
        "mismatches": proxy.mismatches(),
        "items": independent.scan(store.endpoint, TABLE),
        "rows": asyncio.run(independent.rows(postgres.dsn(database))),
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


def _problems_of_part_one(verdicts: report.Counts, unlike: list[Any], equal: list[str]) -> list[str]:
    problems = [f"part one: {verdicts[name]} comparisons came to {name}" for name in report.AGAINST if verdicts[name]]
    if verdicts["mirror_error"]:
        problems.append(f"part one: the mirror failed {verdicts['mirror_error']} times")
    if sum(verdicts.values()) < ENOUGH_COMPARED:
        problems.append(f"part one: only {sum(verdicts.values())} comparisons, {ENOUGH_COMPARED} are the least")
    if unlike:
        problems.append(f"part one: {len(unlike)} answers were not those the client gets without Crossfade")
    if equal:
        problems.append(f"part one: plain SQL and boto3 find {len(equal)} disagreements between the stores")
    return problems


def _problems_of_part_two(unlike: list[Any], found: set[str], verdicts: report.Counts) -> list[str]:
    problems = [f"part two: nothing came to {name}" for name in report.AGAINST if not verdicts[name]]
    if PLAN_LOSSES - found:
        problems.append(f"part two: these losses were not found: {', '.join(sorted(PLAN_LOSSES - found))}")
    if unlike:
        problems.append(f"part two: {len(unlike)} answers were not those the client gets without Crossfade")
    return problems


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
            "answers_unlike": [{"call": position, "operation": operation} for position, operation in found["unlike"]],
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
