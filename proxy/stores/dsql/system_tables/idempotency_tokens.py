"""The table in which DSQL remembers clients' tokens: ten minutes each, and a while until they are swept up.

Knows SQL, and not what a token stands for; `proxy.dynamodb.idempotency` says what is in a row, which is hashes only.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from proxy.dynamodb import errors
from proxy.dynamodb.idempotency import VALID_SECONDS, IdempotencyToken
from proxy.stores.dsql.sql.statements import qualified

TOKENS_TABLE: Final = "crossfade_tokens"
# Of rows looked at, and so of rows deleted, by one statement; DSQL modifies 3,000 rows in a transaction at most.
SWEPT_AT_ONCE: Final = 500


class IdempotencyTokens:
    """The statements, and what is done with them inside a transaction of the caller's."""

    def __init__(self, schema: str) -> None:
        self.table = table = qualified(schema, TOKENS_TABLE)
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(token text PRIMARY KEY, request text NOT NULL, answered timestamptz NOT NULL)"
        )
        self.insert = (
            f"INSERT INTO {table} (token, request, answered) VALUES ($1, $2, now()) "  # noqa: S608
            "ON CONFLICT (token) DO NOTHING"
        )
        age = "extract(epoch FROM now() - answered)::float8 AS age"
        self.select = f"SELECT request, {age} FROM {table} WHERE token = $1"  # noqa: S608
        self.renew = f"UPDATE {table} SET request = $2, answered = now() WHERE token = $1"  # noqa: S608
        self.walk = f"SELECT token FROM {table} WHERE token > $1 ORDER BY token LIMIT $2"  # noqa: S608
        self.sweep = (
            f"DELETE FROM {table} WHERE token > $1 AND token <= $2 "  # noqa: S608
            f"AND answered < now() - interval '{2 * VALID_SECONDS:.0f} seconds'"
        )

    @property
    def statements(self) -> tuple[str, ...]:
        """All but the one that makes the table."""
        return self.insert, self.select, self.renew, self.walk, self.sweep

    async def claim_token(self, connection: asyncpg.Connection, token: IdempotencyToken) -> bool:
        """As `AuthorityTransaction.answered`. Another that is carrying out the same token is a conflict at COMMIT."""
        done: str = await connection.execute(self.insert, token.name, token.request)
        if done.endswith(" 1"):
            return False
        row = await connection.fetchrow(self.select, token.name)
        if row is not None and row["age"] <= VALID_SECONDS:
            if row["request"] != token.request:
                raise errors.idempotent_parameter_mismatch()
            return True
        await connection.execute(self.renew, token.name, token.request)
        return False

    async def tidy(self, connection: asyncpg.Connection, after: str) -> str | None:
        """Delete what is too old among the next rows after a token. Gives the last one looked at, None at the end."""
        rows = await connection.fetch(self.walk, after, SWEPT_AT_ONCE)
        if not rows:
            return None
        last: str = rows[-1]["token"]
        await connection.execute(self.sweep, after, last)
        return last if len(rows) == SWEPT_AT_ONCE else None
