"""The whole product in this process: `serve` on a thread of its own, for thousands of requests a minute.

The tests talk to it over its sockets; only its log events are taken from inside.
"""

import asyncio
import logging
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
import uvloop

from proxy.app.serve import serve
from proxy.app.service import open_service
from proxy.settings import Address, load

# What the proxy logs of its own faults, never of a store's.
_FAULTS = frozenset({"request_failed", "fault_behind_the_answer", "fault_in_a_loop", "foreign"})


class _Foreign(logging.Handler):
    """Errors that the libraries beneath it log."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        super().__init__(logging.ERROR)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.append({"event": "foreign", "said": record.getMessage(), "trace": str(record.exc_info)})


class Serving:
    """`with Serving(settings_file, environment) as proxy:` listens on `proxy.data` and `proxy.admin`.

    `events` are its log's, as dictionaries.
    """

    def __init__(self, settings: Path, environment: Mapping[str, str]) -> None:
        self.data = Address("", 0)
        self.admin = Address("", 0)
        self.events: list[dict[str, Any]] = []
        self._settings = load(settings, environment)
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._loop = self._runner.get_loop()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="crossfade", daemon=True)
        self._foreign = _Foreign(self.events)

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What it logged of faults of its own."""
        return [event for event in self.events if event["event"] in _FAULTS or "traceback" in event]

    def __enter__(self) -> Self:
        self._kept = structlog.get_config()
        structlog.configure(processors=[self._take], cache_logger_on_first_use=False)
        logging.getLogger().addHandler(self._foreign)
        self._thread.start()
        if not self._listening.wait(120) or self._failed is not None:
            raise RuntimeError("crossfade did not start") from self._failed
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        structlog.configure(**self._kept)
        logging.getLogger().removeHandler(self._foreign)
        if self._thread.is_alive():
            raise RuntimeError("crossfade did not stop")

    def _run(self) -> None:
        try:
            self._runner.run(
                serve(self._settings, open_service, structlog.get_logger(), stop=self._stop, announce=self._announce)
            )
        except BaseException as error:
            self._failed = error
            self._listening.set()
            raise
        finally:
            self._runner.close()  # as the command does: it cancels what aiohttp still waits for

    def _announce(self, data: Address, admin: Address, _: Address | None) -> None:
        self.data, self.admin = data, admin
        self._listening.set()

    def _take(self, _: Any, method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        told = {"level": method, **event}
        if told.pop("exc_info", None):
            told["traceback"] = traceback.format_exc()
        self.events.append(told)
        raise structlog.DropEvent
