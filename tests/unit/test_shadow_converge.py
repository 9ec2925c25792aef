"""Converge on two stores in memory: it ends in agreement, whatever others do between its steps."""

import itertools

import pytest

from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.convergence.converge import ROUNDS, converge
from proxy.stores.errors import Unreachable
from proxy.stores.interface import Unrepresentable
from tests.unit.shadow_stores import MemoryStore

KEY = Key("t", '{"id":{"S":"a"}}')


def item(number: int) -> Item:
    return {"id": {"S": "a"}, "n": {"N": str(number)}}


STATES = [None, item(1), item(2)]


def stores(wanted: Item | None, held: Item | None) -> tuple[MemoryStore, MemoryStore]:
    authority, mirror = MemoryStore("dynamodb"), MemoryStore("dsql")
    for store, content in ((authority, wanted), (mirror, held)):
        if content is not None:
            store.items[KEY] = content
    return authority, mirror


@pytest.mark.parametrize(("wanted", "held"), list(itertools.product(STATES, STATES)))
async def test_the_mirror_comes_to_hold_what_the_authority_holds(wanted: Item | None, held: Item | None) -> None:
    authority, mirror = stores(wanted, held)
    assert await converge(KEY, authority, mirror) == (0 if wanted == held else 1)
    assert mirror.items == authority.items


async def test_after_a_write_of_its_own_only_the_authority_is_read_again() -> None:
    authority, mirror = stores(item(1), None)
    await converge(KEY, authority, mirror)
    assert (authority.calls, mirror.calls) == (["get", "get"], ["get", "put"])


@pytest.mark.parametrize(
    ("moment", "others", "change"),
    list(itertools.product(range(1, 6), ["authority", "mirror"], [None, item(2), item(3)])),
)
async def test_what_others_do_between_its_steps(moment: int, others: str, change: Item | None) -> None:
    """One change of either store before any one of its calls. A change of the mirror is its maker's to converge; what
    must not be is an error, or a mirror that keeps what the authority had before."""
    authority, mirror = stores(item(1), None)
    step = itertools.count(1)
    changed = authority if others == "authority" else mirror

    async def before(_: str) -> None:
        if next(step) == moment:
            changed.items.pop(KEY, None)
            if change is not None:
                changed.items[KEY] = change

    authority.before = mirror.before = before
    await converge(KEY, authority, mirror)
    if others == "mirror":
        await converge(KEY, authority, mirror)  # the other's own
    assert mirror.items == authority.items


async def test_an_item_deleted_by_both_sides_meanwhile_is_no_error() -> None:
    """The authority's item goes, and so does the row that this convergence has just written: nothing is left to do."""
    authority, mirror = stores(item(1), None)

    async def before(what: str) -> None:
        if what == "get" and mirror.calls == ["get", "put"]:
            authority.items.clear()
            mirror.items.clear()

    authority.before = before
    assert await converge(KEY, authority, mirror) == 1
    assert mirror.items == {}


async def test_an_item_that_cannot_be_held_is_not_written() -> None:
    authority, mirror = stores(item(1), item(2))
    mirror.cannot.append(item(1))
    with pytest.raises(Unrepresentable, match="title: it does not fit"):
        await converge(KEY, authority, mirror)
    assert mirror.items == {KEY: item(2)}
    assert "put" not in mirror.calls


async def test_stores_that_never_rest_are_left_after_some_rounds() -> None:
    authority, mirror = stores(item(0), None)
    number = itertools.count(1)

    async def before(_: str) -> None:
        authority.items[KEY] = item(next(number))

    authority.before = before
    with pytest.raises(Unreachable) as caught:
        await converge(KEY, authority, mirror)
    assert caught.value.reason == "moving"
    assert mirror.calls.count("put") == ROUNDS


async def test_a_row_that_its_indexes_do_not_find_is_written_again() -> None:
    authority, mirror = stores(item(1), item(1))
    mirror.unsound.add(KEY)
    assert await converge(KEY, authority, mirror) == 1
    assert not mirror.unsound
    assert mirror.items == authority.items
