"""`crossfade mapping export` with real ORMs: drizzle-kit, drizzle-orm and TypeScript; SQLAlchemy with DSQL's dialect.

What they make of the exported schema is the table that the migrations make; and the plan's new code, written over it,
and the old code beside it in `live`, read what the other writes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import create_engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from proxy.mapping.load import load
from tests.integration.forked import Ran, crossfade
from tests.integration.scenes import CONFIG, billio_rows, run_sql, scene
from tests.node_clients import FOLDER, drizzle, dynamoose, package_command
from tests.standins.billio import TABLE, billio_table
from tests.standins.postgres import Postgres

BILLIO = CONFIG / "billio.toml"
SHIPPED = FOLDER / "drizzle" / "schema.ts"
COLUMNS = """
SELECT column_name AS name, data_type AS type, numeric_precision AS digits, numeric_scale AS scale,
       character_maximum_length AS length, is_nullable AS nullable
FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position
"""
INDEXES = """
SELECT i.relname AS name, array_agg(a.attname::text ORDER BY k.place) AS columns
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid,
     unnest(x.indkey) WITH ORDINALITY AS k (number, place), pg_attribute a
WHERE t.relname = $1 AND a.attrelid = t.oid AND a.attnum = k.number AND NOT x.indisprimary GROUP BY i.relname
"""
# Names and types that a mapping may have, and that TypeScript, Python and SQL each take for something else.
AWKWARD = """
table = "Awk`ward ${x}"
sql_table = "select"
json_column = "class"
type_attribute = "kind"
[key]
columns = ["where", "in"]
[columns]
where = { attribute = "wh\\"ere", type = "text" }
in = { attribute = "2nd", type = "text", holds = "B" }
kind = { type = "varchar(20)" }
n16 = { type = "smallint" }
n32 = { type = "integer" }
n64 = { type = "bigint" }
exact = { type = "numeric(38,10)" }
yes = { type = "boolean" }
raw = { type = "bytea" }
uid = { type = "uuid" }
"at" = { type = "timestamptz" }
"only `here`" = { attribute = "metadata", type = "text", only = ["A'b", "C`d${e}"] }
[indexes."by \\n kind"]
hash = "kind"
range = ["n64", "at"]
sql_index = "idx`1"
[types."A'b"]
"free text" = "string"
"set" = "set"
[types."*"]
picture = "image"
"""


def exported(form: str, folder: Path, mapping: Path = BILLIO, *more: str) -> Ran:
    words = ("mapping", "export", "--format", form, *more)
    return crossfade(*words, environment={"CROSSFADE_MAPPINGS": str(mapping)}, folder=folder)


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    path = tmp_path / "awkward.toml"
    path.write_text(AWKWARD, "utf-8")
    return path


@pytest.fixture
def other(postgres: Postgres) -> Iterator[str]:
    """A second database, for what the ORMs make."""
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


def described(dsn: str, table: str) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    columns = [dict(each) for each in asyncio.run(run_sql(dsn, COLUMNS, table))]
    return columns, {each["name"]: each["columns"] for each in asyncio.run(run_sql(dsn, INDEXES, table))}


def assert_as_migrated(made: str, migrated: str) -> None:
    """What was made is what the migrations make, but for the indexes that serve none of DynamoDB's."""
    columns, indexes = described(made, "items")
    assert columns == described(migrated, "items")[0]
    held = described(migrated, "items")[1]
    assert indexes == {name: held[name] for name in indexes}
    assert indexes.keys() == {each.sql_index for each in load(BILLIO).mapping.indexes.values()}


def loaded(text: str, folder: Path) -> ModuleType:
    path = folder / "exported_model.py"
    path.write_text(text, "utf-8")
    spec = spec_from_file_location("exported_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_beside_the_new_code_is_what_is_exported(tmp_path: Path) -> None:
    ran = exported("drizzle", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == SHIPPED.read_text("utf-8")
    written = exported("drizzle", tmp_path, BILLIO, "--out", "schema.ts")
    assert written.code == 0
    assert (tmp_path / "schema.ts").read_text("utf-8") == ran.out


def test_the_new_code_is_typed() -> None:
    subprocess.run(package_command("tsc", "-p", "drizzle"), cwd=FOLDER, check=True, timeout=300)


def _drizzle_kit(schema: Path) -> str:
    words = package_command("drizzle-kit", "export", "--dialect", "postgresql", "--schema", str(schema))
    done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_drizzle_kit_makes_the_migrations_table(dsql_database: str, database: str, other: str) -> None:
    billio_rows(dsql_database)
    asyncio.run(_run_script(other, _drizzle_kit(SHIPPED)))
    assert_as_migrated(other, database)


def test_sqlalchemy_makes_the_migrations_table(dsql_database: str, database: str, other: str, tmp_path: Path) -> None:
    billio_rows(dsql_database)
    model = loaded(exported("sqlalchemy", tmp_path).out, tmp_path)
    engine = create_engine(other.replace("postgresql://", "postgresql+psycopg://"))
    model.Base.metadata.create_all(engine)
    engine.dispose()
    assert_as_migrated(other, database)


def test_the_sql_is_dsqls_and_makes_the_migrations_table(
    dsql_gate: Any, dsql_database: str, database: str, other: str, tmp_path: Path
) -> None:
    billio_rows(dsql_database)
    asyncio.run(_run_statements(dsql_gate.dsn(other.rsplit("/", 1)[1]), exported("sql", tmp_path).out))
    assert_as_migrated(other, database)


def test_a_session_of_dsqls_dialect_reads_and_writes_what_the_proxy_does(
    dynamodb: str, dsql_database: str, database: str, tmp_path: Path
) -> None:
    """SQLAlchemy with AWS's dialect, at the gate; the connector's IAM token is all that is left out."""
    model = loaded(exported("sqlalchemy", tmp_path).out, tmp_path)
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as here:
        client = here.client()
        book = {"type": {"S": "Book"}, "id": {"S": "b1"}, "type:id": {"S": "Book:b1"}, "movedAt": {"N": "86400000"}}
        client.put_item(TableName=TABLE, Item={**book, "rating": {"N": "8.5"}, "author": {"S": "Le Guin"}})
        engine = create_engine(dsql_database.replace("postgresql://", "auroradsql+psycopg://"))

        def retitle() -> None:
            with Session(engine) as session:
                row = session.scalars(select(model.ItemsRow).where(model.ItemsRow.id == "b1")).one()
                assert (str(row.rating), row.moved_at) == ("8.500", datetime(1970, 1, 2, tzinfo=UTC))
                assert row.data == {"author": "Le Guin"}
                row.title = "The Dispossessed"
                session.commit()

        _retried(retitle)
        engine.dispose()
        assert client.get_item(TableName=TABLE, Key={"type:id": {"S": "Book:b1"}})["Item"]["title"] == {
            "S": "The Dispossessed"
        }


def _retried(run: Callable[[], None]) -> None:
    """As an application on DSQL must: a session may meet another's change of the schema at its first statement."""
    for _ in range(10):
        try:
            run()
        except OperationalError as error:
            if "OC00" not in str(error):
                raise
        else:
            return
    raise AssertionError("each of ten attempts met a conflict")


def _key(item: dict[str, Any]) -> str:
    return f"{item['type']}:{item['id']}"


def test_old_and_new_code_read_what_the_other_writes(dynamodb: str, dsql_database: str, database: str) -> None:
    """Dynamoose through the proxy in `live`, and Drizzle at DSQL: every type, every query of the plan."""
    day = 86_400_000
    kinds: dict[str, dict[str, Any]] = {
        "Book": {"author": "Le Guin", "reread": False},
        "VideoGame": {"platforms": ["PC"], "devices": ["Deck"], "hoursPlayed": 50.5, "replay": True},
        "Feature": {"releaseYear": "2023", "rewatch": False},
        "TvSeries": {"releaseYear": "2020"},
        "TvSeason": {"seasonTitle": "One", "releaseYear": "2020", "rewatch": True},
    }

    def old_item(kind: str, number: int) -> dict[str, Any]:
        item: dict[str, Any] = {
            "type": kind,
            "id": f"{kind}-{number}",
            "shelf": "A" if number % 2 else "B",
            "title": f"T% {number}",
        }
        item |= {"movedAt": number * day, "addedAt": (9 - number) * day, "rating": number + 0.5, **kinds[kind]}
        item |= {"image": {"url": "https://images.example/1", "width": 1, "height": 2}, "externalId": f"x:{number}"}
        item |= {"type:id": _key(item), "type:shelf": f"{kind}:{item['shelf']}"}
        return item | ({"seriesId": "TvSeries-1", "seasonNumber": 5 - number} if kind == "TvSeason" else {})

    old = [old_item(kind, number) for kind in kinds for number in (1, 2, 3)]
    new = [{**each, "id": f"new-{each['id']}"} for each in old]
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as here:

        def asked_old(*commands: dict[str, Any]) -> list[Any]:
            return [each["ok"] for each in dynamoose(here.proxy.data, TABLE, list(commands))]

        def asked_new(*commands: list[Any]) -> list[Any]:
            told = drizzle(dsql_database, list(commands))
            assert all("ok" in each for each in told), told
            return [each["ok"] for each in told]

        asked_old(*({"do": "create", "item": each} for each in old))
        asked_new(*(["createItem", _row(each)] for each in new))

        rows = asked_new(*(["withId", {"type": each["type"], "id": each["id"]}] for each in old))
        assert rows == [_shown_row(each) for each in old]
        items = asked_old(*({"do": "get", "key": _key(each)} for each in new))
        assert items == [{**each, "type:id": _key(each)} for each in new]

        # The old code's queries and the new code's, on what both have written.
        asked: list[tuple[dict[str, Any], list[Any]]] = []
        for kind in kinds:
            down: dict[str, Any] = {"do": "page", "sort": "descending", "where": [["type", "eq", kind]]}
            shelved = [["type:shelf", "eq", f"{kind}:A"]]
            asked += [
                (down | {"index": "type"}, ["ofType", kind, {"first": 50}]),
                (down | {"index": "type-addedAt"}, ["ofType", kind, {"first": 50, "sortBy": "ADDED_AT"}]),
                (down | {"index": "shelf", "where": shelved}, ["onShelf", kind, "A", {"first": 50}]),
            ]
        of_series: dict[str, Any] = {"do": "page", "index": "seriesId", "where": [["seriesId", "eq", "TvSeries-1"]]}
        asked.append((of_series, ["withSeriesId", "TvSeries-1"]))
        pages = asked_old(*(each for each, _ in asked))
        *listed, external, filtered, first, watching = asked_new(
            *(each for _, each in asked),
            ["withExternalId", "x:2"],
            ["ofType", "Book", {"first": 9, "searchTerm": "t% 3", "startDate": 2 * day, "minRating": 3}],
            ["ofType", "Book", {"first": 4}],
            ["forWatching", {"first": 3}],
        )
        for page, found in zip(pages, listed, strict=True):
            assert [each["type:id"] for each in page["items"]] == list(map(_key, found))
            assert len(found) >= 4
        assert {_key(each) for each in external} == {_key(each) for each in (*old, *new) if each["externalId"] == "x:2"}
        assert {each["id"] for each in filtered} == {"Book-3", "new-Book-3"}
        assert {each["type"] for each in watching} == {"Feature", "TvSeries"}
        last = first[-1]
        after = {"moment": _milliseconds(last["movedAt"]), "id": last["id"]}

        # Each changes and deletes what the other made.
        change = {"rating": 9.125, "data": {"reread": True}}
        rest, changed, deleted, absent = asked_new(
            ["ofType", "Book", {"first": 4, "after": after}],
            ["updateItem", change, {"type": "Book", "id": "Book-1"}],
            ["deleteItem", {"type": "Book", "id": "Book-2"}],
            ["deleteItem", {"type": "Book", "id": "nowhere"}],
        )
        assert {_key(each) for each in (*first, *rest)} == {
            _key(each) for each in (*old, *new) if each["type"] == "Book"
        }
        assert (changed["data"]["author"], deleted, absent) == ("Le Guin", True, False)
        seen, gone, _ = asked_old(
            {"do": "get", "key": "Book:Book-1"},
            {"do": "get", "key": "Book:Book-2"},
            {"do": "update", "key": "Book:new-Book-1", "change": {"notes": "é 🎉"}},
        )
        assert (seen["rating"], seen["reread"], seen["author"], gone) == (9.125, True, "Le Guin", None)
        (row,) = asked_new(["withId", {"type": "Book", "id": "new-Book-1"}])
        assert row["notes"] == "é 🎉"


@pytest.mark.parametrize("form", ["drizzle", "sqlalchemy", "sql", "json-schema"])
def test_awkward_names_and_every_type(
    form: str, awkward: Path, tmp_path: Path, other: str, dsql_gate: Any, request: pytest.FixtureRequest
) -> None:
    ran = exported(form, tmp_path, awkward)
    assert (ran.code, ran.err) == (0, "")
    wanted = ["where", "in", "kind", "n16", "n32", "n64", "exact", "yes", "raw", "uid", "at", "only `here`", "class"]
    if form == "json-schema":
        schema = json.loads(ran.out)
        Draft202012Validator.check_schema(schema)
        row = {"where": "w", "in": "-", "kind": "A'b", "class": {"free text": "x", "set": {"$SS": ["a"]}}}
        assert list(Draft202012Validator(schema).iter_errors(row)) == []
        for broken in ({"n16": 40_000}, {"class": {"free text": 5}}, {"where": None}, {"unknown": 1}, {"exact": 1.5}):
            assert list(Draft202012Validator(schema).iter_errors(row | broken)) != []
        return
    if form == "drizzle":
        # Beside the packages that it imports.
        folder = FOLDER / "drizzle" / f"made-{tmp_path.name}"
        folder.mkdir()
        request.addfinalizer(lambda: shutil.rmtree(folder))
        (folder / "schema.ts").write_text(ran.out, "utf-8")
        subprocess.run(
            package_command(
                "tsc",
                "--noEmit",
                "--strict",
                "--skipLibCheck",
                "--module",
                "preserve",
                "--target",
                "es2022",
                str(folder / "schema.ts"),
            ),
            cwd=FOLDER,
            check=True,
            timeout=300,
        )
        asyncio.run(_run_script(other, _drizzle_kit(folder / "schema.ts")))
    elif form == "sqlalchemy":
        engine = create_engine(other.replace("postgresql://", "postgresql+psycopg://"))
        loaded(ran.out, tmp_path).Base.metadata.create_all(engine)
        engine.dispose()
    else:
        asyncio.run(_run_statements(dsql_gate.dsn(other.rsplit("/", 1)[1]), ran.out))
    columns, indexes = described(other, "select")
    assert [each["name"] for each in columns] == wanted
    assert {each["name"] for each in columns if each["nullable"] == "NO"} == {"where", "in", "class"}
    assert indexes == {"idx`1": ["kind", "n64", "at", "where", "in"]}


@pytest.mark.parametrize(
    ("mappings", "more", "said"),
    [
        (BILLIO, ("--table", "bilio"), "did you mean 'billio'?"),
        (CONFIG / "billio-plan.toml", (), "literal mapping"),
        (BILLIO, ("--out", "no/such/folder.ts"), "give an --out that can be written"),
    ],
)
def test_what_cannot_be_exported_is_named(mappings: Path, more: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ran = exported("drizzle", tmp_path, mappings, *more)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_one_of_several_tables_must_be_named(awkward: Path, tmp_path: Path) -> None:
    config = tmp_path / "crossfade.toml"
    config.write_text(f'mappings = ["{BILLIO}", "{awkward}"]\n', "utf-8")
    words = ("mapping", "export", "--format", "sql", "--config", str(config))
    ran = crossfade(*words, environment={}, folder=tmp_path)
    assert ran.code == 2
    assert "--table: several tables have a mapping" in ran.err
    assert crossfade(*words, "--table", "billio", environment={}, folder=tmp_path).code == 0


async def _run_script(dsn: str, script: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


async def _run_statements(dsn: str, script: str) -> None:
    """One statement at a time, as DSQL takes DDL."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in script.split(";\n"):
            if statement.strip():
                await connection.execute(statement)
    finally:
        await connection.close()


_COLUMNS = ("type", "id", "shelf", "title", "rating", "externalId", "notes", "addedAt", "movedAt")
_OTHERS = ("category", "seriesId", "seasonNumber")


def _row(item: dict[str, Any]) -> dict[str, Any]:
    """An item as the new code creates it."""
    row = {name: item[name] for name in (*_COLUMNS, *_OTHERS) if name in item}
    if "seasonNumber" in row:
        row["seasonNumber"] = str(row["seasonNumber"])
    held = {"type:id", "type:shelf", *row}
    return row | {"data": {name: value for name, value in item.items() if name not in held}}


def _shown_row(item: dict[str, Any]) -> dict[str, Any]:
    """The row of an item as the new code reads it, and JSON shows it."""
    row = dict.fromkeys((*_COLUMNS, *_OTHERS)) | _row(item)
    for name in ("movedAt", "addedAt"):
        row[name] = datetime.fromtimestamp(item[name] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    if row["seasonNumber"] is not None:
        row["seasonNumber"] = f"{row['seasonNumber']}.0000"
    return row


def _milliseconds(shown: str) -> int:
    return int(datetime.fromisoformat(shown).timestamp() * 1000)
