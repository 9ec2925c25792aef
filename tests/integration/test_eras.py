"""Evidence is of an era: what was shown before a table stood in `off` is not shown any more, and no force says it is.

The case that this holds (L1): everything was compared and swept equal; then the table stood in `off`, where clients
changed, made and deleted items; then it was taken back to `shadow`, and the gate was open.
"""

import functools
from pathlib import Path
from typing import Any

import pytest

from tests.integration.forked import crossfade as command
from tests.integration.scenes import SETTLE_SECONDS, Scene, insist, wait_until
from tests.integration.test_stage_moves import ask, moved, moving, use
from tests.integration.test_stages import BOOKS, GAMES, item
from tests.standins.billio import TABLE, billio_table


def gate(here: Scene) -> dict[str, Any]:
    """The criteria of the flip, by name, and what stands in its way whatever one forces."""
    found = ask(here, "GET", f"/v1/gate/{TABLE}?to=live").json
    return {each["name"]: each for each in found["criteria"]} | {"impossible": found["impossible"]}


def verify(here: Scene, folder: Path, *words: str) -> str:
    """`crossfade verify` with the proxy's own settings."""
    config = folder / "crossfade.toml"
    config.write_text((here.proxy.log_file.parent / "crossfade.toml").read_text())
    quick = {f"CROSSFADE_{store}__SETTLE_SECONDS": str(SETTLE_SECONDS) for store in ("DYNAMODB", "DSQL")}
    words = ("verify", "--quiet", *words, "--config", str(config))
    ran = insist(functools.partial(command, *words, environment=quick, folder=folder), lambda ran: ran.code == 0)
    assert ran.code == 0, ran
    return str(ran.out)


@pytest.mark.parametrize("back", [("dualwrite", "shadow"), ("shadow",)])
def test_what_was_written_in_off_is_swept_before_any_flip(
    back: tuple[str, ...], dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database) as here:
        use(here)
        wait_until(lambda: gate(here)["sweep"]["holds"], 120, "the sweep to be seen")
        assert not gate(here)["impossible"]

        moved(here, TABLE, {"stage": "off"})
        client = here.client(attempts=10)
        changed = {**item(BOOKS[0]), "title": {"S": "Changed in off"}}
        client.put_item(TableName=TABLE, Item=changed)
        client.delete_item(TableName=TABLE, Key=GAMES[0])
        for stage in back:
            moved(here, TABLE, {"stage": stage})
        for key in BOOKS[1:]:
            client.get_item(TableName=TABLE, Key=key)

        shut = gate(here)
        assert "began another era: it was moved to" in shut["impossible"]
        assert not shut["sweep"]["holds"]
        assert shut["agreement"]["value"].startswith("0 of "), "what was compared before says nothing any more"
        for force in (False, True):
            body = {"stage": "live", "force": force, "because": "I am sure"}
            refused = ask(here, "PUT", f"/v1/stages/{TABLE}", body)
            assert refused.status == 409, refused.text
            assert "DSQL may miss acknowledged writes" in refused.json["detail"]

        assert "all were repaired" in verify(here, tmp_path, "--repair")
        assert "The two stores are equal" in verify(here, tmp_path)
        wait_until(lambda: not gate(here)["impossible"], 120, "the sweep of this era to be seen")
        moved(here, TABLE, {"stage": "live", "force": True, "because": "so few comparisons"})
        assert (
            client.get_item(TableName=TABLE, Key=BOOKS[0], ConsistentRead=True)["Item"]["title"]["S"]
            == "Changed in off"
        )
        assert "Item" not in client.get_item(TableName=TABLE, Key=GAMES[0], ConsistentRead=True)
        # The way back needs no sweep of its own: the era has lasted.
        moved(here, TABLE, {"stage": "shadow", "force": True, "because": "and back"})
        here.assert_equal()
