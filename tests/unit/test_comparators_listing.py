"""Pages whose order is total: what equal sort keys leave open is a difference where the key orders them."""

from comparators.difference import Kind
from comparators.pages import compare_pages
from comparators.rules import parse_rules
from comparators.shapes import ItemShape, PageShape
from proxy.dynamodb.values import Item

RULES = parse_rules({})["*"]


def shape(*, then: bool, start: Item | None = None) -> PageShape:
    items = ItemShape(("k",), lambda _: RULES)
    return PageShape(items, ("n",), ties=not then, start=start, then=("k",) if then else ())


def item(key: str, number: int) -> Item:
    return {"k": {"S": key}, "n": {"N": str(number)}}


def kinds(one: list[Item], two: list[Item], by: PageShape, **end: Item) -> list[str]:
    pages = [{"Items": each, "Count": len(each), **end} for each in (one, two)]
    return [found.kind for found in compare_pages(pages[0], pages[1], by).differences]


def test_equal_sort_keys_in_another_order_differ_where_the_key_orders_them() -> None:
    one, two = [item("a", 1), item("b", 1), item("c", 2)], [item("b", 1), item("a", 1), item("c", 2)]
    assert kinds(one, two, shape(then=False)) == []
    assert kinds(one, two, shape(then=True)) == [Kind.ORDER]
    assert kinds(one, list(one), shape(then=True)) == []


def test_an_item_beyond_the_end_says_nothing_and_one_before_it_does() -> None:
    end = {"LastEvaluatedKey": item("c", 1)}
    held = [item("a", 1), item("c", 1)]
    assert kinds(held, [*held, item("d", 1)], shape(then=True), **end) == []
    assert kinds(held, [item("a", 1), item("b", 1), item("c", 1)], shape(then=True), **end) == [Kind.EXTRA]
    start = item("a", 1)
    assert kinds([item("c", 1)], [item("b", 1), item("c", 1)], shape(then=True, start=start), **end) == [Kind.EXTRA]
