"""Dynamoose and the AWS SDKs for JavaScript in every stage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.every_stage import STAGES, Session, check, told_directly
from tests.integration.test_dynamoose import session
from tests.node_clients import dynamoose, sdk_smoke
from tests.standins.billio import TABLE, billio_table

SESSIONS = {
    "dynamoose": Session(billio_table, lambda endpoint: dynamoose(endpoint, TABLE, session())),
    "sdk v2": Session(billio_table, lambda endpoint: sdk_smoke(endpoint, TABLE, "v2")),
    "sdk v3": Session(billio_table, lambda endpoint: sdk_smoke(endpoint, TABLE, "v3")),
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
