"""Crossfade in this process, as `crossfade serve` runs it, with its spans kept in memory: tables in four stages."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from proxy.app.serve import serve
from proxy.app.service import open_service
from proxy.settings import Address, load
from proxy.tracing.otel import OpenTelemetry
from tests.proxy_process import settings_text
from tests.standins.billio import dynamodb_client

STAGES = ("off", "dualwrite", "shadow", "live")
_LISTENS_SECONDS = 120
_SPANS_SECONDS = 120


@dataclass(frozen=True)
class Traced:
    """A proxy that traces every request; a table is called as its stage, with `tr_` before it."""

    address: str
    exporter: InMemorySpanExporter
    tracing: OpenTelemetry

    def client(self, headers: Mapping[str, str] | None = None) -> Any:
        """A boto3 client that sends these headers, unsigned."""
        client = dynamodb_client(self.address)

        def add(request: Any, **_: Any) -> None:
            for name, value in (headers or {}).items():
                request.headers[name] = value

        client.meta.events.register("before-send.dynamodb", add)
        return client

    def spans(self, *wanted: str) -> list[ReadableSpan]:
        """The spans since the last call, once there is one of each of these names, by the time they began."""
        deadline = time.monotonic() + _SPANS_SECONDS
        while True:
            self.tracing._provider.force_flush()
            found = self.exporter.get_finished_spans()
            if set(wanted) <= {each.name for each in found}:
                self.exporter.clear()
                return sorted(found, key=lambda each: each.start_time or 0)
            assert time.monotonic() < deadline, f"{sorted(each.name for each in found)}, and not all of {wanted}"
            time.sleep(0.05)


@contextlib.contextmanager
def traced(dynamodb: str, dsql: str, folder: Path) -> Iterator[Traced]:
    extra = "".join(f'[tables.tr_{stage}]\nstage = "{stage}"\n' for stage in STAGES)
    extra += "[tracing]\nenabled = true\nsample_ratio = 1.0\n[shutdown]\nconverge_seconds = 1\n"
    config = folder / "crossfade.toml"
    text = settings_text(
        dynamodb=dynamodb, dsql=dsql, journal=folder / "journal.sqlite", stage="off", mappings=[], extra=extra
    )
    config.write_text(text, encoding="utf-8")
    environment = {
        "CROSSFADE_FOLLOW_TABLES": "true",
        "CROSSFADE_MIRROR__ALONE": "true",
        # Its span is waited for: on a busy machine the proxy would leave the comparison out.
        "CROSSFADE_MIRROR__MAX_TURN_SECONDS": "60",
        "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": "60",
        "CROSSFADE_DSQL__TIMEOUT_SECONDS": "60",
    }
    settings = load(config, environment)
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetry(settings, lambda: exporter)
    listening: list[Address] = []
    ready, fault = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        ended.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))

        def announce(data: Address, _: Address, __: Address | None) -> None:
            listening.append(data)
            ready.set()

        await serve(
            settings,
            partial(open_service, instrument=tracing.parts),
            structlog.get_logger(),
            stop=stop,
            announce=announce,
            tracing=tracing,
        )

    def main() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run())
        except BaseException as error:  # noqa: BLE001  # told to the test, in its own thread
            fault.append(error)
            ready.set()

    ended: list[Any] = []
    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    try:
        assert ready.wait(_LISTENS_SECONDS)
        assert not fault, fault
        here = Traced(f"http://{listening[0]}", exporter, tracing)
        client = here.client()
        for stage in STAGES:
            client.create_table(
                TableName=f"tr_{stage}",
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            )
        yield here
    finally:
        for end in ended:
            end()
        thread.join(_LISTENS_SECONDS)
        assert not thread.is_alive()
