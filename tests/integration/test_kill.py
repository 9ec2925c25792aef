"""SIGKILL at any moment, again and again: when the proxy is back, the mirror converges and the journal empties."""

import random
import time

import pytest

from tests.integration.scenes import scene, wait_until
from tests.integration.writers import Writers
from tests.standins.billio import billio_table

KILLS = 3


@pytest.mark.parametrize(("stage", "seed"), [("shadow", 1), ("dualwrite", 2)])
def test_killed_in_the_middle_of_writes(
    stage: str, seed: int, dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    dice = random.Random(seed)
    with scene(dynamodb, dsql_database, rows=database, stage=stage) as here:
        writers = Writers(here.client, seed).start()
        for _ in range(KILLS):
            done = writers.answers["ok"]
            wait_until(lambda done=done: writers.answers["ok"] > done + 40, 120, "writes to go through")  # type: ignore[misc]
            time.sleep(dice.uniform(0, 0.05))
            here.proxy.kill()
            here.proxy.restart()
        writers.stop()
        here.assert_equal()
        print(dict(writers.answers), here.verdicts())
        assert here.proxy.status()["journal"] == {"keys": 0, "oldest_seconds": 0.0, "parked": 0}
        assert writers.answers["ok"] > 40 * KILLS
        assert not {"InternalServerError", "ServiceUnavailable", "ValidationException"} & set(writers.answers)
