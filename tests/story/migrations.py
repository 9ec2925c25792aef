"""Apply a folder of SQL files, in order of name, through the DSQL gate: what DSQL would refuse is refused here."""

from pathlib import Path

import asyncpg


def statements(folder: Path) -> list[str]:
    """The text of each file, in order of name."""
    return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.sql"))]


async def apply(folder: Path, dsn: str) -> None:
    """Each file in a transaction of its own, as DSQL wants of DDL."""
    texts = statements(folder)
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        for text in texts:
            await connection.execute(text)
    finally:
        await connection.close()
