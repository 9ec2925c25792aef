"""A table that none of us made, without a mapping file: brought over, verified, and its planted faults found."""

import asyncio
import json
from pathlib import Path

from tests import equality
from tests.data import real
from tests.integration.scenes import run_sql
from tests.integration.whole_tables import Operator, load
from tests.standins.billio import dynamodb_client

EVERY = 15


def test_mdns_compatibility_data_is_brought_over(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    dynamodb_client(dynamodb).create_table(**real.table_definition())
    items = list(real.items())[::EVERY]
    load(dynamodb, items, real.TABLE)
    operator = Operator(dynamodb, dsql_database, tmp_path, (), {"CROSSFADE_FOLLOW_TABLES": "true"})
    table = ("--table", real.TABLE)
    ran = operator.run("backfill", *table)
    assert ran.code == 0, ran.out + ran.err
    assert f"{len(items):,} inserted" in ran.out
    assert equality.disagreements(dynamodb, database, real.TABLE) == []
    verified = operator.run("verify", *table)
    assert verified.code == 0, verified.out + verified.err
    assert "**The two stores are equal.**" in verified.out

    linked = next(item["key"]["S"] for item in items if "https:" in json.dumps(item))
    statements = (
        "UPDATE compat SET item = replace(item::text, 'https:', 'http::')::json WHERE key = 'KEY'",
        # The item says one thing, the column that an index reads another: no item shows it.
        "UPDATE compat SET parent = 'nowhere' WHERE key = (SELECT max(key) FROM compat WHERE parent IS NOT NULL)",
        "DELETE FROM compat WHERE key = (SELECT max(key) FROM compat WHERE browser IS NOT NULL)",
    )
    for statement in statements:
        asyncio.run(run_sql(database, statement.replace("KEY", linked)))
    path = tmp_path / "report.json"
    assert operator.run("verify", *table, "--patience", "0", "--json", str(path)).code == 1
    report = json.loads(path.read_text("utf-8"))
    assert report["counts"]["results"] == {"different": 2, "missing": 1}
    assert [each["reasons"] for each in report["findings"] if each["reasons"]] == [
        ["its columns are not what this mapping writes for the item"]
    ]
    assert operator.run("verify", *table, "--patience", "0", "--repair").code == 0
    assert equality.disagreements(dynamodb, database, real.TABLE) == []
