"""`crossfade` as a shell runs it, in a process that is forked from one that has loaded it: most of what a short command
costs is to start it.

For tests that run command after command; that the installed program starts is proven elsewhere.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LOADED = (
    "proxy.cli.main",
    "proxy.migrate.backfill.job",
    "proxy.migrate.table_jobs.table_stores",
    "proxy.migrate.verify.sweep",
    "proxy.cli.stage_table_client",
)
_SECONDS = 300.0


@dataclass(slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


def crossfade(*words: str, environment: Mapping[str, str], folder: Path) -> Ran:
    """Run the command with this environment and no other, in this folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        child = context.Process(target=_run, args=(words, dict(environment), folder, out, err))
        child.start()
        child.join(_SECONDS)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise AssertionError(f"crossfade {' '.join(words)} has not ended in {_SECONDS:g} s")
        return Ran(child.exitcode, out.read_text(), err.read_text())


def _run(words: tuple[str, ...], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from proxy.cli.main import main

    sys.exit(main(words))
