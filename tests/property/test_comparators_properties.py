"""What holds of comparisons whatever is compared: nothing is invented, nothing is missed, nothing is given away."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comparators import paths
from comparators.canonical_forms import canonical_bytes, canonical_form, parse_number
from comparators.difference import Difference, Item, Kind, Value
from comparators.items import compare_items
from comparators.pages import compare_pages
from comparators.redact import Redactor
from comparators.rules import ItemRules
from comparators.shapes import ItemShape, PageShape

RULES = ItemRules()
COMMON = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.one_of(st.sampled_from(["id", "title", "image", "a.b", "x[0]", 'q"', "", "a b", "*"]), st.text(max_size=6))
numbers = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.decimals(-(10**6), 10**6, places=3).map(lambda value: format(value, "f")),
    st.tuples(st.integers(1, 10**37), st.integers(-120, 80)).map(lambda pair: f"{pair[0]}E{pair[1]}"),
)
raw = st.binary(max_size=6)


def spell_bytes(content: bytes) -> str:
    return base64.b64encode(content).decode()


def copied(item: Item) -> Item:
    """A copy that shares nothing, not even with itself."""
    copy: Item = json.loads(json.dumps(item))
    return copy


def distinct_numbers(texts: list[str]) -> list[str]:
    return list({Decimal(text): text for text in texts}.values())


scalars: st.SearchStrategy[Value] = st.one_of(
    st.text(max_size=12).map(lambda text: {"S": text}),
    numbers.map(lambda text: {"N": text}),
    raw.map(lambda content: {"B": spell_bytes(content)}),
    st.booleans().map(lambda truth: {"BOOL": truth}),
    st.just({"NULL": True}),
    st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True).map(lambda texts: {"SS": texts}),
    st.lists(numbers, min_size=1, max_size=4).map(lambda texts: {"NS": distinct_numbers(texts)}),
    st.lists(raw, min_size=1, max_size=4, unique=True).map(lambda all_: {"BS": [spell_bytes(one) for one in all_]}),
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda elements: {"L": elements}),
        st.dictionaries(names, inner, max_size=4).map(lambda entries: {"M": entries}),
    ),
    max_leaves=8,
)
items: st.SearchStrategy[Item] = st.dictionaries(names, values, max_size=5)


# --- single mutations ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutation:
    """One change to an item: what it makes of it, and where it must be found, and how."""

    path: str
    field: str
    kinds: frozenset[Kind]
    apply: Callable[[Item], None]


def value_mutations(path: str, field: str, value: Value, at: Callable[[Item], Value]) -> Iterator[Mutation]:
    """Every way of changing `value`, which `at` finds in a copy of the item, in one place."""
    ((tag, held),) = value.items()

    def change(kinds: set[Kind], alter: Callable[[Value], None], where: str = path) -> Mutation:
        return Mutation(where, field, frozenset(kinds), lambda item: alter(at(item)))

    def put(tag: str, content: Any) -> Callable[[Value], None]:
        def alter(target: Value) -> None:
            target.clear()
            target[tag] = content

        return alter

    yield change({Kind.TYPE}, put("S", "") if tag != "S" else put("BOOL", True))
    if tag == "S":
        yield change({Kind.VALUE}, put("S", held + "x"))
        if held:
            yield change({Kind.VALUE}, put("S", held[:-1] + chr(ord(held[-1]) ^ 1)))
    if tag == "N":
        nudged = format(Decimal(held).normalize(), "f")
        nudged = nudged + "1" if "." in nudged else nudged + "." + "0" * 29 + "1"
        yield change({Kind.VALUE, Kind.PRECISION}, put("N", nudged))
        yield change(
            {Kind.VALUE, Kind.PRECISION}, put("N", "7" if Decimal(held) == 0 else f"-{held}".replace("--", ""))
        )
    if tag == "B":
        yield change({Kind.VALUE}, put("B", spell_bytes(b"another")))
    if tag == "BOOL":
        yield change({Kind.VALUE}, put("BOOL", not held))
    if tag in ("SS", "NS", "BS"):
        member = {"SS": "newcomer", "NS": "0.123456789", "BS": spell_bytes(b"newcomer")}[tag]
        yield change({Kind.MEMBERSHIP}, put(tag, [*held, member]))
        yield change({Kind.MEMBERSHIP}, put(tag, [member, *held[1:]]))
        if len(held) > 1:
            yield change({Kind.MEMBERSHIP}, put(tag, held[:-1]))
    if tag == "L":
        yield change({Kind.EXTRA}, put("L", [*held, {"S": "newcomer"}]), paths.element(path, len(held)))
        yield change({Kind.EXTRA}, put("L", [{"S": "newcomer"}, *held]), paths.element(path, 0))
        for index, inner in enumerate(held):
            # In a run of equal elements it cannot be told which one went: the last stands for all.
            last = index
            while last + 1 < len(held) and canonical_form(held[last + 1]) == canonical_form(inner):
                last += 1
            yield change({Kind.MISSING}, put("L", held[:index] + held[index + 1 :]), paths.element(path, last))
            yield from value_mutations(
                paths.element(path, index),
                field,
                inner,
                lambda item, index=index: at(item)["L"][index],  # type: ignore[misc]
            )
    if tag == "M":
        if "newcomer" not in held:
            yield change({Kind.EXTRA}, put("M", {**held, "newcomer": {"NULL": True}}), paths.member(path, "newcomer"))
        for name, inner in held.items():
            less = {key: entry for key, entry in held.items() if key != name}
            yield change({Kind.MISSING}, put("M", less), paths.member(path, name))
            yield from value_mutations(
                paths.member(path, name),
                field,
                inner,
                lambda item, name=name: at(item)["M"][name],  # type: ignore[misc]
            )


def mutations(item: Item) -> Iterator[Mutation]:
    if "newcomer" not in item:

        def add(changed: Item) -> None:
            changed["newcomer"] = {"NULL": True}

        yield Mutation("newcomer", "newcomer", frozenset({Kind.EXTRA}), add)
    for name, value in item.items():

        def drop(changed: Item, name: str = name) -> None:
            del changed[name]

        yield Mutation(paths.name(name), name, frozenset({Kind.MISSING}), drop)
        yield from value_mutations(paths.name(name), name, value, lambda changed, name=name: changed[name])  # type: ignore[misc]


def respelt(value: Value, reverse: bool) -> Value:
    """The same value, written otherwise: longer numbers, sets and maps in another order, base64 without padding."""
    ((tag, held),) = value.items()
    turned = reversed if reverse else iter
    if tag == "N":
        return {"N": respelt_number(held)}
    if tag == "B":
        return {"B": held.rstrip("=")}
    if tag == "NS":
        return {"NS": [respelt_number(text) for text in turned(held)]}
    if tag in ("SS", "BS"):
        return {tag: list(turned(held))}
    if tag == "L":
        return {"L": [respelt(inner, reverse) for inner in held]}
    if tag == "M":
        return {"M": {name: respelt(held[name], reverse) for name in turned(list(held))}}
    return dict(value)


def respelt_number(text: str) -> str:
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    return f"{'-' if sign else ''}00{''.join(map(str, digits))}0.00e{exponent - 1:+}"


@COMMON
@given(items)
def test_an_item_equals_itself_however_it_is_spelt(item: Item) -> None:
    assert compare_items(item, copied(item), RULES) == ()
    for reverse in (False, True):
        other = {name: respelt(item[name], reverse) for name in reversed(item)}
        assert compare_items(item, other, RULES) == ()
        assert canonical_form({"M": item}) == canonical_form({"M": other})
        assert canonical_bytes({"M": item}) == canonical_bytes({"M": other})


_SWAPPED = {Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING}


def swapped(found: Difference) -> Difference:
    """The same difference with the stores' parts exchanged, as after a flip."""
    kind = _SWAPPED.get(found.kind, found.kind)
    return replace(found, kind=kind, authority=found.mirror, mirror=found.authority)


def told(differences: tuple[Difference, ...]) -> list[str]:
    return sorted(repr(found) for found in differences)


@COMMON
@given(items, items, st.data())
def test_swapping_the_stores_swaps_the_differences(one: Item, other: Item, data: st.DataObject) -> None:
    changes = list(mutations(one))
    changed = copied(one)
    data.draw(st.sampled_from(changes)).apply(changed)
    for mirror in (other, changed, {**other, **one}):
        forth, back = compare_items(one, mirror, RULES), compare_items(mirror, one, RULES)
        assert told(forth) == told(tuple(swapped(found) for found in back))
        assert (
            (forth == ())
            == (canonical_form({"M": one}) == canonical_form({"M": mirror}))
            == (canonical_bytes({"M": one}) == canonical_bytes({"M": mirror}))
        )


@COMMON
@given(items)
def test_every_single_mutation_is_found_where_it_was_made(item: Item) -> None:
    for mutation in mutations(item):
        changed = copied(item)
        mutation.apply(changed)
        (found,) = compare_items(item, changed, RULES)
        assert (found.path, found.field) == (mutation.path, mutation.field)
        assert found.kind in mutation.kinds
        assert paths.steps(found.path)[0] == found.field


@COMMON
@given(
    st.lists(st.one_of(names, st.integers(0, 30)), max_size=5).filter(
        lambda steps: not steps or isinstance(steps[0], str)
    )
)
def test_paths_can_be_read_back(steps: list[str | int]) -> None:
    path = ""
    for step in steps:
        path = paths.element(path, step) if isinstance(step, int) else paths.member(path, step)
    assert paths.steps(path) == tuple(steps)
    assert all(paths.pattern(pattern).fullmatch(path) for pattern in ("**", *([] if "*" in path else [path])))


# --- pages -----------------------------------------------------------------------------------------------------------

SHAPE = PageShape(ItemShape(("id",), lambda _item: RULES), ("at",))


@st.composite
def collections(draw: st.DrawFn) -> list[Item]:
    """All items of an index, in order, with ties."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    found: list[Item] = []
    for rank, size in enumerate(sizes):
        found += [{"id": {"S": f"{rank}-{index}"}, "at": {"N": str(rank)}} for index in range(size)]
    return found


def shuffled_ties(items: list[Item], data: st.DataObject) -> list[Item]:
    """The same items as another store may order them."""
    return sorted(data.draw(st.permutations(items)), key=lambda item: parse_number(item["at"]["N"]) or Decimal(0))


def page(items: list[Item], start: Item | None = None, limit: int | None = None) -> dict[str, Any]:
    """What a store that orders its items so answers to a Query from `start` on: DynamoDB's paging."""
    begin = items.index(start) + 1 if start is not None else 0
    shown = items[begin:] if limit is None else items[begin : begin + limit]
    answer: dict[str, Any] = {"Items": shown, "Count": len(shown), "ScannedCount": len(shown)}
    if limit is not None and len(shown) == limit:
        answer["LastEvaluatedKey"] = shown[-1]
    return answer


@COMMON
@given(collections(), st.data())
def test_stores_that_order_ties_otherwise_agree_on_every_page(held: list[Item], data: st.DataObject) -> None:
    mirrored = shuffled_ties(held, data)
    assert compare_pages(page(held), page(mirrored), SHAPE).agreed
    start = data.draw(st.none() | st.sampled_from(held))
    limit = data.draw(st.integers(1, len(held)))
    shape = replace(SHAPE, start=start)
    comparison = compare_pages(page(held, start, limit), page(mirrored, start, limit), shape)
    assert comparison.differences == ()
    first, second = page(held, start, limit)["Items"], page(mirrored, start, limit)["Items"]
    lone = [item["id"] for item in first if item not in second] + [item["id"] for item in second if item not in first]
    assert [entry.key for entry in comparison.undecided] == [{"id": key} for key in lone]


@COMMON
@given(collections(), st.data())
def test_a_lost_or_added_item_is_found_by_its_key(held: list[Item], data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(held))
    mirrored = shuffled_ties([item for item in held if item is not lost], data)
    for authority, mirror, kind in ((held, mirrored, Kind.MISSING), (mirrored, held, Kind.EXTRA)):
        (found,) = compare_pages(page(authority), page(mirror), SHAPE).differences
        assert (found.kind, found.path, found.key) == (kind, "", {"id": lost["id"]})


@COMMON
@given(collections(), st.data())
def test_a_lost_item_is_found_on_its_page_or_left_to_be_read(held: list[Item], data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(held))
    mirrored = [item for item in held if item is not lost]
    limit = data.draw(st.integers(1, len(held)))
    authority, mirror = page(held, None, limit), page(mirrored, None, limit)
    comparison = compare_pages(authority, mirror, SHAPE)
    assert all((found.kind, found.key) == (Kind.MISSING, {"id": lost["id"]}) for found in comparison.differences)
    to_read = comparison.keys()
    assert ({"id": lost["id"]} in to_read) == (lost in authority["Items"])
    boundary = authority.get("LastEvaluatedKey", {}).get("at")
    if lost in authority["Items"] and lost["at"] != boundary:
        assert len(comparison.differences) == 1


@COMMON
@given(collections(), st.data())
def test_an_item_moved_outside_its_tie_is_found(held: list[Item], data: st.DataObject) -> None:
    moved = data.draw(st.sampled_from(held))
    others = [item for item in held if item is not moved]
    position = data.draw(st.integers(0, len(others)))
    passed = others[min(position, held.index(moved)) : max(position, held.index(moved))]
    beyond = [item for item in passed if item["at"] != moved["at"]]
    mirrored = [*others[:position], moved, *others[position:]]
    found = compare_pages(page(held), page(mirrored), SHAPE).differences
    assert {one.kind for one in found} == ({Kind.ORDER} if beyond else set())
    if len(beyond) > 1:
        assert [one.key for one in found] == [{"id": moved["id"]}]


@COMMON
@given(collections(), st.data())
def test_an_unpaged_scan_is_a_set_and_a_paged_one_never_judges_absence(held: list[Item], data: st.DataObject) -> None:
    scan = replace(SHAPE, sort=())
    mirrored = list(data.draw(st.permutations(held)))
    assert compare_pages(page(held), page(mirrored), scan).agreed
    limit = data.draw(st.integers(1, len(held)))
    assert compare_pages(page(held, None, limit), page(mirrored, None, limit), scan).differences == ()


# --- redaction -------------------------------------------------------------------------------------------------------


def leaves(value: Value) -> Iterator[Value]:
    ((tag, held),) = value.items()
    yield value
    for inner in held if tag == "L" else held.values() if tag == "M" else ():
        yield from leaves(inner)


def texts(value: Value) -> Iterator[str]:
    """Every text that a value says, at any depth: strings, numbers, binary, members, names."""
    for leaf in leaves(value):
        ((tag, held),) = leaf.items()
        if tag in ("S", "N", "B"):
            yield held
        elif tag in ("SS", "NS", "BS") or tag == "M":
            yield from held


REDACTOR = Redactor(b"a key for these tests only")
VOCABULARY = (
    '{"type": "hash": "shape": "length": "digits": "fraction": "members": "keys": "few" "double" "wide" true false}'
)


@COMMON
@given(values)
def test_redaction_gives_nothing_away(value: Value) -> None:
    shown = json.dumps(REDACTOR.redact(value), ensure_ascii=False)
    for text in texts(value):
        if len(text) >= 4 and text not in VOCABULARY:
            assert text not in shown
    for leaf in leaves(value):
        if "N" in leaf:
            assert leaf["N"] not in json.dumps(REDACTOR.redact(leaf))


@COMMON
@given(values, values)
def test_hashes_are_equal_exactly_when_values_are(one: Value, other: Value) -> None:
    first, second, again = (REDACTOR.redact(value) for value in (one, other, respelt(one, True)))
    assert first is not None
    assert second is not None
    assert again is not None
    assert first["hash"] == again["hash"]
    assert (first["hash"] == second["hash"]) == (canonical_form(one) == canonical_form(other))
