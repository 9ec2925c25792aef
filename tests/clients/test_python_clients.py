"""boto3 and PynamoDB in every stage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import boto3_session, pynamodb_session
from tests.clients.every_stage import STAGES, Session, check, told_directly

SESSIONS = {
    "boto3": Session(boto3_session.make_table, boto3_session.play),
    "pynamodb": Session(
        lambda endpoint: pynamodb_session.models(endpoint).create_table(wait=True), pynamodb_session.play
    ),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return {name: told_directly(session) for name, session in SESSIONS.items()}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("client", SESSIONS)
def test_a_session_is_told_the_same(
    dynamodb: str, database: str, dsql_database: str, expected: dict[str, Any], client: str, stage: str
) -> None:
    check(SESSIONS[client], stage, expected[client], dynamodb=dynamodb, database=database, dsql=dsql_database)
