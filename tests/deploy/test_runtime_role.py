"""The proxy with the database role of deploy/sql/runtime-role.sql: it may read and write rows, and make nothing."""

import re
import uuid

import pytest

from tests.deploy.templates import ROOT
from tests.proxy_process import ProxyProcess
from tests.standins.billio import HASH_KEY, TABLE, billio_table, dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.postgres import Postgres
from tests.standins.processes import StandinError
from tests.story.migrations import apply

SCRIPT = ROOT / "deploy" / "sql" / "runtime-role.sql"
# What only DSQL has: whose IAM role may be this one.
_DSQL_ONLY = re.compile(r"^AWS IAM GRANT .*;$", re.MULTILINE)


def test_dsql_takes_the_script_once_and_again(postgres: Postgres, database: str) -> None:
    """A cluster refuses GRANT USAGE ON SCHEMA public: `0A000 feature not supported on system entity` (recorded)."""
    role = f"crossfade_{uuid.uuid4().hex[:8]}"
    script = re.sub(r"\bcrossfade\b", role, SCRIPT.read_text("utf-8"))
    name = database.rsplit("/", 1)[1]
    arns = {each: f"arn:aws:iam::123456789012:role/{each}" for each in ("runtime", "stream")}
    with Dsql(postgres) as gate:
        dsn = gate.dsn(name)
        created = 'CREATE TABLE "odd ""name" (id text PRIMARY KEY);'
        assert "ERROR" not in postgres.run_script(created, dsn) + postgres.run_script(script, dsn, **arns)
        assert "ERROR" not in postgres.run_script("CREATE TABLE later (id text PRIMARY KEY);", dsn)
        again = postgres.run_script(script, dsn, **arns).splitlines()
    assert [line for line in again if "ERROR" in line and "already exists" not in line] == []
    for table in ('"odd ""name"', "later"):
        for right, given in (("SELECT", "t"), ("INSERT", "t"), ("UPDATE", "t"), ("DELETE", "t"), ("REFERENCES", "f")):
            assert postgres.execute(f"SELECT has_table_privilege('{role}', '{table}', '{right}')", name) == given
    postgres.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"', name)


def test_the_runtime_role_is_enough_and_no_more(postgres: Postgres, database: str, dynamodb: str) -> None:
    name = database.rsplit("/", 1)[1]
    apply(ROOT / "config" / "migrations", database)
    apply(ROOT / "deploy" / "migrations", database)
    text = SCRIPT.read_text("utf-8")
    assert len(_DSQL_ONLY.findall(text)) == 2
    # Roles are the server's, not the database's: another test must not meet this one's.
    role = f"crossfade_{uuid.uuid4().hex[:8]}"
    script = re.sub(r"\bcrossfade\b", role, _DSQL_ONLY.sub("", text))
    try:
        assert postgres.run_script(script, database) == ""
        dsn = re.sub(r"//[^@]+@", f"//{role}@", database)
        with pytest.raises(StandinError, match="permission denied for schema public"):
            postgres.execute(f'SET ROLE "{role}"; CREATE TABLE not_for_it (id text PRIMARY KEY)', name)

        billio_table(dynamodb)
        mapping = ROOT / "config" / "billio.toml"
        with ProxyProcess(dynamodb=dynamodb, dsql=dsn, mappings=[mapping], stage="live") as proxy:
            client = dynamodb_client(proxy.data)
            key = {HASH_KEY: {"S": "Book:1"}}
            book = key | {"type": {"S": "Book"}, "id": {"S": "1"}, "movedAt": {"N": "1700000000000"}}
            client.put_item(TableName=TABLE, Item=book)
            # A transaction with a token, on an item that is not there: Crossfade's tables for both are written.
            other = {HASH_KEY: {"S": "Book:2"}}
            client.transact_write_items(
                ClientRequestToken=uuid.uuid4().hex,
                TransactItems=[
                    {
                        "Put": {
                            "TableName": TABLE,
                            "Item": book | other | {"id": {"S": "2"}},
                            "ConditionExpression": "attribute_not_exists(#type)",
                            "ExpressionAttributeNames": {"#type": "type"},
                        }
                    },
                ],
            )
            assert client.get_item(TableName=TABLE, Key=key)["Item"] == book
            client.delete_item(TableName=TABLE, Key=other)
            client.describe_table(TableName=TABLE)
            proxy.settle()
            log = proxy.log_file.read_text("utf-8")
        for word in ("42501", "store_refused", "catalogue_not_written", "InsufficientPrivilege"):
            assert word not in log, log[-2000:]
    finally:
        postgres.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"', name)
