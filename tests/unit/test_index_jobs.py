"""The end of a DDL job: believed only if what it makes is there and valid."""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import pytest

from proxy.migrate.schema.index_jobs import DDLJobFailed, wait_for_job

INDEX = "CREATE INDEX ASYNC i ON t (a)"
CONSTRAINT = "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c"


class Cluster:
    """A connection to a cluster whose job has ended; its catalog says whether the index or constraint is valid."""

    def __init__(self, job: dict[str, Any] | None, valid: bool | None) -> None:
        self.dropped: list[str] = []
        self._job = job
        self._valid = valid

    async def fetchrow(self, _: str, __: str) -> dict[str, Any] | None:
        return self._job

    async def fetchval(self, _: str, *__: Any) -> bool | None:
        return self._valid

    async def execute(self, statement: str) -> None:
        self.dropped.append(statement)


def completed(details: str | None = None) -> dict[str, Any]:
    return {"status": "completed", "details": details}


@pytest.mark.parametrize("statement", [INDEX, CONSTRAINT])
@pytest.mark.parametrize("details", [None, "built with a remark"])
async def test_a_completed_job_whose_work_is_valid_has_succeeded(statement: str, details: str | None) -> None:
    cluster = Cluster(completed(details), True)
    await wait_for_job(cast("asyncpg.Connection", cluster), statement, "job")
    assert cluster.dropped == []


@pytest.mark.parametrize("statement", [INDEX, CONSTRAINT])
@pytest.mark.parametrize(
    "job", [completed(), completed("found a duplicate"), None, {"status": "failed", "details": "x"}]
)
async def test_a_job_whose_work_is_not_valid_has_failed(statement: str, job: dict[str, Any] | None) -> None:
    """A job may be `completed` with an error in `details` (recorded)."""
    cluster = Cluster(job, False)
    with pytest.raises(DDLJobFailed, match=job["details"] or "not valid" if job else "not valid"):
        await wait_for_job(cast("asyncpg.Connection", cluster), statement, "job")
    assert cluster.dropped == (["DROP INDEX IF EXISTS i"] if statement == INDEX else [])


async def test_an_error_of_a_job_that_leaves_nothing_to_look_at_is_believed() -> None:
    with pytest.raises(DDLJobFailed, match="completed without effect: out of space"):
        await wait_for_job(cast("asyncpg.Connection", Cluster(completed("out of space"), None)), INDEX, "job")
    await wait_for_job(cast("asyncpg.Connection", Cluster(completed(), None)), INDEX, "job")
