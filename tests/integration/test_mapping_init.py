"""`crossfade mapping init` on real data: its files are taken by every command that comes after it, and by DSQL."""

import json
import os
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.load import load, parse
from proxy.migrate.mapping_draft.draft import draft_mapping
from proxy.migrate.mapping_draft.render import render_toml
from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
from proxy.migrate.preflight.preflight import Preflight
from proxy.migrate.schema.migration_files import read_folder
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.interface import StoredItem
from tests.data import real
from tests.standins.billio import dynamodb_client
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY, Ministack
from tests.standins.pools import open_dsn_pool

SCHEMA = TableSchema.from_description(real.table_definition())
ITEMS = 800


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    return list(real.items())


@pytest.fixture(scope="module")
def some(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return random.Random(5).sample(items, ITEMS)


@pytest.fixture(scope="module")
def filled(ministack: Ministack, some: list[dict[str, Any]]) -> Iterator[str]:
    """The endpoint of a DynamoDB with some of the real data in it."""
    ministack.reset()
    client = dynamodb_client(ministack.endpoint)
    client.create_table(**real.table_definition())
    for start in range(0, len(some), 25):
        requests = [{"PutRequest": {"Item": item}} for item in some[start : start + 25]]
        assert not client.batch_write_item(RequestItems={real.TABLE: requests})["UnprocessedItems"]
    yield ministack.endpoint
    ministack.reset()


def crossfade(*arguments: str, settings: Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    command = [str(Path(sys.executable).with_name("crossfade")), *arguments, "--config", str(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CROSSFADE_"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def write_settings(folder: Path, endpoint: str, dsn: str, *mappings: Path) -> Path:
    path = folder / "crossfade.toml"
    path.write_text(
        f'mappings = {json.dumps([str(each) for each in mappings])}\n[dsql]\ndsn = "{dsn}"\n'
        f'[dynamodb]\nendpoint_url = "{endpoint}"\nregion = "{REGION}"\n'
        f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\n'
    )
    return path


def lint(folder: Path) -> tuple[int, str]:
    """What AWS's own `dsql-lint` says of a folder of migrations."""
    command = [str(Path(sys.executable).with_name("dsql-lint")), "--format", "json", *map(str, folder.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = [each for file in json.loads(done.stdout)["files"] for each in file["diagnostics"]]
    return done.returncode, "\n".join(map(str, found))


async def test_what_it_writes_is_taken_by_all_that_comes_after(
    filled: str, some: list[dict[str, Any]], database: str, dsql_database: str, tmp_path: Path
) -> None:
    out = tmp_path / "drafted"
    bare = write_settings(tmp_path, filled, dsql_database)
    init = ("mapping", "init", "--table", real.TABLE, "--out", str(out))
    status, stdout, _ = crossfade(*init, settings=bare)
    assert (status, "nothing would be lost" in stdout) == (0, True)
    mapping_file, folder = out / "compat.toml", out / "migrations"

    status, _, stderr = crossfade(*init, settings=bare)
    assert (status, stderr.count("exists already: give --force")) == (2, 5)
    mapping_file.write_text("spoilt")
    status, _, _ = crossfade(*init, "--force", settings=bare)
    assert (status, "[columns]" in mapping_file.read_text()) == (0, True)

    assert lint(folder) == (0, "")

    settings = write_settings(tmp_path, filled, dsql_database, mapping_file)
    assert crossfade("check", settings=settings)[0] == 0
    assert crossfade("migrate", "--folder", str(folder), settings=settings)[0] == 0
    status, stdout, _ = crossfade("preflight", "--migrations", str(folder), "--json", settings=settings)
    assert (status, json.loads(stdout)["items"]) == (0, ITEMS)

    mapping = load(mapping_file).mapping
    pool = open_dsn_pool(dsql_database, maximum=2)
    try:
        store = DSQLStore(pool, {real.TABLE: mapping}.__getitem__)
        for item in some[:200]:
            key = SCHEMA.key_of(item)
            assert await store.put(key, item, StoredItem(None)) is not None
            assert (await store.get(key)).item == store.image(key, item)[0]
    finally:
        pool.terminate()
    assert await used_indexes(mapping, some[:200], database) == {
        name: {served.sql_index} for name, served in mapping.indexes.items()
    }


async def used_indexes(mapping: ColumnMapping, held: list[dict[str, Any]], dsn: str) -> dict[str, set[str]]:
    """The SQL indexes that PostgreSQL reads for a Query of each of DynamoDB's, if it may not read the whole table; and
    "(sorted)" where the order is not the index's."""
    statements = Statements("public", mapping)
    found = {}
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        for name, index in SCHEMA.indexes.items():
            span = mapping.span(index)
            item = next(each for each in held if SCHEMA.in_index(index, each))
            values = span.hash_values([item[name] for name in index.hashes])
            assert values is not None
            sql = statements.range(span, len(values), (), cursor=False, descending=True)
            rows = await connection.fetch(f"EXPLAIN {sql}", *values[0], 10)
            text = "\n".join(str(row[0]) for row in rows)
            found[name] = {*re.findall(r"using (\S+) on", text), *(["(sorted)"] if "Sort" in text else [])}
    finally:
        await connection.close()
    return found


def test_a_draft_from_a_part_holds_all_the_real_data(items: list[dict[str, Any]]) -> None:
    drafted = draft_mapping(SCHEMA, items[::20])
    assert (drafted.key, drafted.type_attribute) == ("key", "kind")
    assert {name: each.template for name, each in drafted.composites.items()} == {
        "key": "{kind}#{path}",
        "kind:area": "{kind}:{area}",
    }
    mapped = parse(tomllib.loads(render_toml(drafted)), "compat.toml")
    with CrossItemChecks() as census:
        preflight = Preflight(mapped.mapping, SCHEMA, census, mapped.references)
        preflight.check_items(items)
        report = preflight.report(values=True)
    assert (report.items, report.losses) == (len(items), ())
    [lists] = report.findings
    # Some specifications are lists: they stay in the JSON, and preflight says how many.
    assert (str(lists.kind), lists.attribute) == ("aside", "spec_url")
    assert lists.items == sum("L" in item.get("spec_url", {}) for item in items) > 100


def test_an_empty_table_and_a_missing_one(dynamodb: str, dsql_database: str, tmp_path: Path) -> None:
    settings = write_settings(tmp_path, dynamodb, dsql_database)
    init = ("mapping", "init", "--table", real.TABLE, "--out", str(tmp_path / "out"))
    status, _, stderr = crossfade(*init, settings=settings)
    assert (status, "DynamoDB has no table 'compat'" in stderr) == (2, True)
    dynamodb_client(dynamodb).create_table(**real.table_definition())
    assert crossfade(*init, settings=settings)[0] == 0
    [table, *indexes] = read_folder(tmp_path / "out" / "migrations")
    assert "CREATE TABLE" in table.statements[0]
    assert len(indexes) == len(real.INDEXES)
