"""Shows the progress of a long command on stderr: a bar on a terminal, otherwise a line every five seconds.

It shows what it is given and measures only the time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

_TERMINAL_SECONDS: Final = 0.25
_LOG_SECONDS: Final = 5.0
_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The progress of a command at one moment.

    `items` of `total` items are done (None: the total is unknown), which are `size` bytes and cost `rcu` read capacity
    units and `retries` retries.
    """

    items: int
    total: int | None
    size: int
    rcu: float
    retries: int
    remark: str


class ProgressBar:
    """A progress display. `async with ProgressBar("backfill", snapshot):` shows it until the end of the block."""

    def __init__(
        self, what: str, now: Callable[[], ProgressSnapshot], out: TextIO = sys.stderr, *, quiet: bool = False
    ) -> None:
        self._what = what
        self._now = now
        self._out = out
        self._terminal = out.isatty()
        self._quiet = quiet
        self._began = time.monotonic()
        self._first = now().items
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ProgressBar:
        if not self._quiet:
            self._task = asyncio.create_task(self._show())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._draw(last=True)

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS)
            self._draw(last=False)

    def _draw(self, *, last: bool) -> None:
        text = progress_line(self._what, self._now(), self._first, time.monotonic() - self._began, bar=self._terminal)
        self._out.write(f"\r{text}\x1b[K{chr(10) if last else ''}" if self._terminal else text + "\n")
        self._out.flush()


def progress_line(what: str, now: ProgressSnapshot, first: int, seconds: float, *, bar: bool) -> str:
    """Return the line to show. `first` is how many items an earlier run had done."""
    rate = (now.items - first) / seconds if seconds > 0 else 0.0
    parts = [what]
    if now.total:
        share = min(1.0, now.items / now.total)
        if bar:
            full = round(share * _WIDTH)
            parts.append(f"[{'#' * full}{'.' * (_WIDTH - full)}]")
        parts.append(f"{share:4.0%} of about {now.total:,}")
    parts += [f"{now.items:,} items", f"{rate:,.0f}/s", f"{now.size / 1e6:,.1f} MB", f"{now.rcu:,.0f} RCU"]
    if now.total and rate > 0 and now.items < now.total:
        parts.append(f"{_duration((now.total - now.items) / rate)} to go")
    parts.append(f"{now.retries} retries")
    if now.remark:
        parts.append(now.remark)
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
