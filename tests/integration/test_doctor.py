"""`crossfade doctor` on the stand-ins: what is as it should be, and each rule broken on purpose, found and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import asyncpg
import orjson
import pytest

from proxy.cli.doctor.command import examine
from proxy.cli.doctor.dynamodb_checks import DynamoDBRequests, examine_stage_table, examine_table
from proxy.cli.doctor.findings import Cost, DoctorReport, Finding, Status
from proxy.mapping.load import LoadedMapping, load
from proxy.migrate.schema.index_jobs import DDLJobFailed
from proxy.settings import DSQL, Settings
from proxy.stores.dsql.sql.statement_register import StatementForm, table_forms
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.http_connection import HTTPResponse
from tests.standins.billio import TABLE, billio_table, table_definition
from tests.standins.dsql import Dsql
from tests.standins.postgres import Postgres
from tests.story.migrations import apply

ROOT = Path(__file__).parents[2]
MAPPED = {TABLE: load(ROOT / "config" / "billio.toml")}


def settings(dsn: str, **given: Any) -> Settings:
    return replace(Settings(), dsql=DSQL(dsn=dsn, timeout_seconds=60, **given))


async def examined(
    dsn: str, mapped: dict[str, LoadedMapping] | None = None, **given: Any
) -> tuple[DoctorReport, dict[str, Finding]]:
    report = await examine(settings(dsn, **given), mapped or {}, [])
    found = {each.check: each for each in report.findings if each.check.startswith("dsql")}
    return report, found


async def left(dsn: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    rows: list[Any] = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'crossfade_doctor%'")
    await connection.close()
    return rows


async def test_all_is_well_on_what_answers_as_a_cluster_does(postgres: Postgres, database: str) -> None:
    with Dsql(postgres) as gate:
        report, found = await examined(gate.dsn(database.rsplit("/", 1)[1]))
    # The role of the gate's is an administrator's, and may make tables.
    odd = {each.check for each in found.values() if each.status is not Status.OK}
    assert not {each for each in odd if not each.startswith("dsql: rights on ")}, report.text()
    assert report.works
    assert report.cost.statements > 100
    assert "at COMMIT: 40001" in found["dsql: conflicts"].found
    assert "OC001" in found["dsql: catalog conflicts"].found
    assert await left(database) == []


@pytest.mark.parametrize(
    ("gate_settings", "given", "check", "works", "said"),
    [
        ({"max_rows": 1000}, {}, "dsql: rows in a transaction", False, "3000: 54000 transaction row limit"),
        ({"max_rows": 5000}, {}, "dsql: rows in a transaction", True, "3001 are taken"),
        ({}, {"max_key_bytes": 3000}, "dsql: key bytes", False, "set max_key_bytes = "),
        (
            {"denied": {"admin": "Signature expired: 20261130T000000Z is now earlier than 20261201T000000Z"}},
            {},
            "dsql: connect",
            False,
            "set this machine's clock",
        ),
        ({"denied": {"admin": "admin is not authorized"}}, {}, "dsql: connect", False, "access: 08006"),
    ],
)
async def test_a_broken_rule_is_found_and_named(
    postgres: Postgres,
    database: str,
    gate_settings: Mapping[str, Any],
    given: Mapping[str, Any],
    check: str,
    works: bool,
    said: str,
) -> None:
    with Dsql(postgres, **gate_settings) as gate:
        report, found = await examined(gate.dsn(database.rsplit("/", 1)[1]), **given)
    odd = [each.check for each in found.values() if each.status in (Status.DIFFERS, Status.REFUSED)]
    assert [each for each in odd if not each.startswith("dsql: rights on ")] == [check], report.text()
    assert report.works is works
    assert said in f"{found[check].found} {found[check].remedy}"
    assert found[check].meaning
    assert await left(database) == []


async def test_a_database_whose_writers_wait_is_no_dsql(database: str) -> None:
    report, found = await examined(database)
    assert found["dsql: conflicts"].status is Status.DIFFERS
    assert "waits" in found["dsql: conflicts"].found
    assert found["dsql: catalog conflicts"].found == "another session's DDL goes unnoticed"
    assert found["dsql: binary keys"].found == "bytea is taken in a key"
    assert found["dsql: statements"].status is found["dsql: plans"].status is Status.OK, report.text()
    assert await left(database) == []


async def test_a_statement_that_is_refused_and_one_that_reads_all_are_named(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forms(schema: str, mapping: Any, table: Any) -> Iterator[StatementForm]:
        yield from table_forms(schema, mapping, table)
        yield StatementForm("a form that is refused", f'SELECT nothing FROM "{schema}"."examined"')
        yield StatementForm("a form that reads all", f'SELECT * FROM "{schema}"."examined" WHERE item::text = $1')

    monkeypatch.setattr("proxy.cli.doctor.dsql_statements.table_forms", forms)
    report, found = await examined(database)
    assert found["dsql: statements"].status is Status.REFUSED
    assert "a form that is refused: 42703" in found["dsql: statements"].found
    assert found["dsql: plans"].status is Status.DIFFERS
    assert "a form that reads all: Seq Scan on examined" in found["dsql: plans"].found
    assert not report.works
    assert await left(database) == []


async def test_an_index_job_that_fails_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Any, __: str) -> None:
        raise DDLJobFailed("job x failed: out of space")

    monkeypatch.setattr("proxy.cli.doctor.dsql_statements.execute_ddl", fail)
    report, found = await examined(database)
    assert (found["dsql: index job"].status, found["dsql: index job"].works) == (Status.REFUSED, False)
    assert "out of space" in found["dsql: index job"].found
    assert not report.works


async def test_a_role_is_told_what_it_lacks(postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    name = database.rsplit("/", 1)[1]
    apply(ROOT / "config" / "migrations", database)
    role = f"doctor_{uuid.uuid4().hex[:8]}"
    postgres.execute(f"CREATE ROLE {role} WITH LOGIN; GRANT SELECT, INSERT ON items TO {role}", name)
    try:
        with Dsql(postgres) as gate:
            report, found = await examined(gate.dsn(name, user=role), MAPPED)
    finally:
        postgres.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", name)
    lacking = found["dsql: rights on items"]
    assert (lacking.status, lacking.found, lacking.works) == (Status.REFUSED, "lacks UPDATE, DELETE", False)
    assert "runtime-role.sql" in lacking.remedy
    assert found["dsql: statements"].status is Status.NOT_ASKED
    [unasked] = [each for each in report.findings if each.check.startswith("dynamodb")]
    assert (unasked.status, unasked.works) == (Status.REFUSED, False)  # no region and no credentials are set
    assert not report.works


# --- DynamoDB ---------------------------------------------------------------------------------------------------------


class Account:
    """A DynamoDB that denies one action, and answers any other for a table of Billio's."""

    def __init__(self, denied: str = "", **table: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._denied = denied
        described = {**table_definition(), "TableStatus": "ACTIVE", **table}
        self._answers: dict[str, Any] = {"DescribeTable": {"Table": described}}

    async def request(self, target: str, body: bytes, *, timeout: float) -> HTTPResponse:  # noqa: ASYNC109
        action = target.partition(".")[2]
        request = orjson.loads(body)
        self.asked.append((action, request))
        if action == self._denied:
            return self._answer(400, {"__type": "com.amazon.coral.service#AccessDeniedException"})
        if "ConditionExpression" in request:
            return self._answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"})
        return self._answer(200, self._answers.get(action, {}))

    @staticmethod
    def _answer(status: int, document: dict[str, Any]) -> HTTPResponse:
        return HTTPResponse(status, (), orjson.dumps(document))


async def of_account(account: Account) -> list[Finding]:
    requests = DynamoDBRequests(cast("DynamoDBClient", account), Cost())
    return [*await examine_table(requests, TABLE, MAPPED[TABLE]), *await examine_stage_table(requests, "stages")]


ACTIONS = {
    "GetItem": "GetItem",
    "BatchGetItem": "BatchGetItem",
    "Query": "Query",
    "Scan": "Scan",
    "PutItem": "PutItem",
    "UpdateItem": "UpdateItem",
    "DeleteItem": "DeleteItem",
    "BatchWriteItem": "BatchWriteItem",
    "TransactWriteItems": "ConditionCheckItem",
}


@pytest.mark.parametrize("denied", ACTIONS)
async def test_a_right_that_lacks_is_named(denied: str) -> None:
    found = [each for each in await of_account(Account(denied)) if each.status is Status.REFUSED]
    assert f"dynamodb: {ACTIONS[denied]} on {TABLE}" in {each.check for each in found}
    assert {each.check.split()[1] for each in found} == {ACTIONS[denied]}
    assert all(not each.works and "docs/operating.md" in each.remedy for each in found)


async def test_no_request_changes_an_item() -> None:
    account = Account()
    assert all(each.works for each in await of_account(account))
    for action, request in account.asked:
        text = json.dumps(request)
        if action in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"):
            assert "attribute_exists(#k) AND attribute_not_exists(#k)" in text
        if action == "BatchWriteItem":
            assert "PutRequest" not in text
            assert "crossfade-doctor-" in text


@pytest.mark.parametrize(
    ("table", "check", "works"),
    [
        ({"GlobalSecondaryIndexes": []}, f"dynamodb: keys and indexes of {TABLE}", False),
        ({"StreamSpecification": {"StreamEnabled": False}}, f"dynamodb: stream of {TABLE}", True),
    ],
)
async def test_what_a_table_lacks_is_named(table: dict[str, Any], check: str, works: bool) -> None:
    found = {each.check: each for each in await of_account(Account(**table))}
    assert (found[check].status, found[check].works) == (Status.DIFFERS, works)
    assert found[check].meaning


async def test_a_stream_that_may_not_be_read_is_named() -> None:
    account = Account("DescribeStream", StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    found = {each.check: each for each in await of_account(account)}
    assert found[f"dynamodb: stream of {TABLE}"].status is Status.REFUSED


def test_the_command_prints_a_table_or_a_document(postgres: Postgres, database: str, dynamodb: str) -> None:
    name = database.rsplit("/", 1)[1]
    apply(ROOT / "config" / "migrations", database)
    billio_table(dynamodb)
    with Dsql(postgres) as gate:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CROSSFADE_", "AWS_"))},
            "CROSSFADE_DSQL__DSN": gate.dsn(name),
            "CROSSFADE_MAPPINGS": str(ROOT / "config" / "billio.toml"),
            "CROSSFADE_DYNAMODB__ENDPOINT_URL": dynamodb,
            "CROSSFADE_DYNAMODB__REGION": "us-east-1",
            "CROSSFADE_DYNAMODB__ACCESS_KEY_ID": "test",
            "CROSSFADE_DYNAMODB__SECRET_ACCESS_KEY": "test",
        }
        command = [str(Path(sys.executable).with_name("crossfade")), "doctor"]
        ran = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        document = json.loads(ran.stdout)
        assert document["works"] is True
        assert {each["status"] for each in document["findings"]} <= {"ok", "differs", "not asked"}
        assert any(each["check"] == f"dynamodb: PutItem on {TABLE}" for each in document["findings"])
        gate.change(denied={"admin": "not authorized"})
        refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1
    assert "would not work here" in refused.stdout
    assert "Traceback" not in refused.stderr
