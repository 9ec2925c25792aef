"""The proxy's own disk is full: its journal and its log cannot be written. Clients do not notice; `/readyz` says it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.journal import Journal
from tests.faults.small_disk import fill, small_disk
from tests.faults.under_fault import codes, own_faults, recovered, story, tell
from tests.integration.scenes import Scene, scene, wait_until
from tests.standins.billio import billio_table

ENVIRONMENT = {"CROSSFADE_MIRROR__ALONE": "true"}
FAILURES = {"InternalServerError", "ServiceUnavailableException"}


def told(here: Scene, seed: int) -> None:
    print(f"seed {seed}")
    answers = codes(tell(here.client(), story(seed), at_once=4))
    assert answers["ok"] > 20
    assert not answers.keys() & FAILURES, answers


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(2 << 20) as folder:
        yield folder


def test_one_full_disk_for_journal_and_log(
    disk: Path, dynamodb: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    billio_table(dynamodb)
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(disk))
        running = scene(dynamodb, database, environment=ENVIRONMENT)
        here = running.__enter__()
    try:
        told(here, 1)
        recovered(here)
        fill(disk)
        told(here, 2)
        wait_until(lambda: not here.proxy.ready(), 120, "the proxy to say that it is not ready")
        told(here, 3)
        (disk / "filler").unlink()
        wait_until(here.proxy.ready, 120, "the proxy to be ready again, though nobody writes")
        recovered(here)
        told(here, 4)
        recovered(here)
        assert own_faults(here) == []
    finally:
        running.__exit__(None, None, None)


@pytest.mark.parametrize("pages", range(4))
async def test_room_for_next_to_nothing_is_no_recovery(disk: Path, pages: int) -> None:
    """Else it would be ready again until somebody writes, and then not, and then again."""
    journal = Journal(disk / "journal.sqlite")
    journal.open({"dynamodb": 0.0, "dsql": 0.0})
    try:
        fill(disk)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - pages * 4096)
        keys = [Key("t", f'{{"id":{{"S":"{number}"}}}}') for number in range(500)]
        for work in journal.release(await journal.enter(keys), claim=True):
            journal.mark_converged(work)
        assert not journal.empty  # which it never is while it cannot be written
        (disk / "filler").unlink()
        assert journal.empty
    finally:
        journal.close()


def test_no_file_may_grow(dynamodb: str, database: str) -> None:
    """As a quota does it, for whoever is not root."""
    billio_table(dynamodb)
    with scene(dynamodb, database, environment=ENVIRONMENT) as here:
        told(here, 11)
        recovered(here)
        process = psutil.Process(here.proxy.child.pid)
        _, most = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (1024, most))
        told(here, 12)
        wait_until(lambda: not here.proxy.ready(), 120, "the proxy to say that it is not ready")
        told(here, 13)
        process.rlimit(psutil.RLIMIT_FSIZE, (most, most))
        wait_until(here.proxy.ready, 120, "the proxy to be ready again, though nobody writes")
        recovered(here)
        assert own_faults(here) == []
