"""`crossfade preflight` as an operator runs it, on Billio's table with the demo's catalogue in it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.data import catalogue
from tests.integration.whole_tables import write_backup, write_export
from tests.standins.billio import TABLE, billio_table
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY, Ministack

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def filled(ministack: Ministack) -> Iterator[str]:
    """The endpoint of a DynamoDB that has Billio's table with the catalogue."""
    ministack.reset()
    client = billio_table(ministack.endpoint)
    items = catalogue()
    for start in range(0, len(items), 25):
        requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        assert not client.batch_write_item(RequestItems={TABLE: requests})["UnprocessedItems"]
    yield ministack.endpoint
    ministack.reset()


def preflight(endpoint: str, folder: Path, mapping: str | None, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    settings = folder / "crossfade.toml"
    mappings = f"mappings = [{json.dumps(str(CONFIG / mapping))}]" if mapping else ""
    settings.write_text(
        f'{mappings}\n[dynamodb]\nendpoint_url = "{endpoint}"\nregion = "{REGION}"\n'
        f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\n'
    )
    command = [str(Path(sys.executable).with_name("crossfade")), "preflight", "--config", str(settings), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CROSSFADE_"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def counts(document: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(each["kind"], each["attribute"]): each["items"] for each in document["findings"] if each["loses"]}


def test_the_plan_s_own_mapping_shows_what_it_would_lose(filled: str, tmp_path: Path) -> None:
    status, stdout, _ = preflight(filled, tmp_path, "billio-plan.toml", "--json", "--values")
    document = json.loads(stdout)
    items = catalogue()
    assert (status, document["clean"], document["items"]) == (1, False, len(items))
    ids = Counter(item["id"]["S"] for item in items)
    halves = [item for item in items if Decimal(item.get("rating", {}).get("N", "0")) % 1]
    sized = {"url", "width", "height"}
    sizes = [set(item["image"]["M"]) for item in items if "image" in item and "M" in item["image"]]
    found = counts(document)
    assert found["number", "rating"] == len(halves) > 20
    assert found["changed", "image"] == sum(not names or bool(names - sized) for names in sizes) > 20
    assert found["duplicate", "type:id"] == sum(ids[item["id"]["S"]] > 1 for item in items) > 1
    assert found["text", "id"] == sum(item["id"]["S"] != item["id"]["S"].lower() for item in items) > 1
    assert found["text", "title"] == sum(len(item["title"]["S"]) > 500 for item in items) >= 1
    assert found["changed", "tags"] == sum("SS" in item.get("tags", {}) for item in items) > 1
    [ratings] = [each for each in document["findings"] if (each["kind"], each["attribute"]) == ("number", "rating")]
    assert len(ratings["examples"]) == 3
    keys = [{"type:id": item["type:id"]} for item in halves]
    assert all(example in keys for example in ratings["examples"])
    assert "numeric" in ratings["remedy"]


def test_the_lossless_mapping_is_clean_and_has_its_indexes(filled: str, tmp_path: Path) -> None:
    migrations = ("--migrations", str(CONFIG / "migrations"))
    status, stdout, _ = preflight(filled, tmp_path, "billio.toml", "--json", *migrations)
    document = json.loads(stdout)
    assert (status, document["clean"], counts(document)) == (0, True, {})
    status, stdout, _ = preflight(filled, tmp_path, "billio.toml", *migrations)
    assert (status, stdout.splitlines()[-1]) == (0, "nothing would be lost")


def test_a_table_without_a_mapping_is_clean(filled: str, tmp_path: Path) -> None:
    status, stdout, _ = preflight(filled, tmp_path, None, "--table", TABLE, "--json")
    assert (status, json.loads(stdout)["findings"]) == (0, [])


def test_no_value_is_shown_unless_asked_for(filled: str, tmp_path: Path) -> None:
    _, hidden, log = preflight(filled, tmp_path, "billio-plan.toml")
    _, shown, _ = preflight(filled, tmp_path, "billio-plan.toml", "--values")
    values = {item["id"]["S"] for item in catalogue()} | {item["title"]["S"] for item in catalogue()}
    assert not [value for value in values if len(value) > 8 and value in hidden + log]
    assert [value for value in values if value in shown]


def test_a_sample_reads_a_part_and_says_what_it_cannot_tell(filled: str, tmp_path: Path) -> None:
    _, stdout, _ = preflight(filled, tmp_path, "billio-plan.toml", "--json", "--sample", "30%")
    document = json.loads(stdout)
    assert 0 < document["items"] < len(catalogue())
    assert any("seriesId" in each for each in document["unchecked"])


def test_indexes_that_no_migration_makes_are_told(filled: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    wrong = "CREATE INDEX ASYNC idx_type_moved ON items (moved_at, type);\n"
    (folder / "0001.sql").write_text(wrong + "CREATE INDEX ASYNC idx_type_added ON items (type, added_at, id);\n")
    status, stdout, _ = preflight(filled, tmp_path, "billio.toml", "--json", "--migrations", str(folder))
    told = {each["attribute"]: each["reason"] for each in json.loads(stdout)["findings"] if each["kind"] == "index"}
    assert status == 1
    assert len(told) == 7
    assert told["indexes.type.sql_index"] == "idx_type_moved does not begin with type, moved_at, by which it is queried"
    assert told["indexes.title.sql_index"] == "no migration creates idx_type_title on items"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--table", "nothing"), "DynamoDB has no table 'nothing'"),
        (("--sample", "0%"), "is not a share of a table: write 1% or 0.01"),
        (("--sample", "a lot"), "could not convert"),
        (("--migrations", "/nowhere"), "/nowhere: "),
    ],
)
def test_what_is_wrong_is_one_message(filled: str, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    status, stdout, stderr = preflight(filled, tmp_path, "billio.toml", *arguments)
    assert (status, stdout) == (2, "")
    assert said in stderr
    assert "Traceback" not in stderr


def test_a_store_that_is_away_is_one_message(tmp_path: Path) -> None:
    status, stdout, stderr = preflight("http://127.0.0.1:1", tmp_path, "billio.toml")
    assert (status, stdout) == (1, "")
    assert "DynamoDB" in stderr
    assert "Traceback" not in stderr


def test_backups_and_exports_are_read_as_the_table_is(filled: str, tmp_path: Path) -> None:
    items = catalogue()
    export, backup = write_export(tmp_path / "export", items), write_backup(tmp_path / "backup", items)
    documents = {}
    for name, source in (("table", ()), ("export", ("--from-export", str(export)))):
        _, stdout, _ = preflight(filled, tmp_path, "billio-plan.toml", "--json", *source)
        documents[name] = json.loads(stdout)
    assert counts(documents["export"]) == counts(documents["table"])
    # What JSON cannot say was lost when the backup was written. Broken entries are told, with their place.
    (backup / "Broken.json").write_text('[7, {"type": "Book"}]')
    status, stdout, _ = preflight(filled, tmp_path, "billio-plan.toml", "--json", "--from-backup", str(backup))
    found = counts(json.loads(stdout))
    assert status == 1
    assert found["number", "rating"] == counts(documents["table"])["number", "rating"]
    assert found["form", "(entries that are not items)"] == 2
    status, _, stderr = preflight(filled, tmp_path, "billio.toml", "--from-export", str(tmp_path / "nothing"))
    assert (status, "Traceback" in stderr) == (1, False)


def test_a_rate_is_kept(filled: str, tmp_path: Path) -> None:
    began = time.monotonic()
    status, stdout, _ = preflight(filled, tmp_path, "billio.toml", "--json", "--rate", "60")
    assert (status, json.loads(stdout)["items"]) == (0, len(catalogue()))
    # When the last of 422 items are asked for, four pages of 60 at most are not paid for, and 60 were there to spend:
    # however fast the machine is, the other 122 take two seconds.
    assert time.monotonic() - began > 2
