"""How far long work over a table has come, in a table of DSQL's, so that a killed run goes on where it was.

Work is a *job* in *parts*. A part is claimed by whoever works on it, under an owner's name that is new with each claim;
whoever was there before can save nothing more. What a saved row says is committed together with the rows that were
written for it (`saving`), so it is never ahead of them nor behind; a transaction of an earlier owner that is still
under way when the part is claimed conflicts with the claim and is lost, or was first and is told by what the claim
reads. Nothing here knows what the work is.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg
import orjson

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.errors import StoreError

T = TypeVar("T")

CHECKPOINTS_TABLE: Final = "crossfade_checkpoints"


class Superseded(StoreError):
    """Another process works on this part now; nothing more may be written for it here."""

    def __init__(self, part: str) -> None:
        super().__init__("superseded", f"another process has taken over part {part}: let only one run it")


@dataclass(frozen=True, slots=True)
class Saved:
    """What is kept of a part: a JSON document of the work's own, whether it is done, and how old it is in seconds."""

    state: dict[str, Any]
    done: bool
    age: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a job, held by this process."""

    job: str
    part: str
    owner: str
    saved: Saved | None
    """What the last owner left; None if nobody has begun."""


class Checkpoints:
    """Over a pool of connections. `seconds` bounds each statement. Every method raises StoreError."""

    def __init__(self, pool: Pool, schema: str, *, seconds: float) -> None:
        table = qualified(schema, CHECKPOINTS_TABLE)
        self._pool = pool
        self._seconds = seconds
        self._create = (
            f"CREATE TABLE IF NOT EXISTS {table} (job text NOT NULL, part text NOT NULL, owner text NOT NULL, "
            "state text NOT NULL, done boolean NOT NULL, saved timestamptz NOT NULL, PRIMARY KEY (job, part))"
        )
        # What was saved, and when, stays as it was: the claim changes whose it is.
        self._claim = (
            f"INSERT INTO {table} AS held (job, part, owner, state, done, saved) "  # noqa: S608
            "VALUES ($1, $2, $3, '', false, now()) ON CONFLICT (job, part) DO UPDATE SET owner = excluded.owner "
            "RETURNING state, done, extract(epoch FROM now() - saved)::float8 AS age"
        )
        self._save = (
            f"UPDATE {table} SET state = $4, done = $5, saved = now() "  # noqa: S608
            "WHERE job = $1 AND part = $2 AND owner = $3"
        )
        self._list = (
            f"SELECT part, state, done, extract(epoch FROM now() - saved)::float8 AS age "  # noqa: S608
            f"FROM {table} WHERE job = $1 AND part = ANY($2::text[])"
        )
        self._done = f"SELECT part, done FROM {table} WHERE job = $1 AND state <> ''"  # noqa: S608
        self._forget = f"DELETE FROM {table} WHERE job = $1 AND part = ANY($2::text[])"  # noqa: S608

    @property
    def definitions(self) -> tuple[str, ...]:
        """What makes the table."""
        return (self._create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All statements but the one that makes the table."""
        return self._claim, self._save, self._list, self._done, self._forget

    async def parts(self, job: str, parts: Sequence[str]) -> dict[str, Saved]:
        """What is saved of these parts of a job, of those that anything is saved of."""
        rows = await self._ask(lambda c: c.fetch(self._list, job, list(parts), timeout=self._seconds))
        return {row["part"]: _saved(row) for row in rows if row["state"]}

    async def done(self, job: str) -> dict[str, bool]:
        """Of each part that anything is saved of, whether it is done. Without what is saved: that may be long."""
        rows = await self._ask(lambda c: c.fetch(self._done, job, timeout=self._seconds))
        return {row["part"]: row["done"] for row in rows}

    async def forget(self, job: str, parts: list[str]) -> None:
        """The parts begin anew."""
        await self._ask(lambda c: c.execute(self._forget, job, parts, timeout=self._seconds))

    async def claim(self, job: str, part: str) -> Claim:
        """Take a part, from whoever had it."""
        owner = secrets.token_hex(8)
        row = await self._ask(lambda c: c.fetchrow(self._claim, job, part, owner, timeout=self._seconds))
        return Claim(job, part, owner, _saved(row) if row["state"] else None)

    async def save(self, claim: Claim, state: dict[str, Any], *, done: bool = False) -> None:
        """Raises Superseded if the part is another's."""
        await self._ask(self.saving(claim, state, done=done))

    def saving(
        self, claim: Claim, state: dict[str, Any], *, done: bool = False
    ) -> Callable[[asyncpg.Connection], Awaitable[None]]:
        """The same, to be done in a transaction of the caller's; its errors are then PostgreSQL's, or Superseded."""
        text = orjson.dumps(state).decode()

        async def save(connection: asyncpg.Connection) -> None:
            how = await connection.execute(
                self._save, claim.job, claim.part, claim.owner, text, done, timeout=self._seconds
            )
            if how != "UPDATE 1":
                raise Superseded(claim.part)

        return save

    async def _ask(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Every statement here may be made twice: it says the same the second time."""
        return await run_with_retry(self._pool, work, create=self._create, seconds=self._seconds)


def _saved(row: asyncpg.Record) -> Saved:
    state: dict[str, Any] = orjson.loads(row["state"])
    return Saved(state, row["done"], max(0.0, row["age"]))
