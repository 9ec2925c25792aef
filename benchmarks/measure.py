"""What a process uses: CPU seconds and memory, its children's included; and figures over several passes."""

import os
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_NICE = 15


def pin(pid: int, cpu: int) -> None:
    """Keep a process and its children on one CPU; where there is only one, there is nothing to choose."""
    if (os.cpu_count() or 1) < 2:
        return
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's helpers come and go
            process.cpu_affinity([cpu])


def stand_back(pid: int) -> None:
    """Let a process run when others do not want to: a mirror has a machine of its own, and here it shares one."""
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            process.nice(_NICE)


def cpu_seconds(pid: int) -> float:
    """CPU time used so far by a process with its children, user and system."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in _family(pid)))


def waited_seconds(pid: int) -> float:
    """For how long a process's first thread, where its event loop runs, has wanted a CPU that others had. 0.0 where the
    kernel does not say (`schedstat`)."""
    told = Path(f"/proc/{pid}/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def memory_mb(pid: int) -> float:
    """Resident memory in MB (10⁶ bytes)."""
    return sum(process.memory_info().rss for process in _family(pid)) / 1e6


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
