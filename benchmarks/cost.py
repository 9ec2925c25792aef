"""(a) what a request costs, in CPU and in throughput, beside the programs one would compare it with; (d) how it grows.

Each program is measured alone, saturated by the load, on a CPU of its own; the load, the upstream and PostgreSQL share
the other. Passes are interleaved: program after program, and again, so that what else the machine does falls on all.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks import crossfade, documents
from benchmarks.documents import Request, describe, document, found, get, item, page, put, query
from benchmarks.load import saturate
from benchmarks.measure import cpu_seconds, pin, spread
from benchmarks.nginx import Nginx
from benchmarks.nginx import available as nginx_available
from tests.proxy_process import ProxyProcess
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port

STAGES = ("off", "dualwrite", "shadow", "live", "complete")
_WARM_SECONDS = 1.0
_KEYS = 1000
BOOKS = {"GetItem": _KEYS, "PutItem": _KEYS, "Query": 20}
"""How many books the mirror holds for each operation: for the Query, the page that the upstream gives."""
# 390: an item of 400 KB is 400 KB with the names and what counts beside them.
_ITEM_KB = (1, 10, 100, 390)
_PAGE_ITEMS = (1, 20, 100, 400)
_TABLES = (1, 10, 100)
_PROCESSES = (1, 2, 4)

Say = Callable[[str], None]


@dataclass(slots=True)
class Subject:
    """A running program under measurement, with what it gave in each pass."""

    name: str
    address: str
    pid: int
    proxy: ProxyProcess | None = None
    connections: int = 16
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    errors: int = 0
    compared: dict[str, float] = field(default_factory=dict)

    def measure(self, requests: Sequence[Request], seconds: float) -> None:
        """One pass: warm it, then load it. Work that is left behind the answers belongs to the pass."""
        if not self.rates:
            saturate(self.address, requests, _WARM_SECONDS, self.connections)
        self._quiet()
        before = cpu_seconds(self.pid)
        result = saturate(self.address, requests, seconds, self.connections)
        self._quiet()
        self.rates.append(result.rate)
        self.cpu.append((cpu_seconds(self.pid) - before) / result.answered * 1e6)
        self.errors += result.errors
        if self.proxy is not None:
            self.compared = _verdicts(self.proxy)

    def result(self) -> dict[str, Any]:
        return {
            "requests_a_second": spread(self.rates),
            "cpu_us": spread(self.cpu),
            "errors": self.errors,
            "compared": self.compared,
        }

    def _quiet(self) -> None:
        if self.proxy is not None:
            self.proxy.settle(60)


def requests() -> dict[str, list[Request]]:
    """The requests of each operation that is measured, taken in turn: writes go to many keys, as they do in service."""
    return {"GetItem": [get()], "PutItem": [put(number) for number in range(_KEYS)], "Query": [query()]}


def upstream_of(action: str) -> AbstractContextManager[str]:
    """The upstream for an operation. A constant one cannot give back what was put, which convergence asks for."""
    if action == "PutItem":
        return crossfade.remembering()
    shelf = [item(number) for number in range(BOOKS["Query"])]
    return constant({"DescribeTable": describe(), "GetItem": found(item()), "Query": page(shelf)})


def compare(say: Say, server: Postgres, passes: int, seconds: float) -> dict[str, Any]:
    """(a) operation → program → figures."""
    results: dict[str, Any] = {}
    for action, asked in requests().items():
        with ExitStack() as stack:
            upstream = stack.enter_context(upstream_of(action))
            subjects = _subjects(stack, upstream, crossfade.books(server, BOOKS[action]))
            interleave(say, action, subjects, asked, passes, seconds)
            results[action] = {subject.name: subject.result() for subject in subjects}
    return results


def _subjects(stack: ExitStack, upstream: str, dsn: str) -> list[Subject]:
    subjects = []
    if nginx_available():
        for name, mirror in (("nginx proxy_pass", False), ("nginx mirror", True)):
            server = stack.enter_context(Nginx.proxy(upstream, mirror=mirror))
            subjects.append(Subject(name, server.address, server.child.pid))
    for stage in STAGES:
        running = stack.enter_context(crossfade.proxy(upstream, dsn, stage))
        subjects.append(Subject(stage, crossfade.address(running), running.child.pid, running))
    port = free_port()
    child = stack.enter_context(crossfade.program("handwritten", str(port), f"http://{upstream}", dsn))
    subjects.append(Subject("handwritten", f"127.0.0.1:{port}", child.pid))
    for subject in subjects:
        pin(subject.pid, 0)
    return subjects


@contextmanager
def constant(answers: Mapping[str, bytes]) -> Iterator[str]:
    """A constant upstream's `host:port`: nginx where it is, else the Python server's own constants."""
    if nginx_available():
        with Nginx.constant(answers) as server:
            yield server.address
        return
    with tempfile.NamedTemporaryFile("wb", prefix="crossfade-answers-") as file:
        file.write(orjson.dumps({action: document.decode() for action, document in answers.items()}))
        file.flush()
        port = free_port()
        with crossfade.program("constant", str(port), file.name):
            yield f"127.0.0.1:{port}"


def interleave(
    say: Say, title: str, subjects: Iterable[Subject], requests: Sequence[Request], passes: int, seconds: float
) -> None:
    chosen = list(subjects)
    for _ in range(passes):
        for subject in chosen:
            subject.measure(requests, seconds)
            say(f"{title:>12} {subject.name:<18} {subject.rates[-1]:8.0f} /s {subject.cpu[-1]:8.1f} µs")


def grow(say: Say, server: Postgres, passes: int, seconds: float, *, quick: bool) -> dict[str, Any]:
    """(d) what grows → size → stage → figures. Tables and processes have one stage only: `shadow`."""
    few = 2 if quick else None
    return {
        "item KB": _by_item_size(say, server, passes, seconds, _ITEM_KB[:few]),
        "page items": _by_page_length(say, server, passes, seconds, _PAGE_ITEMS[:few]),
        "tables": _by_tables(say, server, passes, seconds, _TABLES[:few]),
        "processes": _by_processes(say, server, passes, seconds, _PROCESSES[:few]),
    }


def _by_item_size(say: Say, server: Postgres, passes: int, seconds: float, sizes: Sequence[int]) -> dict[str, Any]:
    results = {}
    for kilobytes in sizes:
        held = document(0, kilobytes)
        dsn = crossfade.filled(server, [(documents.DOCUMENTS, held)])
        answers = {"DescribeTable": describe(documents.DOCUMENTS), "GetItem": found(held)}
        results[str(kilobytes)] = _in_stages(
            say, f"{kilobytes} KB", answers, dsn, [documents.get_document()], passes, seconds
        )
    return results


def _by_page_length(say: Say, server: Postgres, passes: int, seconds: float, sizes: Sequence[int]) -> dict[str, Any]:
    results = {}
    for length in sizes:
        held = [document(number, 0.5) for number in range(length)]
        dsn = crossfade.filled(server, [(documents.DOCUMENTS, each) for each in held])
        answers = {"DescribeTable": describe(documents.DOCUMENTS), "Query": page(held)}
        results[str(length)] = _in_stages(
            say, f"{length} items", answers, dsn, [documents.query_documents()], passes, seconds
        )
    return results


def _in_stages(
    say: Say,
    title: str,
    answers: dict[str, bytes],
    dsn: str,
    requests: Sequence[Request],
    passes: int,
    seconds: float,
) -> dict[str, Any]:
    """`off` and `shadow` on a constant upstream."""
    with ExitStack() as stack:
        upstream = stack.enter_context(constant(answers))
        subjects = []
        for stage in ("off", "shadow"):
            running = stack.enter_context(crossfade.proxy(upstream, dsn, stage))
            pin(running.child.pid, 0)
            subjects.append(Subject(stage, crossfade.address(running), running.child.pid, running))
        interleave(say, title, subjects, requests, passes, seconds)
        return {subject.name: subject.result() for subject in subjects}


def _by_tables(say: Say, server: Postgres, passes: int, seconds: float, sizes: Sequence[int]) -> dict[str, Any]:
    results = {}
    for tables in sizes:
        names = [f"documents{number}" for number in range(tables)]
        held = [(name, document(0, 0.5)) for name in names]
        dsn = crossfade.filled(server, held)
        with ExitStack() as stack:
            upstream = stack.enter_context(crossfade.remembering())
            running = stack.enter_context(crossfade.proxy(upstream, dsn, "shadow"))
            pin(running.child.pid, 0)
            address = crossfade.address(running)
            saturate(address, [documents.put_document(name, each) for name, each in held], _WARM_SECONDS)
            subject = Subject("shadow", address, running.child.pid, running)
            requests = [documents.get_document(name) for name in names]
            interleave(say, f"{tables} tables", [subject], requests, passes, seconds)
            results[str(tables)] = {"shadow": subject.result()}
    return results


def _by_processes(say: Say, server: Postgres, passes: int, seconds: float, sizes: Sequence[int]) -> dict[str, Any]:
    """Proxies side by side on one journal each, all on the CPUs that there are; their requests together."""
    dsn = crossfade.books(server, 20)
    results = {}
    answers = {"DescribeTable": describe(), "GetItem": found(item())}
    for number in sizes:
        with ExitStack() as stack:
            upstream = stack.enter_context(constant(answers))
            running = [stack.enter_context(crossfade.proxy(upstream, dsn, "shadow")) for _ in range(number)]
            figures = [_together(running, seconds) for _ in range(passes)]
            say(f"{number:>10} processes {figures[-1][0]:8.0f} /s {figures[-1][1]:8.1f} µs")
            results[str(number)] = {
                "shadow": {
                    "requests_a_second": spread([rate for rate, _ in figures]),
                    "cpu_us": spread([cpu for _, cpu in figures]),
                }
            }
    return results


def _together(running: Sequence[ProxyProcess], seconds: float) -> tuple[float, float]:
    """Requests a second of all, and CPU µs a request."""
    for each in running:
        os.sched_setaffinity(each.child.pid, range(os.cpu_count() or 1))
    with ThreadPoolExecutor(len(running)) as threads:
        list(threads.map(lambda each: saturate(crossfade.address(each), [get()], _WARM_SECONDS), running))
        before = sum(cpu_seconds(each.child.pid) for each in running)
        started = time.perf_counter()
        done = list(threads.map(lambda each: saturate(crossfade.address(each), [get()], seconds), running))
        took = time.perf_counter() - started
    for each in running:
        each.settle(60)
    used = sum(cpu_seconds(each.child.pid) for each in running) - before
    answered = sum(result.answered for result in done)
    return answered / took, used / answered * 1e6


def _verdicts(running: ProxyProcess) -> dict[str, float]:
    """Comparisons by verdict so far, and those that were shed."""
    samples = running.metrics()
    counts: dict[str, float] = {}
    for labels, value in samples.get("crossfade_comparisons_total", ()):
        counts[labels["verdict"]] = counts.get(labels["verdict"], 0) + value
    for _, value in samples.get("crossfade_shed_total", ()):
        counts["shed"] = counts.get("shed", 0) + value
    return counts
