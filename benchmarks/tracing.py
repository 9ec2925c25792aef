"""(g) what tracing costs: CPU µs a GetItem with it off, and on for 1 % and for all of the requests.

As (a) measures, with a collector that takes everything. Spans that were dropped because more came than could be sent
are cheaper than those that were sent: their share is told. With BEFORE=FOLDER, where an earlier commit's sources are
(`git archive COMMIT proxy comparators config | tar -x -C FOLDER`), these are measured beside.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from benchmarks import crossfade
from benchmarks.cost import BOOKS, Say, Subject, constant, interleave
from benchmarks.documents import describe, found, get, item
from benchmarks.measure import pin
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port

STAGES: Final = ("off", "shadow")
WAYS: Final = (("off", None), ("1 %", 0.01), ("100 %", 1.0))


def trace(say: Say, server: Postgres, passes: int, seconds: float) -> dict[str, Any]:
    """Stage → how much is traced → figures, with the share of spans that were `dropped`."""
    dsn = crossfade.books(server, BOOKS["GetItem"])
    with ExitStack() as stack:
        upstream = stack.enter_context(constant({"DescribeTable": describe(), "GetItem": found(item())}))
        collector = stack.enter_context(_collector())
        subjects = {
            (stage, way): _subject(stack, upstream, dsn, stage, ratio, collector)
            for stage in STAGES
            for way, ratio in WAYS
        }
        before = os.environ.get("BEFORE")
        if before is not None:
            for stage in STAGES:
                subjects[stage, "before"] = _subject(stack, upstream, dsn, stage, None, collector, before)
        interleave(say, "GetItem", subjects.values(), [get()], passes, seconds)
        results: dict[str, Any] = {stage: {} for stage in STAGES}
        for (stage, way), subject in subjects.items():
            results[stage][way] = subject.result() | {"dropped": _dropped(subject)}
        return results


@contextmanager
def _collector() -> Iterator[str]:
    """A collector's URL. It takes spans and forgets them."""
    with tempfile.NamedTemporaryFile("wb", prefix="crossfade-answers-") as file:
        file.write(b"{}")
        file.flush()
        port = free_port()
        with crossfade.program("constant", str(port), file.name):
            yield f"http://127.0.0.1:{port}"


def _subject(
    stack: ExitStack, upstream: str, dsn: str, stage: str, ratio: float | None, collector: str, sources: str = ""
) -> Subject:
    """A proxy in a stage that traces so many of its requests; of other sources than these, where they are given."""
    extra = "" if ratio is None else f"[tracing]\nenabled = true\nsample_ratio = {ratio}\n"
    running = stack.enter_context(
        crossfade.proxy(upstream, dsn, stage, extra, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "PYTHONPATH": sources})
    )
    pin(running.child.pid, 0)
    way = "before" if sources else "not traced" if ratio is None else f"{ratio:.0%}"
    return Subject(f"{stage}, {way}", crossfade.address(running), running.child.pid, running)


def _dropped(subject: Subject) -> float:
    """The share of spans that were dropped."""
    assert subject.proxy is not None
    counts = {labels["outcome"]: value for labels, value in subject.proxy.metrics().get("crossfade_spans_total", ())}
    return counts.get("dropped", 0.0) / (sum(counts.values()) or 1.0)
