"""Two proxies over the same stores, with writers on the same few keys: at rest both stores hold the same."""

import random

import pytest

from tests import equality
from tests.integration.scenes import scene
from tests.integration.writers import BILLIO_KEYS, Writers
from tests.standins.billio import TABLE, billio_table


@pytest.mark.parametrize(("stage", "seed"), [("shadow", 61), ("dualwrite", 62)])
def test_equal_at_rest(stage: str, seed: int, dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    keys = random.Random(seed).sample(BILLIO_KEYS, 6)
    with (
        scene(dynamodb, dsql_database, rows=database, stage=stage) as one,
        scene(dynamodb, dsql_database, rows=database, stage=stage) as other,
    ):
        writers = [Writers(each.client, seed + n, keys, threads=3, calls=60) for n, each in enumerate((one, other))]
        for each in writers:
            each.start()
        for each in writers:
            each.join()
        one.proxy.settle()
        other.proxy.settle()
        # Both at once: what one still wrote after the other had settled would show here.
        assert one.proxy.status()["journal"]["keys"] == other.proxy.status()["journal"]["keys"] == 0
        assert equality.disagreements(dynamodb, database, TABLE) == []
        print(one.verdicts(), other.verdicts())
        for each in writers:
            assert set(each.answers) <= {"ok", "ConditionalCheckFailedException", "TransactionCanceledException"}
