"""The journal's log: begun anew by a thread, never by the loop, and what was asked meanwhile is written after it."""

import asyncio
import sqlite3
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.dynamodb.schema import Key
from proxy.shadow.journal import group_commit
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.wal import checkpoint_and_restart, sync

A, B, C = (Key("t", f'{{"id":{{"S":"{name}"}}}}') for name in "abc")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite", restart_after=1)
    opened.open({"dynamodb": 0.0, "dsql": 0.0})
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def log_of(path: Path) -> tuple[int, int]:
    """How often the log has begun at its start again, and its length: salt-1 in its header counts ("WAL-mode File
    Format", sqlite.org)."""
    log = Path(f"{path}-wal").read_bytes()
    (number,) = struct.unpack(">I", log[16:20])
    return int(number), len(log)


def in_file(path: Path) -> dict[str, tuple[int, str | None]]:
    side = sqlite3.connect(path)
    try:
        rows = side.execute("SELECT key, due, parked FROM journal").fetchall()
    finally:
        side.close()
    return {key: (due, parked) for key, due, parked in rows}


async def test_the_loop_never_begins_the_log(journal: Journal, path: Path) -> None:
    """Who begins it waits for the disk, in SQLite, whatever `synchronous` is short of OFF."""
    journal.release(await journal.enter([A]))
    begun, length = log_of(path)
    sync(path)
    checkpoint_and_restart(path)
    assert log_of(path) == (begun + 1, length)
    for key in (A, B, C):
        journal.release(await journal.enter([key]))
    assert log_of(path) == (begun + 1, length)
    assert set(in_file(path)) == {A.text, B.text, C.text}


async def test_the_log_begins_anew_by_itself(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_SYNC_SECONDS", 0.01)
    tidying = asyncio.ensure_future(journal.maintain_wal())
    begun, _ = log_of(path)
    async with asyncio.timeout(60):
        while log_of(path)[0] < begun + 3:
            journal.release(await journal.enter([A]))
            await asyncio.sleep(0)
    tidying.cancel()
    await asyncio.wait({tidying})
    assert set(in_file(path)) == {A.text}


class Held:
    """A beginning that lasts until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begins, self.goes_on = threading.Event(), threading.Event()
        monkeypatch.setattr(group_commit, "_SYNC_SECONDS", 0.01)
        monkeypatch.setattr(group_commit, "checkpoint_and_restart", self._begin_anew)

    def _begin_anew(self, path: Path) -> None:
        self.begins.set()
        assert self.goes_on.wait(60)
        checkpoint_and_restart(path)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.begins.wait, 60)


async def test_what_is_asked_while_the_log_begins_is_written_after_it(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_RESTART_SECONDS", 60.0)
    for key in (A, B):
        journal.release(await journal.enter([key]))
    a, b = await journal.next(), await journal.next()
    held = Held(monkeypatch)
    tidying = asyncio.ensure_future(journal.maintain_wal())
    journal.release(await journal.enter([C]))
    await held.begun()
    c = await journal.next()
    entering = asyncio.ensure_future(journal.enter([Key("t", "late")]))
    journal.park(a, "too long")
    journal.retry_later(b, 3600)
    journal.mark_converged(c)
    await asyncio.sleep(0)
    # A client that reads asks the journal, and is not kept; one that writes has to be in the file first.
    assert journal.holds(A)
    assert not journal.holds(C)
    assert not entering.done()
    assert {key: parked for key, (_, parked) in in_file(path).items()} == {A.text: None, B.text: None, C.text: None}
    held.goes_on.set()
    async with asyncio.timeout(60):
        journal.release(await entering)
    found = in_file(path)
    assert set(found) == {A.text, B.text, "late"}
    assert found[A.text][1] == "too long"
    assert found[B.text][0] > found[A.text][0] + 3000
    tidying.cancel()
    await asyncio.wait({tidying})


async def test_a_write_after_what_was_put_off_or_parked_counts(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_RESTART_SECONDS", 60.0)
    for key in (A, B):
        journal.release(await journal.enter([key]))
    a, b = await journal.next(), await journal.next()
    held = Held(monkeypatch)
    tidying = asyncio.ensure_future(journal.maintain_wal())
    journal.release(await journal.enter([C]))
    await held.begun()
    journal.park(a, "too long")
    journal.retry_later(b, 3600)
    entering = asyncio.ensure_future(journal.enter([A, B]))
    await asyncio.sleep(0)
    held.goes_on.set()
    async with asyncio.timeout(60):
        await entering
    found = in_file(path)
    assert found[A.text][1] is None
    assert found[B.text][0] < found[A.text][0] + 3000
    tidying.cancel()
    await asyncio.wait({tidying})


async def test_a_disk_that_hangs_keeps_no_write_for_ever(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_RESTART_SECONDS", 0.05)
    held = Held(monkeypatch)
    tidying = asyncio.ensure_future(journal.maintain_wal())
    journal.release(await journal.enter([A]))
    await held.begun()
    async with asyncio.timeout(60):
        journal.release(await journal.enter([B]))
    assert not held.goes_on.is_set()
    held.goes_on.set()
    tidying.cancel()
    await asyncio.wait({tidying})


async def test_where_there_is_no_log_the_fault_names_it(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"journal\.sqlite-wal"):
        sync(path)
