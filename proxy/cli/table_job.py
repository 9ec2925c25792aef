"""What `crossfade backfill` and `crossfade verify` share: options, running, stopping, progress and costs.

Exit status 0: done; 1: something is wrong, or a store was unavailable (run it again to resume); 2: wrong settings or
arguments; 130: stopped on request.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    from proxy.cli.progress import ProgressSnapshot
    from proxy.migrate.table_jobs.cancellation import StopRequest
    from proxy.settings import Settings

FAILED = 1
STOPPED = 130
_RESUME = "run it again to resume"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    parser.add_argument("--table", metavar="NAME", help="the table; needed unless there is exactly one mapping")
    parser.add_argument(
        "--rate", type=_rate, metavar="RATE", help="500 for items per second, 200rcu for read capacity units"
    )
    parser.add_argument("--segment", type=_share, default=(1, 1), metavar="I/N", help="the I-th of N shares, from 1")
    parser.add_argument(
        "--parallel", type=_count, default=4, metavar="K", help="how many segments to read at a time (4)"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew instead of resuming")
    parser.add_argument("--quiet", action="store_true", help="show no progress; the result is still printed")
    parser.add_argument(
        "--metrics", type=_address, metavar="HOST:PORT", help="publish progress to Prometheus at this address"
    )


@dataclass(slots=True)
class CallCosts:
    """What a run costs: read capacity units, and retried calls."""

    units: float = 0.0
    retries: int = 0

    def add_units(self, units: float) -> None:
        """Count the read capacity units of a call."""
        self.units += units

    def count_retry(self, _: str) -> None:
        """Count a retry; its reason is not needed."""
        self.retries += 1


def run(
    work: Callable[[Settings, argparse.Namespace, StopRequest], Awaitable[int]],
    settings: Settings,
    arguments: argparse.Namespace,
) -> int:
    """Do the work, print how it ended, and return the exit status. Raises SettingsError and CredentialsError."""
    from proxy import logs
    from proxy.migrate.table_jobs.cancellation import StopRequest, StopRequestedError
    from proxy.migrate.table_jobs.sources import SourceError
    from proxy.signals import stop_on_signals
    from proxy.stores.error_remedies import remedy
    from proxy.stores.errors import Refused, StoreError

    logs.configure(settings.log.level, settings.log.format)

    async def begin() -> int:
        stop = StopRequest()
        stop_on_signals(stop.event)
        return await work(settings, arguments, stop)

    try:
        return asyncio.run(begin())
    except SourceError as error:
        sys.stderr.write(f"crossfade: {error}\n")
    except Refused as error:
        sys.stderr.write(f"crossfade: {error}: {remedy(error.reason) or 'fix that'}; then {_RESUME}\n")
    except StoreError as error:
        sys.stderr.write(f"crossfade: {error} ({error.reason}): {_RESUME}\n")
    except StopRequestedError:
        sys.stderr.write(f"crossfade: stopped; {_RESUME}\n")
        return STOPPED
    return FAILED


@asynccontextmanager
async def show_progress(
    what: str, table: str, now: Callable[[], ProgressSnapshot], arguments: argparse.Namespace
) -> AsyncIterator[None]:
    """Show progress on the terminal and to Prometheus until the end of the block."""
    from proxy.cli.progress import ProgressBar
    from proxy.cli.progress_metrics import ProgressMetrics

    published = ProgressMetrics(what, table, now, arguments.metrics)
    async with ProgressBar(what, now, quiet=arguments.quiet):
        with published:
            yield


def page_items(arguments: argparse.Namespace) -> int:
    """Return how many items to read at a time."""
    return arguments.rate.page_items if arguments.rate is not None else 1000


def _rate(text: str) -> Any:
    from proxy.migrate.table_jobs.rate_limiter import Rate

    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> tuple[int, int]:
    number, slash, shares = text.partition("/")
    if not slash or not number.isdecimal() or not shares.isdecimal() or not 1 <= int(number) <= int(shares):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: write I/N, such as 1/8")
    return int(number), int(shares)


def _address(text: str) -> Any:
    from proxy.settings import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)
