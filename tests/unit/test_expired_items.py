"""A difference that comes of time to live is expected; everything else stays what it is."""

import time
from typing import Any

import pytest

from comparators.difference import Difference, Kind
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.comparison.authority_reader import AuthorityReader
from proxy.shadow.comparison.expired_items import ExpiredItems
from proxy.shadow.journal.key_activity import any_key_of
from proxy.stores.interface import StoredItem
from proxy.verdicts import JudgedDifference, Verdict

ANY = any_key_of("t")


def key(name: str) -> Key:
    return Key("t", f'{{"id":{{"S":"{name}"}}}}')


def item(seconds: float) -> Item:
    return {"id": {"S": "1"}, "expires": {"N": str(int(time.time() + seconds))}}


class Held:
    """A store that holds these items."""

    name = "held"

    def __init__(self, **items: Item) -> None:
        self.items = items

    async def get(self, asked: Key) -> StoredItem:
        return StoredItem(self.items.get(asked.attributes["id"]["S"]))


def suspect(*keys: Key) -> tuple[JudgedDifference, list[Key]]:
    difference = Difference("", "", next(iter(Kind)), None, None)
    return JudgedDifference(difference, Verdict.MISMATCH), list(keys)


def expired_items(authority: Any, mirror: Any, attribute: str | None = "expires") -> ExpiredItems:
    return ExpiredItems(AuthorityReader(authority), mirror, lambda _: attribute)


async def test_what_one_store_has_deleted_is_expected_and_goes_from_the_mirror() -> None:
    for authority, mirror, left_over in (
        (Held(), Held(a=item(-10)), [key("a")]),
        (Held(a=item(-10)), Held(), []),
    ):
        explained, rest, repairs = await expired_items(authority, mirror).explain([suspect(key("a"))])
        assert [each.verdict for each in explained] == [Verdict.EXPECTED]
        assert "time to live" in str(explained[0].because)
        assert (rest, repairs) == ([], left_over)


@pytest.mark.parametrize(
    ("authority", "mirror", "attribute"),
    [
        (Held(), Held(a=item(86_400)), "expires"),  # it has not expired
        (Held(), Held(a=item(-10)), None),  # nothing expires in this table
        (Held(), Held(a=item(-10)), "other"),
        (Held(), Held(), "expires"),
        (Held(a=item(-10)), Held(a=item(-20)), "expires"),  # both hold it, and differ
    ],
)
async def test_nothing_else_is(authority: Held, mirror: Held, attribute: str | None) -> None:
    suspects = [suspect(key("a"))]
    assert await expired_items(authority, mirror, attribute).explain(suspects) == ([], suspects, [])


async def test_a_difference_of_the_page_goes_with_those_of_its_items() -> None:
    checked = expired_items(Held(), Held(a=item(-10), b=item(86_400)))
    explained, rest, repairs = await checked.explain([suspect(key("a")), suspect(ANY)])
    assert (len(explained), rest, repairs) == (2, [], [key("a")])
    explained, rest, repairs = await checked.explain([suspect(key("a")), suspect(key("b")), suspect(ANY)])
    assert (len(explained), [keys for _, keys in rest], repairs) == (1, [[key("b")], [ANY]], [key("a")])
    only_page = [suspect(ANY)]
    assert await checked.explain(only_page) == ([], only_page, [])
