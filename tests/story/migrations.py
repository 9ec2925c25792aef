"""Apply a folder of SQL files, in order of name, through the DSQL gate: what DSQL would refuse is refused here."""

from pathlib import Path

import asyncpg


async def apply(folder: Path, dsn: str) -> None:
    """Each file in a transaction of its own, as DSQL wants of DDL."""
    statements = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.sql"))]
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
