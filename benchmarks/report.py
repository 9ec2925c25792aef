"""The figures as tables: what `make bench` prints, and docs/performance.md holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import Any, Final

_PROXY: Final = "nginx proxy_pass"
_MIRROR: Final = "nginx mirror"


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Markdown, section by section, of whatever was measured."""
    machine = results["machine"]
    yield (
        f"{machine['day']}, {machine['cpus']} CPUs, Python {machine['python']}; "
        f"load average when it began {machine['load']:.1f}. Medians, and ranges over the passes.\n"
    )
    if "cost" in results:
        yield from _cost(results["cost"])
    if "waiting" in results:
        yield from _waiting(results["waiting"])
    if "outage" in results:
        yield from _outage(results["outage"])
    if "growth" in results:
        yield from _growth(results["growth"])
    if "backfill" in results:
        yield from _backfill(results["backfill"])
    if "flips" in results:
        yield from _flips(results["flips"])
    if "hot_keys" in results:
        yield from _hot_keys(results["hot_keys"])
    if "tracing" in results:
        yield from _tracing(results["tracing"])
    if "items" in results:
        yield from _items(results["items"])
    if "scrape" in results:
        yield from _scrape(results["scrape"])


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    yield "### (a) A request\n"
    head = (
        "operation",
        "program",
        "requests/s",
        "CPU µs a request",
        "× proxy_pass",
        "× mirror",
        "× handwritten's rate",
        "compared",
    )
    rows = []
    for action, programs in cost.items():
        for name, found in programs.items():
            cpu = found["cpu_us"]["median"]
            rows.append(
                (
                    action,
                    name,
                    _figure(found["requests_a_second"], 0),
                    _figure(found["cpu_us"], 0),
                    _ratio(cpu, programs.get(_PROXY, {}).get("cpu_us")),
                    _ratio(cpu, programs.get(_MIRROR, {}).get("cpu_us")),
                    _ratio(found["requests_a_second"]["median"], programs["handwritten"]["requests_a_second"]),
                    _share(found["compared"]),
                )
            )
    yield from _table(head, rows)
    wrong = [f"{a} {n}: {f['errors']}" for a, programs in cost.items() for n, f in programs.items() if f["errors"]]
    yield f"Errors: {', '.join(wrong) or 'none'}.\n"
    verdicts: dict[str, float] = {}
    for programs in cost.values():
        for verdict, number in programs["shadow"]["compared"].items():
            verdicts[verdict] = verdicts.get(verdict, 0) + number
    counted = ", ".join(f"{number:,.0f} {verdict}" for verdict, number in sorted(verdicts.items()))
    yield f"Verdicts in `shadow`: {counted}.\n"


def _waiting(waiting: Mapping[str, Any]) -> Iterator[str]:
    yield from _states(waiting, "shadow")
    if "live" in waiting:
        yield from _states(waiting["live"], "live")


def _states(waiting: Mapping[str, Any], stage: str) -> Iterator[str]:
    yield f"### (b) What a client waits, ms, at {waiting['rate']:.0f} requests/s, in `{stage}`\n"
    states = waiting["states"]
    healthy = states["healthy"]["p99"]["median"]
    rows = [
        (
            "off" if state == "off" else f"{stage}, mirror {state}",
            *(_figure(found[name], 2) for name in ("p50", "p99", "p999")),
            f"{found['p99']['median'] / healthy:.2f}",
            str(found["errors"]),
            *(_figure(found[name], 1) if name in found else "" for name in ("late", "waited")),
        )
        for state, found in states.items()
    ]
    head = ("", "p50", "p99", "p99.9", "p99 ÷ healthy's", "errors", "the load's worst lateness", "CPU wanted, ms/s")
    yield from _table(head, rows)


def _outage(outage: Mapping[str, Any]) -> Iterator[str]:
    yield "### (c) The mirror down\n"
    mb = outage["mb"]
    yield (
        f"{outage['writes']:,} writes to 1,000 keys in {outage['seconds']:.0f} s ({outage['errors']} errors). Memory: "
        f"{mb['before']:.1f} MB before, {mb['after a tenth']:.1f} after a tenth of them, {mb['at the end']:.1f} at the "
        f"end. The mirror back, {outage['keys']:,} keys drained in {outage['drain_seconds']:.1f} s "
        f"({outage['left']} left).\n"
    )


def _growth(growth: Mapping[str, Any]) -> Iterator[str]:
    yield "### (d) How it grows\n"
    rows = [
        (
            what,
            size,
            stage,
            _figure(found["requests_a_second"], 0),
            _figure(found["cpu_us"], 0),
        )
        for what, sizes in growth.items()
        for size, stages in sizes.items()
        for stage, found in stages.items()
    ]
    yield from _table(("", "", "stage", "requests/s", "CPU µs a request"), rows)


def _backfill(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"### (e) Bringing {found['items']:,} items over, and verifying them\n"
    script = found["rates"]["script"]["median"]
    named = {"script": "a script: boto3 Scan, executemany", "backfill again": "backfill, all there already"}
    rows = [
        (
            named.get(name, name),
            _figure(rate, 0),
            f"{rate['median'] / script:.1f}",
            _figure(found["cpu_us"][name], 0),
            _figure(found["server_cpu_us"][name], 0),
            f"{found['mb'][name]:.0f}",
        )
        for name, rate in found["rates"].items()
    ]
    head = ("", "items/s", "× the script's", "CPU µs an item", "PostgreSQL's CPU µs an item", "peak MB")
    yield from _table(head, rows)
    verify = found["verify"]
    yield (
        f"Verify, all equal: {verify['trips']:,} round trips; {verify['bytes_out'] / 1e6:.2f} MB came out of DSQL, "
        f"{verify['bytes_out'] / verify['table'] * 100:.2f} % of the table's {verify['table'] / 1e6:.1f} MB; "
        f"{verify['bytes_in'] / 1e6:.1f} MB went in.\n"
    )


def _flips(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### (f) How long writes are held in a flip, ms\n"
    rows = [
        (
            proxies,
            str(len(each["held_ms"])),
            f"{median(each['held_ms']):,.0f}",
            f"{max(each['held_ms']):,.0f}",
            f"{each['rate']:,.0f}",
            str(each["errors"]),
        )
        for proxies, each in found.items()
        if each["held_ms"]
    ]
    yield from _table(("proxies", "flips", "p50", "longest", "writes/s answered", "errors"), rows)


def _hot_keys(found: Mapping[str, Any]) -> Iterator[str]:
    yield "Eleven clients on few keys, two proxies and the stores beside them on the same machine:\n"
    rows = []
    for phase, means in (
        ("ready_ms", "until all are ready: no write is held yet"),
        ("drain_ms", "until every process has drained"),
        ("switch_ms", "until every process has switched"),
        ("held_ms", "all that writes were held"),
    ):
        values = sorted(flip[phase] for flip in found["flips"])
        cuts = quantiles(values, n=20, method="inclusive")
        rows.append((means, str(len(values)), f"{cuts[9]:,.0f}", f"{cuts[18]:,.0f}", f"{values[-1]:,.0f}"))
    yield from _table(("phase, ms", "flips", "p50", "p95", "longest"), rows)


def _tracing(stages: Mapping[str, Any]) -> Iterator[str]:
    yield "### (g) A GetItem, traced\n"
    rows = [
        (
            stage,
            way,
            _figure(found["requests_a_second"], 0),
            _figure(found["cpu_us"], 0),
            f"{found['cpu_us']['median'] - ways['off']['cpu_us']['median']:+,.0f}" if way != "off" else "",
            f"{found['dropped'] * 100:.0f} %" if way not in ("off", "before") else "",
        )
        for stage, ways in stages.items()
        for way, found in ways.items()
    ]
    yield from _table(("stage", "traced", "requests/s", "CPU µs a request", "more", "spans dropped"), rows)


def _items(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"### (h) Search, dates and rating together, of {found['items']:,} items\n"
    asked = [
        (
            name,
            str(each["count"]),
            f"{each['dsql']['ms']:,.1f}",
            f"{each['dynamodb']['ms']:,.1f}",
            f"{each['dynamodb']['ms'] / each['dsql']['ms']:.1f}",
            f"{each['dsql']['read']:,}",
            f"{each['dynamodb']['read']:,}",
            str(each["dynamodb"]["trips"]),
            f"{each['dynamodb']['units']:,.1f}",
        )
        for name, each in found["stores"].items()
    ]
    head = (
        "a first page of 20",
        "items",
        "DSQL, ms",
        "DynamoDB with a filter, ms",
        "DynamoDB ÷ DSQL",
        "rows that DSQL read",
        "items that DynamoDB read",
        "its round trips",
        "its read units",
    )
    yield from _table(head, asked)
    rows = [
        (
            name,
            stage,
            _figure(each["requests_a_second"], 0),
            _figure(each["cpu_us"], 0),
            _share(each["compared"]),
            str(each["errors"]),
        )
        for name, stages in found["http"].items()
        for stage, each in stages.items()
    ]
    yield from _table(("by HTTP", "stage", "requests/s", "CPU µs a request", "compared", "errors"), rows)


def _scrape(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### (i) A scrape of the metrics\n"
    rows = [
        (
            seen,
            f"{each['series']:,}",
            f"{each['bytes'] / 1e3:,.0f}",
            f"{median(each['ms']):.1f}",
            f"{max(each['ms']):.1f}",
        )
        for seen, each in found.items()
    ]
    yield from _table(("after", "series", "kB", "p50, ms", "longest, ms"), rows)


def _figure(found: Mapping[str, float], places: int) -> str:
    """The median, and the range where there is one."""
    middle = f"{found['median']:,.{places}f}"
    if found["low"] == found["high"]:
        return middle
    return f"{middle} ({found['low']:,.{places}f}–{found['high']:,.{places}f})"


def _share(counts: Mapping[str, float]) -> str:
    """How many of the comparisons that were due were made: the rest were shed, and cost next to nothing."""
    due = sum(counts.values())
    return f"{(1 - counts.get('shed', 0) / due) * 100:.0f} %" if due else ""


def _ratio(value: float, other: Mapping[str, float] | None) -> str:
    return "" if other is None else f"{value / other['median']:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
