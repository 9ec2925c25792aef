"""DSQL says who is the truth: whoever believes otherwise is refused, and lowers nothing (L3).

An installation has finished its cutover. Then come strays over the same stores: with a mistyped stage table, with none,
with the configuration of staging; and processes of the installation itself on a second database, an emptied one, and a
restored backup.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from botocore.exceptions import ClientError

from tests.integration.forked import Ran
from tests.integration.forked import crossfade as command
from tests.integration.scenes import CONFIG, SETTLE_SECONDS, Scene, billio_rows, insist, run_sql, swept, wait_until
from tests.integration.test_stage_moves import EASY, STAGES, ask, moved, moving, use
from tests.integration.test_stages import BOOKS, GAMES, item
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, billio_table, dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.postgres import Postgres
from tests.standins.processes import StandinError

LEASE = 4.0
HERE = STAGES.format(LEASE)
MISTYPED = HERE.replace("crossfade_stages", "crossfade_stagse")
QUICK = {f"CROSSFADE_{store}__SETTLE_SECONDS": str(SETTLE_SECONDS) for store in ("DYNAMODB", "DSQL")}
REWRITTEN = {**item(BOOKS[0]), "title": {"S": "Written past the flip"}}


@contextlib.contextmanager
def finished(dynamodb: str, database: str, dsql: str, stage: str = "complete") -> Iterator[Scene]:
    """An installation past its flip, in which DynamoDB is behind: BOOKS[0] was rewritten, and GAMES[0] deleted."""
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql, lease_seconds=LEASE) as here:
        use(here)
        for to in ("live", stage) if stage != "live" else ("live",):
            moved(here, TABLE, {"stage": to, "force": True, "because": "a test"})
        client = here.client(attempts=10)
        client.put_item(TableName=TABLE, Item=REWRITTEN)
        client.delete_item(TableName=TABLE, Key=GAMES[0])
        yield here


def still_true(here: Scene) -> None:
    """What was acknowledged past the flip is there."""
    client = here.client(attempts=10)
    assert client.get_item(TableName=TABLE, Key=BOOKS[0], ConsistentRead=True)["Item"]["title"] == REWRITTEN["title"]
    assert "Item" not in client.get_item(TableName=TABLE, Key=GAMES[0], ConsistentRead=True)


@contextlib.contextmanager
def stray(dynamodb: str, dsql: str, *, stage: str = "shadow", extra: str = "") -> Iterator[ProxyProcess]:
    """A proxy that need not get ready."""
    proxy = ProxyProcess(
        dynamodb=dynamodb, dsql=dsql, mappings=[CONFIG / "billio.toml"], stage=stage, environment=QUICK, extra=extra
    )
    try:
        yield proxy.start(ready=False)
    finally:
        proxy.stop()


def reasons(proxy: ProxyProcess) -> str:
    """Why it is not ready, once it has said so."""

    def ask_it() -> str:
        try:
            proxy._get("/readyz")
        except StandinError as error:
            return str(error)
        return ""

    return insist(ask_it, lambda said: "crossfade_authority" in said, 60)


def refused(proxy: ProxyProcess, *words: str) -> None:
    """It is not ready, serves nothing that is DSQL's, and says why: on its port, in its status, and to its clients."""
    said = reasons(proxy)
    for word in (*words, "crossfade stage adopt --because"):
        assert word in said
    status = proxy.status()["authority"]
    assert not status["agrees"]
    assert words[0] in " ".join(status["problems"])
    client = dynamodb_client(proxy.data)
    calls = (
        functools.partial(client.get_item, TableName=TABLE, Key=BOOKS[0]),
        functools.partial(client.put_item, TableName=TABLE, Item=item(BOOKS[1])),
        functools.partial(client.query, TableName=TABLE, IndexName="type", **_BOOKS),
    )
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503, "SDKs try it again"
        assert words[0] in caught.value.response["Error"]["Message"]


_BOOKS: dict[str, Any] = {
    "KeyConditionExpression": "#t = :t",
    "ExpressionAttributeNames": {"#t": "type"},
    "ExpressionAttributeValues": {":t": {"S": "Book"}},
}


@pytest.mark.parametrize("stage", ["live", "complete"])
def test_a_stray_proxy_is_refused(stage: str, dynamodb: str, database: str, dsql_database: str) -> None:
    with finished(dynamodb, database, dsql_database, stage) as here:
        with stray(dynamodb, dsql_database, extra=MISTYPED) as proxy:
            refused(proxy, "another installation", "'crossfade_stages'", "'crossfade_stagse'")
        with stray(dynamodb, dsql_database) as proxy:
            refused(proxy, "name no stage table", "set table in [stages] to 'crossfade_stages'")
        with stray(dynamodb, dsql_database, stage="off") as proxy:
            refused(proxy, "DSQL is the authority for", "stage off")
        here.proxy.settle()
        still_true(here)
        assert here.proxy.ready()


def crossfade(here: Scene, folder: Path, *words: str, stages: str = "", stage: str = "shadow", dsql: str = "") -> Ran:
    """The command with the proxy's settings, but for its stages."""
    text = (here.proxy.log_file.parent / "crossfade.toml").read_text().replace(HERE, stages)
    text = text.replace('stage = "shadow"', f'stage = "{stage}"', 1)
    config = folder / "crossfade.toml"
    config.write_text(text.replace(dsql and here_dsn(text), dsql) if dsql else text)
    return command(*words, "--config", str(config), environment=QUICK, folder=folder)


def here_dsn(text: str) -> str:
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("dsn = "))


@pytest.mark.parametrize("stages", ["", MISTYPED], ids=["no stage table", "a mistyped stage table"])
def test_commands_that_write_a_mirror_are_refused(
    stages: str, dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    with finished(dynamodb, database, dsql_database) as here:
        for words in (("backfill", "--table", TABLE), ("verify", "--table", TABLE, "--repair")):
            ran = crossfade(here, tmp_path, *words, "--quiet", stages=stages)
            assert ran.code == 1, ran
            assert "crossfade_authority" in ran.err
            assert "crossfade stage adopt --because" in ran.err
            assert "Traceback" not in ran.err
        still_true(here)


def record(dsn: str) -> list[asyncpg.Record]:
    import asyncio

    return asyncio.run(run_sql(dsn, "SELECT * FROM crossfade_authority ORDER BY scope"))


def sql(dsn: str, statement: str) -> None:
    import asyncio

    asyncio.run(run_sql(dsn, statement))


@pytest.fixture
def second(postgres: Postgres, dsql_gate: Dsql) -> Iterator[tuple[str, str]]:
    """Another database: past the gate, and through it."""
    dsn = postgres.create_database()
    billio_rows(dsn)
    yield dsn, dsql_gate.dsn(dsn.rsplit("/", 1)[1])
    postgres.drop_database(dsn)


def backup(source: str, target: str) -> None:
    """What a backup keeps of the record, restored."""

    async def copy() -> None:
        rows = await run_sql(source, "SELECT * FROM crossfade_authority")
        connection = await asyncpg.connect(target)
        with contextlib.suppress(asyncpg.DuplicateTableError):
            from proxy.stores.dsql.system_tables.authority_record import AuthorityTable

            for statement in AuthorityTable(None, "public", seconds=1).definitions:  # type: ignore[arg-type]
                await connection.execute(statement)
        await connection.execute("DELETE FROM crossfade_authority")
        for row in rows:
            places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
            await connection.execute(f"INSERT INTO crossfade_authority VALUES ({places})", *row.values())
        await connection.close()

    import asyncio

    asyncio.run(copy())


def test_another_database_is_refused(
    dynamodb: str, database: str, dsql_database: str, second: tuple[str, str], tmp_path: Path
) -> None:
    """A second one, an emptied one, and backups of before, within and after the flip."""
    copy, gated = second
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database, lease_seconds=LEASE) as here:
        use(here)
        early = [dict(row) for row in record(database)]
        moved(here, TABLE, {"stage": "live", "force": True, "because": "a test"})
        client = here.client(attempts=10)
        client.put_item(TableName=TABLE, Item=REWRITTEN)
        client.delete_item(TableName=TABLE, Key=GAMES[0])
        wait_until(lambda: record(database)[1]["authority"] == "dsql", 30, "the flip to be recorded")
        assert [row["scope"] for row in early] == ["", TABLE]
        assert early[1]["authority"] == "dynamodb"

        with stray(dynamodb, gated, extra=HERE) as proxy:
            refused(proxy, "this database has none", "[dsql]")
            assert here.proxy.ready(), "the odd one is told from the others"
        backup(database, copy)
        sql(copy, "UPDATE crossfade_authority SET database_id = 'another' WHERE scope = ''")
        with stray(dynamodb, gated, extra=HERE) as proxy:
            refused(proxy, "this one is another", "[dsql]")
        for change in (
            f"UPDATE crossfade_authority SET authority = 'dynamodb', epoch = 0 WHERE scope = '{TABLE}'",
            "UPDATE crossfade_authority SET pulse = pulse - 1 WHERE scope = ''",
        ):
            backup(database, copy)
            sql(copy, change)
            with stray(dynamodb, gated, extra=HERE) as proxy:
                refused(proxy, "restored backup", "[dsql]")
        still_true(here)
        here.assert_equal()


def test_the_configuration_of_staging_is_refused(
    dynamodb: str, database: str, dsql_database: str, second: tuple[str, str]
) -> None:
    """Staging has a stage table and a database of its own; its settings are copied with production's DSQL in them."""
    copy, gated = second
    staging = HERE.replace("crossfade_stages", "staging_stages")
    with finished(dynamodb, database, dsql_database) as here:
        with stray(dynamodb, gated, extra=staging) as proxy:
            wait_until(proxy.ready, 60, "staging to be at work")
            wait_until(lambda: bool(record(copy)), 60, "staging to be paired")
        with stray(dynamodb, dsql_database, extra=staging) as proxy:
            refused(proxy, "another installation", "'staging_stages' is paired with another")
        still_true(here)


def test_a_proxy_whose_dynamodb_is_the_truth_serves_clients_and_writes_no_mirror(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    """Before the flip: a mirror must never hurt, whoever's it is."""
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database, lease_seconds=LEASE) as here:
        use(here)
        here.assert_equal()
        with stray(dynamodb, dsql_database, extra=MISTYPED) as proxy:
            assert "another installation" in reasons(proxy)
            client = dynamodb_client(proxy.data)
            client.put_item(TableName=TABLE, Item=REWRITTEN)
            got = client.get_item(TableName=TABLE, Key=BOOKS[0], ConsistentRead=True)["Item"]
            assert got["title"] == REWRITTEN["title"]
            assert proxy.status()["journal"]["keys"] == 1, "it waits in the journal of the stray"
        here.client(attempts=10).get_item(TableName=TABLE, Key=BOOKS[0])


def test_stages_pinned_by_settings_may_not_contradict_each_other(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    with stray(dynamodb, dsql_database, stage="live") as proxy:
        wait_until(proxy.ready, 60, "the first to be at work")
        dynamodb_client(proxy.data).put_item(TableName=TABLE, Item=REWRITTEN)
        with stray(dynamodb, dsql_database, stage="shadow") as other:
            refused(other, "DSQL is the authority for", "the settings here say DynamoDB (stage shadow)")
        with stray(dynamodb, dsql_database, stage="rampdown") as other:
            wait_until(other.ready, 60, "another that agrees")
        got = dynamodb_client(proxy.data).get_item(TableName=TABLE, Key=BOOKS[0])
        assert got["Item"]["title"] == REWRITTEN["title"]


def impossible(here: Scene) -> Any:
    return ask(here, "GET", f"/v1/gate/{TABLE}?to=live", token=None).json["impossible"]


def test_a_take_over_is_deliberate_and_in_the_history(
    dynamodb: str, database: str, dsql_database: str, second: tuple[str, str], tmp_path: Path
) -> None:
    copy, gated = second
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database, lease_seconds=LEASE) as here:
        use(here)
        without = crossfade(here, tmp_path, "stage", "adopt", stages=HERE, dsql=gated)
        assert without.code == 2
        assert "--because" in without.err
        assert not here.proxy.run("stage").returncode

        done = crossfade(here, tmp_path, "stage", "adopt", "--because", "it moves", stages=HERE, dsql=gated)
        assert done.code == 0, done
        assert "belong together from now on" in done.out
        assert "Every era has ended" in done.out
        assert [row["scope"] for row in record(copy)] == ["", TABLE]
        assert record(copy)[0]["because"] == "it moves"

        # The one that still has the database of before is told at its next look, and writes no more to it.
        assert "belongs to another installation" in reasons(here.proxy)
        with stray(dynamodb, gated, extra=HERE + EASY) as proxy:
            wait_until(proxy.ready, 60, "the one with the new database to be at work")
            dynamodb_client(proxy.data).put_item(TableName=TABLE, Item=REWRITTEN)
            proxy.settle()
            assert proxy.status()["authority"]["agrees"]
            moved_on = Scene(proxy, dynamodb, copy)
            swept(copy)
            wait_until(lambda: "no sweep" not in str(impossible(moved_on)), 60, "the sweep of before to be seen")
            assert "the database was adopted" in impossible(moved_on)
        history = crossfade(here, tmp_path, "history", stages=HERE)
        assert "DSQL database adopted, every era ended" in history.out
        assert "because it moves" in history.out
