"""Two proxies ask each other, over the table in the mirror, before they call a difference a mismatch."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.scenes import Scene, insist, run_sql, scene, wait_until
from tests.integration.test_verdicts import KEY, book
from tests.integration.writers import BILLIO_KEYS, Writers
from tests.standins.billio import TABLE, billio_table

BOARD = "SELECT subject, process, note FROM crossfade_board"


@pytest.fixture
def both(dynamodb: str, database: str, dsql_database: str) -> Iterator[tuple[Scene, Scene]]:
    billio_table(dynamodb)
    with ExitStack() as open_now:
        one, other = (open_now.enter_context(scene(dynamodb, dsql_database, rows=database)) for _ in range(2))
        yield one, other


def board(here: Scene) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in asyncio.run(run_sql(here.dsn, BOARD))]


def corrupted(here: Scene, title: str) -> dict[str, int]:
    """What a reader's comparison comes to. A peer that does not answer for seconds, on a busy machine, may hold
    anything: then it is no mismatch, the row is mended, and it is spoilt again."""

    def attempt() -> dict[str, int]:
        asyncio.run(run_sql(here.dsn, "UPDATE items SET title = $1", title))
        counts = here.compared("GetItem", lambda: here.client().get_item(TableName=TABLE, Key=KEY))
        here.assert_equal()
        return counts

    return insist(attempt, lambda counts: "mismatch" in counts)


def test_writes_through_both_are_no_mismatch(both: tuple[Scene, Scene]) -> None:
    keys = random.Random(5).sample(BILLIO_KEYS, 6)
    writers = [Writers(each.client, 71 + n, keys, threads=4, calls=150) for n, each in enumerate(both)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    for here in both:
        here.proxy.settle()  # what the other has yet to converge is no disagreement
    for here in both:
        here.assert_equal()
        assert here.proxy.mismatches() == []
        assert here.verdicts()["agreed"] > 0
    assert {subject for subject, _, _ in board(both[0])} == {"present"}


def test_a_corruption_is_found_by_either(both: tuple[Scene, Scene]) -> None:
    both[0].client().put_item(TableName=TABLE, Item=book())
    for number, here in enumerate(both):
        for each in both:
            each.assert_equal()
        assert corrupted(here, f"other {number}") == {"mismatch": 1}


def test_whoever_ends_in_good_order_is_asked_no_more(both: tuple[Scene, Scene]) -> None:
    one, other = both
    wait_until(lambda: len(board(one)) == 2, 120, "both to be seen")
    other.proxy.stop()
    wait_until(lambda: len(board(one)) == 1, 120, "one to leave")
    one.client().put_item(TableName=TABLE, Item=book())
    one.assert_equal()
    assert corrupted(one, "other") == {"mismatch": 1}
