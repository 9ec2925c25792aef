"""PartiQL through a proxy: carried out as the operations that its statements are, in every stage, and by DSQL alone.

What a statement does and answers is DynamoDB's, by its pages ("PartiQL reference for DynamoDB") and by what AWS has
been recorded to answer (dynamodb-conformance, tiers 2 and 3, partiql). ministack is asked the same where it is right.
"""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.scenes import Scene, scene
from tests.standins.billio import dynamodb_client
from tests.standins.processes import free_port

TABLE = "music"
FOLLOW = {"CROSSFADE_FOLLOW_TABLES": "true"}
KEY = "WHERE artist = 'a' AND song = 1"
MANDATORY = "Where clause does not contain a mandatory equality on all key attributes"

# One statement after the other: with its parameters, the items it answers or the code of its refusal.
STORY: list[tuple[str, list[Any], list[dict[str, Any]] | str]] = [
    (f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'a', 'song': 1, 'n': 1, 'tags': <<'x'>>}}", [], []),
    (f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'a', 'song': 1}}", [], "DuplicateItemException"),
    (f"INSERT INTO \"{TABLE}\" VALUE {{'artist': ?, 'song': ?, 'l': ['p']}}", [{"S": "a"}, {"N": "2"}], []),
    (f'SELECT n FROM "{TABLE}" {KEY}', [], [{"n": {"N": "1"}}]),
    (f'UPDATE "{TABLE}" SET n = n + 1 SET extra = ? {KEY}', [{"S": "e"}], []),
    (f'UPDATE "{TABLE}" REMOVE extra {KEY} AND n = 2 RETURNING MODIFIED OLD *', [], [{"extra": {"S": "e"}}]),
    (f'UPDATE "{TABLE}" SET n = 9 {KEY} AND n = 1', [], "ConditionalCheckFailedException"),
    (f"UPDATE \"{TABLE}\" SET n = 1 WHERE artist = 'nobody' AND song = 1", [], "ConditionalCheckFailedException"),
    (f"UPDATE \"{TABLE}\" SET tags = set_add(tags, <<'y'>>) {KEY}", [], []),
    (f"UPDATE \"{TABLE}\" SET tags = set_delete(tags, <<'x'>>) {KEY}", [], []),
    (f'SELECT tags FROM "{TABLE}" {KEY}', [], [{"tags": {"SS": ["y"]}}]),
    (f"FROM \"{TABLE}\" WHERE artist = 'a' AND song = 2 SET l[1] = 'q'", [], []),
    (f"SELECT l FROM \"{TABLE}\" WHERE artist = 'a' AND song = 2", [], [{"l": {"L": [{"S": "p"}, {"S": "q"}]}}]),
    (f"SELECT song FROM \"{TABLE}\" WHERE artist = 'a' AND song > 1", [], [{"song": {"N": "2"}}]),
    (
        f"SELECT song FROM \"{TABLE}\" WHERE artist = 'a' ORDER BY song DESC",
        [],
        [{"song": {"N": "2"}}, {"song": {"N": "1"}}],
    ),
    (f"SELECT song FROM \"{TABLE}\" WHERE artist IN ['b', 'a'] AND n IS NOT MISSING", [], [{"song": {"N": "1"}}]),
    (f'SELECT song FROM "{TABLE}" WHERE n = 2', [], [{"song": {"N": "1"}}]),
    (f'SELECT song FROM "{TABLE}"."by-n" WHERE n = 2', [], [{"song": {"N": "1"}}]),
    (f'SELECT song FROM "{TABLE}"."nowhere" WHERE n = 2', [], "ValidationException"),
    ('SELECT * FROM "no-such-table" WHERE a = 1', [], "ResourceNotFoundException"),
    (f'SLECT * FROM "{TABLE}"', [], "ValidationException"),
    (f"DELETE FROM \"{TABLE}\" WHERE artist = 'nobody' AND song = 1", [], []),
    (f'DELETE FROM "{TABLE}" {KEY} AND n = 7', [], "ConditionalCheckFailedException"),
    (f"DELETE FROM \"{TABLE}\" WHERE artist = 'a'", [], "ValidationException"),
    (
        f"DELETE FROM \"{TABLE}\" WHERE artist = 'a' AND song = 2 RETURNING ALL OLD *",
        [],
        [{"artist": {"S": "a"}, "song": {"N": "2"}, "l": {"L": [{"S": "p"}, {"S": "q"}]}}],
    ),
]


def make_table(endpoint: str) -> None:
    dynamodb_client(endpoint).create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "artist", "KeyType": "HASH"}, {"AttributeName": "song", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "artist", "AttributeType": "S"},
            {"AttributeName": "song", "AttributeType": "N"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-n",
                "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def refusal(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        call()
    return dict(refused.value.response)


def run(client: Any, statement: str, parameters: Any = (), **more: Any) -> Any:
    return client.execute_statement(Statement=statement, **({"Parameters": parameters} if parameters else {}), **more)


def tell(client: Any) -> None:
    for statement, parameters, wanted in STORY:
        if isinstance(wanted, str):
            code = refusal(lambda s=statement, p=parameters: run(client, s, p))["Error"]["Code"]  # type: ignore[misc]
            assert code == wanted, statement
        else:
            assert run(client, statement, parameters)["Items"] == wanted, statement


def fill(client: Any, count: int = 7) -> None:
    for number in range(count):
        run(client, f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'many', 'song': {number}, 'even': {number % 2 == 0}}}")


def assert_pages(client: Any) -> None:
    statement = f"SELECT song FROM \"{TABLE}\" WHERE artist IN ['none', 'many'] AND even = true"
    for limit in (1, 2, 3, 50):
        seen: list[str] = []
        more: dict[str, Any] = {}
        for _ in range(20):
            page = run(client, statement, Limit=limit, **more)
            seen += [item["song"]["N"] for item in page["Items"]]
            if "NextToken" not in page:
                break
            more = {"NextToken": page["NextToken"]}
        assert seen == ["0", "2", "4", "6"], limit
    token = run(client, statement, Limit=1)["NextToken"]
    refused = refusal(lambda: run(client, f'SELECT * FROM "{TABLE}"', NextToken=token))
    assert refused["Error"]["Code"] == "ValidationException"


def assert_batches(client: Any) -> None:
    fill(client, 2)
    statements = [
        {"Statement": f"SELECT song FROM \"{TABLE}\" WHERE artist = 'many' AND song = ?", "Parameters": [{"N": "1"}]},
        {"Statement": f"SELECT * FROM \"{TABLE}\" WHERE artist = 'many'"},
        {"Statement": "SLECT"},
        {"Statement": 'SELECT * FROM "no-such-table" WHERE a = 1'},
        {"Statement": f"SELECT * FROM \"{TABLE}\" WHERE artist = 'nobody' AND song = 1"},
    ]
    found, partial, malformed, absent, nothing = client.batch_execute_statement(Statements=statements)["Responses"]
    assert found == {"TableName": TABLE, "Item": {"song": {"N": "1"}}}
    assert partial["Error"]["Code"] == malformed["Error"]["Code"] == "ValidationError"
    assert "must specify the primary key in the where clause" in partial["Error"]["Message"]
    assert absent["Error"]["Code"] == "ResourceNotFound"
    assert nothing == {"TableName": TABLE}
    key = "WHERE artist = 'many' AND song = 0"
    writes = [
        {"Statement": f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'many', 'song': 1}}"},
        {"Statement": f'UPDATE "{TABLE}" SET n = 5 {key} RETURNING MODIFIED NEW *'},
    ]
    duplicate, updated = client.batch_execute_statement(Statements=writes)["Responses"]
    assert duplicate["Error"]["Code"] == "DuplicateItem"
    assert updated == {"TableName": TABLE, "Item": {"n": {"N": "5"}}}
    refused = refusal(lambda: client.batch_execute_statement(Statements=[*statements, *writes]))
    assert refused["Error"]["Code"] == "ValidationException"


def assert_transactions(client: Any) -> None:
    fill(client, 2)

    def transact(*statements: str, **more: Any) -> Any:
        return client.execute_transaction(TransactStatements=[{"Statement": each} for each in statements], **more)

    zero, one = ("WHERE artist = 'many' AND song = 0", "WHERE artist = 'many' AND song = 1")
    update = f'UPDATE "{TABLE}" SET n = 1 {zero}'
    token = {"ClientRequestToken": "once"}
    for _ in range(2):  # the second is a replay
        added = f'UPDATE "{TABLE}" SET m = 1 {one} AND m IS MISSING'
        assert transact(update, added, **token)["Responses"] == []
    exists = f'EXISTS(SELECT * FROM "{TABLE}" {one} AND m = 1)'
    assert transact(exists, f'UPDATE "{TABLE}" SET n = 2 {zero}')["Responses"] == []
    responses = transact(
        f'SELECT n FROM "{TABLE}" {zero}', f"SELECT n FROM \"{TABLE}\" WHERE artist = 'no' AND song = 1"
    )
    assert responses["Responses"] == [{"Item": {"n": {"N": "2"}}}, {}]
    inserted = f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'many', 'song': 1}}"
    refused = refusal(lambda: transact(f'UPDATE "{TABLE}" SET n = 3 {zero}', inserted))
    assert [reason["Code"] for reason in refused["CancellationReasons"]] == ["None", "DuplicateItem"]
    assert run(client, f'SELECT n FROM "{TABLE}" {zero}')["Items"] == [{"n": {"N": "2"}}]
    for statements, said in (
        ((f"{update} RETURNING ALL NEW *",), "RETURNING clause is not supported in ExecuteTransaction."),
        ((f'SELECT * FROM "{TABLE}"."by-n" WHERE n = 1',), "Reads on indices are not supported within transactions."),
        ((f"SELECT * FROM \"{TABLE}\" WHERE artist = 'many'",), "must specify the primary key in the where clause."),
        ((update, f'SELECT * FROM "{TABLE}" {zero}'), "does not support both read and write operations"),
    ):
        refused = refusal(lambda each=statements: transact(*each))  # type: ignore[misc]
        assert refused["Error"]["Code"] == "ValidationException"
        assert said in refused["Error"]["Message"]


def assert_failed_condition_shows_the_item(client: Any) -> None:
    fill(client, 1)
    statement = f"DELETE FROM \"{TABLE}\" WHERE artist = 'many' AND song = 0 AND n = 77"
    refused = refusal(lambda: run(client, statement, ReturnValuesOnConditionCheckFailure="ALL_OLD"))
    assert refused["Item"]["song"] == {"N": "0"}


def assert_lists_are_appended_to(client: Any) -> None:
    """ministack has no list_append in PartiQL; AWS has ("PartiQL update statements for DynamoDB")."""
    run(client, f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'many', 'song': 0, 'l': ['p']}}")
    key = "WHERE artist = 'many' AND song = 0"
    [item] = run(client, f"UPDATE \"{TABLE}\" SET l = list_append(l, ['q']) {key} RETURNING ALL NEW *")["Items"]
    assert item["l"] == {"L": [{"S": "p"}, {"S": "q"}]}


def assert_all(client: Any) -> None:
    tell(client)
    fill_empty(client)
    fill(client)
    assert_pages(client)
    for check in (
        assert_batches,
        assert_transactions,
        assert_failed_condition_shows_the_item,
        assert_lists_are_appended_to,
    ):
        fill_empty(client)
        check(client)


def fill_empty(client: Any) -> None:
    for item in client.scan(TableName=TABLE, ConsistentRead=True)["Items"]:
        client.delete_item(TableName=TABLE, Key={"artist": item["artist"], "song": item["song"]})


def assert_carried_out(here: Scene) -> None:
    here.proxy.settle()
    verdicts = here.verdicts()
    assert verdicts.get("mismatch", 0) == 0, str(here.proxy.mismatches())
    here.assert_equal(TABLE)


def test_the_story_is_dynamodbs(dynamodb: str) -> None:
    """Beside ministack, but for what it answers otherwise than AWS has been recorded to."""
    make_table(dynamodb)
    tell(dynamodb_client(dynamodb))


@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live"])
def test_it_is_journalled_and_compared(dynamodb: str, database: str, dsql_database: str, stage: str) -> None:
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=FOLLOW) as here:
        assert_all(here.client())
        assert_carried_out(here)
        if stage != "dualwrite":
            operations = {each["operation"] for each in here.proxy.status()["comparisons"]}
            assert {"PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "TransactWriteItems"} <= operations


def test_what_is_inserted_in_live_is_there(dynamodb: str, database: str, dsql_database: str) -> None:
    """Case L9."""
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live", billio=False, environment=FOLLOW) as here:
        run(here.client(), f"INSERT INTO \"{TABLE}\" VALUE {{'artist': 'a', 'song': 1}}")
        key = {"artist": {"S": "a"}, "song": {"N": "1"}}
        assert here.client().get_item(TableName=TABLE, Key=key)["Item"] == key
        here.proxy.settle()
        assert here.direct().get_item(TableName=TABLE, Key=key)["Item"] == key


def test_dsql_carries_it_out_alone(dynamodb: str, database: str, dsql_database: str) -> None:
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", billio=False, environment=FOLLOW) as before:
        before.client().get_item(TableName=TABLE, Key={"artist": {"S": "a"}, "song": {"N": "1"}})
        before.proxy.settle()
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=FOLLOW) as alone:
        assert_all(alone.client())


def test_what_nothing_mirrors_is_dynamodbs_alone(dynamodb: str, database: str, dsql_database: str) -> None:
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="off", billio=False) as here:
        tell(here.client())
        assert here.verdicts() == {}
