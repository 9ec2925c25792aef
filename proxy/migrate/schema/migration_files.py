"""Reads a folder of SQL files as migrations, and classifies their statements.

Text only: no connection. Files are applied in the order of their names, and statements in their order in the file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.migrate.schema.sql_scanner import UnfinishedError, split_statements

_IDENTIFIER: Final = r"""(?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))?"""
_INDEX: Final = re.compile(
    rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:ASYNC\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{_IDENTIFIER})\s+ON\b",
    re.IGNORECASE,
)
_VALIDATION: Final = re.compile(
    rf"\s*ALTER\s+TABLE\b.*\bVALIDATE\s+CONSTRAINT\s+(?P<name>{_IDENTIFIER})", re.IGNORECASE | re.DOTALL
)
_ROWS: Final = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH|SELECT)\b", re.IGNORECASE)


class MigrationError(Exception):
    """A migration cannot be applied; the text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its statements, and the checksum of its text."""

    name: str
    statements: tuple[str, ...]
    checksum: str


def shipped_folder() -> Path:
    """Return the folder of Crossfade's own migrations: inside the installed package, or beside it in the repository."""
    inside = Path(__file__).parents[2] / "_config" / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "config" / "migrations"


def read_folder(folder: Path) -> list[Migration]:
    """Read the `*.sql` files of a folder in the order of their names. Raises MigrationError if there are none."""
    if not folder.is_dir():
        raise MigrationError(f"{folder}: there is no such folder: give another --folder, or leave it out")
    paths = sorted(folder.glob("*.sql"))
    passed_over = sorted(each.name for each in folder.iterdir() if each.suffix.lower() == ".sql" and each not in paths)
    if passed_over:
        raise MigrationError(f"{folder}: {', '.join(passed_over)} would be passed over: use .sql in lower case")
    if not paths:
        raise MigrationError(f"{folder}: contains no .sql files: give --folder the folder that contains them")
    migrations = []
    for path in paths:
        try:
            text = path.read_text("utf-8")
            statements = statements_of(text)
        except UnfinishedError as error:
            raise MigrationError(f"{path}: {error}: close it") from error
        except (OSError, UnicodeDecodeError) as error:
            raise MigrationError(f"{path}: cannot be read: {error}") from error
        migrations.append(Migration(path.name, statements, checksum(text)))
    return migrations


def checksum(text: str) -> str:
    """Return the SHA-256 of a file's or a statement's text, as hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def statements_of(text: str) -> tuple[str, ...]:
    """Split a file into statements at semicolons. Comments are removed; quoted text is left as it is. Raises
    UnfinishedError."""
    return tuple(each for each in split_statements(text) if each)


def changes_rows(statement: str) -> bool:
    """Whether the statement changes rows and is not DDL. DSQL does not mix the two in one transaction."""
    return _ROWS.match(statement) is not None


def created_index(statement: str) -> str | None:
    """Return the name, as written, of the index that the statement creates; None if it creates none."""
    found = _INDEX.match(statement)
    return found["name"] if found is not None else None


def validated_constraint(statement: str) -> str | None:
    """Return the name, as written, of the constraint that the statement validates; None if it validates none."""
    found = _VALIDATION.match(statement)
    return found["name"] if found is not None else None
