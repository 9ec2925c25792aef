"""A journal of another release, or a file that is none: refused with the place and the remedy, and left as it was."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from proxy.app.service import open_journal
from proxy.dynamodb.schema import Key
from proxy.settings import Settings
from proxy.settings.shadow import JournalSettings
from proxy.settings.validation import SettingsError
from proxy.shadow.journal.file_version import FORMAT, JournalFormatError
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.wal import checkpoint_and_restart
from tests.killed import end_as_killed

KEY = Key("t", '{"id":{"S":"a"}}')
LINGERING = {"dynamodb": 0.0, "dsql": 0.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def script(path: Path, *statements: str) -> None:
    """What something else does to the file."""
    database = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def format_of(path: Path) -> int:
    database = sqlite3.connect(path)
    found = int(database.execute("PRAGMA user_version").fetchone()[0])
    database.close()
    return found


async def with_a_key(path: Path) -> str:
    """A journal that a killed process left one key in; the process's name."""
    journal = Journal(path)
    journal.open(LINGERING)
    await journal.enqueue([KEY])
    end_as_killed(journal)
    return journal.identity


def refusal(path: Path) -> str:
    """What the operator is told; the file stays as it is, and is not locked by who was refused."""
    before = hashlib.sha256(path.read_bytes()).digest()
    said = set()
    for _ in range(2):
        with pytest.raises(JournalFormatError) as caught:
            Journal(path).open(LINGERING)
        said.add(str(caught.value))
    assert hashlib.sha256(path.read_bytes()).digest() == before
    (text,) = said
    assert str(path) in text
    return text


async def test_a_new_journal_says_its_format_and_goes_on_saying_it(path: Path) -> None:
    await with_a_key(path)
    assert format_of(path) == FORMAT
    checkpoint_and_restart(path)
    assert format_of(path) == FORMAT


@pytest.mark.parametrize("earlier", range(FORMAT))
async def test_a_journal_from_before_formats_were_counted_is_taken_over(path: Path, earlier: int) -> None:
    name = await with_a_key(path)
    script(path, f"PRAGMA user_version = {earlier}")
    journal = Journal(path)
    assert journal.open(LINGERING) == 1
    assert journal.holds(KEY)
    assert journal.identity == name
    journal.close()
    assert format_of(path) == FORMAT


async def test_of_the_first_release_only_the_keys_are_there(path: Path) -> None:
    await with_a_key(path)
    script(path, "PRAGMA user_version = 0", "DROP TABLE identity", "DROP TABLE lingering", "DROP TABLE room")
    journal = Journal(path)
    assert journal.open(LINGERING) == 1
    assert journal.holds(KEY)
    journal.close()


async def test_a_later_release_s_journal_is_refused(path: Path) -> None:
    name = await with_a_key(path)
    script(path, f"PRAGMA user_version = {FORMAT + 1}")
    said = refusal(path)
    assert f"format {FORMAT + 1}" in said
    assert f"crossfade stage forget {name}" in said
    assert "crossfade verify --repair" in said


async def test_one_whose_process_cannot_be_read_is_refused_too(path: Path) -> None:
    await with_a_key(path)
    script(
        path,
        f"PRAGMA user_version = {FORMAT + 5}",
        "DROP TABLE identity",
        "DROP INDEX journal_due",
        "ALTER TABLE journal DROP COLUMN parked",
    )
    said = refusal(path)
    assert "crossfade stage forget" in said
    assert "verify --repair" in said


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE accounts (id INTEGER)",),
        ("CREATE TABLE accounts (id INTEGER)", f"PRAGMA user_version = {FORMAT}"),
        ("CREATE TABLE journal (id INTEGER, entry TEXT)",),
        (f"PRAGMA user_version = {FORMAT + 7}",),
        ("PRAGMA user_version = -1",),
    ],
    ids=["another", "another of the same number", "another's journal", "empty, of a number", "negative"],
)
def test_a_database_of_something_else_is_left_alone(path: Path, statements: tuple[str, ...]) -> None:
    script(path, *statements)
    assert "journal.path" in refusal(path)


@pytest.mark.parametrize("content", [b"not a database, though it is long enough to be one" * 100, b"\0" * 4096])
def test_a_file_that_is_no_database_is_refused_at_the_start(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught, open_journal(Settings(journal=JournalSettings(path))):
        pass
    assert str(path) in str(caught.value)
    assert "verify --repair" in str(caught.value)
    assert path.read_bytes() == content


async def test_another_release_s_journal_ends_the_start_with_a_sentence(path: Path) -> None:
    await with_a_key(path)
    script(path, f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(SettingsError) as caught, open_journal(Settings(journal=JournalSettings(path))):
        pass
    assert "another release" in str(caught.value)
