"""Hypothesis strategies for what DynamoDB holds and says: numbers, values, items, paths, conditions, updates.

Names and small values come from small pools, so that a path often leads somewhere and a comparison is often close.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from proxy.dynamodb.expressions.ast import (
    Action,
    Add,
    And,
    Arithmetic,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    Delete,
    FunctionCall,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Projection,
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.values import TYPES, Item, Value, canonical, canonical_number, order

# --- numbers ----------------------------------------------------------------------------------------------------------


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    """A valid Number in any spelling: signs, zeros to spare, a point anywhere, an exponent or none."""
    digits = draw(st.one_of(st.integers(0, 99), st.integers(10**36, 10**38 - 1), st.integers(0, 10**38 - 1)))
    text = str(digits)
    magnitude = draw(st.one_of(st.integers(-3, 20), st.sampled_from((-130, -129, 124, 125)), st.integers(-130, 125)))
    # The text's first digit is to stand for 10^magnitude: a point after `point` digits leaves this exponent.
    point = draw(st.integers(0, len(text)))
    exponent = magnitude - (point - 1)
    if not digits:
        exponent = min(max(exponent, -130), 125)  # a zero is measured by the exponent that it is written with
    spare = "0" * draw(st.integers(0, 2))
    whole, fraction = text[:point], text[point:]
    mantissa = f"{spare}{whole or '0'}"
    if fraction or draw(st.booleans()):
        mantissa += f".{fraction}{spare}"
    sign = draw(st.sampled_from(("", "-", "+")))
    return f"{sign}{mantissa}{draw(st.sampled_from(('e', 'E')))}{exponent:+d}" if exponent else sign + mantissa


def numbers() -> st.SearchStrategy[str]:
    """A canonical Number: often small, sometimes at the limits."""
    near = st.sampled_from(("0", "1", "-1", "2", "10", "0.5", "-0.1", "8.5", "1700000000000"))
    return st.one_of(near, near, number_texts().map(canonical_number))


# --- values -----------------------------------------------------------------------------------------------------------

_LETTERS = st.sampled_from(("", "a", "ab", "abc", "b", "é", "日本", "😀", "z\x00", "S"))


def texts() -> st.SearchStrategy[str]:
    """A String without lone surrogates, which no JSON reader lets through."""
    return st.one_of(_LETTERS, st.text(st.characters(codec="utf-8"), max_size=8))


def binaries() -> st.SearchStrategy[str]:
    """A Binary as base64."""
    return st.binary(max_size=6).map(lambda data: b64encode(data).decode())


def scalars() -> st.SearchStrategy[Value]:
    """S, N, B, BOOL or NULL."""
    return st.one_of(
        texts().map(lambda text: {"S": text}),
        numbers().map(lambda text: {"N": text}),
        binaries().map(lambda text: {"B": text}),
        st.booleans().map(lambda flag: {"BOOL": flag}),
        st.just({"NULL": True}),
    )


def sets() -> st.SearchStrategy[Value]:
    """SS, NS or BS, canonical."""

    def members(tag: str, member: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
        some = st.lists(member.filter(bool), min_size=1, max_size=4, unique=True)
        return some.map(lambda found: canonical({tag: found}))

    return st.one_of(members("SS", texts()), members("NS", numbers()), members("BS", binaries()))


def values() -> st.SearchStrategy[Value]:
    """Any canonical value, nested a few levels at most."""
    return st.recursive(
        st.one_of(scalars(), sets()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda found: {"L": found}),
            st.dictionaries(names(), inner, max_size=3).map(lambda found: {"M": found}),
        ),
        max_leaves=6,
    )


@st.composite
def respelt(draw: st.DrawFn, value: Value) -> Value:
    """The same value in another spelling: numbers with an exponent or zeros to spare, sets in another order."""
    [(tag, content)] = value.items()
    if tag == "N":
        return {"N": draw(_respelt_number(content))}
    if tag == "NS":
        return {"NS": [draw(_respelt_number(each)) for each in draw(st.permutations(content))]}
    if tag in ("SS", "BS"):
        return {tag: list(draw(st.permutations(content)))}
    if tag == "L":
        return {"L": [draw(respelt(each)) for each in content]}
    if tag == "M":
        return {"M": {name: draw(respelt(each)) for name, each in content.items()}}
    return dict(value)


def _respelt_number(text: str) -> st.SearchStrategy[str]:
    sign, plain = ("-", text[1:]) if text[0] == "-" else ("", text)
    padded = plain + ("00" if "." in plain else ".0")
    spellings = [text, f"{sign}0{plain}", sign + padded, f"{text}e0"]
    if text == "0":
        spellings.append("-0")
    return st.sampled_from(spellings)


# --- names, paths and items -------------------------------------------------------------------------------------------

_NAMES = ("a", "b", "c", "d", "type", "Name", "type:id", "x.y", "#h", ":v", "remove", "日", "A1_", "0")


def names() -> st.SearchStrategy[str]:
    """An attribute name: plain, reserved, or one that an expression cannot spell."""
    return st.sampled_from(_NAMES)


def items() -> st.SearchStrategy[Item]:
    """A canonical item, keys and all; some hold one attribute only."""
    return st.dictionaries(names(), values(), max_size=6)


def paths() -> st.SearchStrategy[Path]:
    """A path of one to four parts."""
    parts = st.lists(st.one_of(names(), st.integers(0, 3)), max_size=3)
    return st.builds(lambda head, rest: Path((head, *rest)), names(), st.one_of(st.just([]), parts))


def _clash(one: Path, two: Path) -> bool:
    for mine, theirs in zip(one.parts, two.parts, strict=False):
        if isinstance(mine, int) is not isinstance(theirs, int):
            return True
        if mine != theirs:
            return False
    return True


def _disjoint(found: Sequence[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in found:
        if not any(_clash(path, other) for other in kept):
            kept.append(path)
    return kept


def disjoint_paths(min_size: int = 0) -> st.SearchStrategy[list[Path]]:
    """Paths that may stand together in an update or a projection."""
    return st.lists(paths(), min_size=min_size, max_size=5).map(_disjoint)


def projections() -> st.SearchStrategy[Projection]:
    """A valid projection of one path or more."""
    return disjoint_paths(min_size=1).map(lambda found: Projection(tuple(found)))


# --- conditions -------------------------------------------------------------------------------------------------------


def _literals(value: st.SearchStrategy[Value]) -> st.SearchStrategy[Operand]:
    return value.map(Literal)


def _sized() -> st.SearchStrategy[Operand]:
    return paths().map(lambda path: FunctionCall("size", (path,)))


def _ordered() -> st.SearchStrategy[Operand]:
    literal = scalars().filter(lambda value: "BOOL" not in value and "NULL" not in value)
    return st.one_of(paths(), _literals(literal), _sized())


def _distinct(operands: Sequence[Operand]) -> bool:
    return not (isinstance(operands[0], Path) and operands[0] in operands[1:])


def _bounds_in_order(between: BetweenCondition) -> bool:
    if not (isinstance(between.low, Literal) and isinstance(between.high, Literal)):
        return True
    return order(between.low.value, between.high.value) in (-1, 0)


def leaves() -> st.SearchStrategy[Condition]:
    """One comparison or function that DynamoDB accepts."""
    anything = st.one_of(paths(), _literals(values()), _sized())
    pair = st.tuples(anything, anything).filter(_distinct)
    ordered = st.tuples(_ordered(), _ordered()).filter(_distinct)
    text = st.one_of(paths(), _literals(texts().map(lambda found: {"S": found})))
    choices: list[st.SearchStrategy[Condition]] = [
        st.builds(lambda operator, two: ComparisonCondition(operator, *two), st.sampled_from(("=", "<>")), pair),
        st.builds(
            lambda operator, two: ComparisonCondition(operator, *two), st.sampled_from(("<", "<=", ">", ">=")), ordered
        ),
        st.tuples(_ordered(), _ordered(), _ordered())
        .filter(_distinct)
        .map(lambda three: BetweenCondition(*three))
        .filter(_bounds_in_order),
        st.lists(anything, min_size=2, max_size=4).filter(_distinct).map(lambda found: In(found[0], tuple(found[1:]))),
        st.builds(
            lambda function, path: FunctionCall(function, (path,)),
            st.sampled_from(("attribute_exists", "attribute_not_exists")),
            paths(),
        ),
        st.builds(
            lambda path, tag: FunctionCall("attribute_type", (path, Literal({"S": tag}))),
            paths(),
            st.sampled_from(TYPES),
        ),
        st.tuples(text, text).filter(_distinct).map(lambda two: FunctionCall("begins_with", two)),
        st.tuples(st.one_of(paths(), _literals(values())), st.one_of(paths(), _literals(values())))
        .filter(_distinct)
        .map(lambda two: FunctionCall("contains", two)),
    ]
    return st.one_of(choices)


def conditions() -> st.SearchStrategy[Condition]:
    """A bound condition that DynamoDB accepts, nested a few levels."""

    def joined(junction: Callable[[tuple[Condition, ...]], Condition]) -> Callable[[list[Condition]], Condition]:
        return lambda terms: junction(tuple(terms))

    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(joined(And)),
            st.lists(inner, min_size=2, max_size=3).map(joined(Or)),
            inner.map(Not),
        ),
        max_leaves=6,
    )


# --- updates ----------------------------------------------------------------------------------------------------------


def _numeric() -> st.SearchStrategy[Operand]:
    return st.one_of(paths(), _literals(numbers().map(lambda text: {"N": text})))


def _listed() -> st.SearchStrategy[Operand]:
    literal = _literals(st.lists(scalars(), max_size=2).map(lambda found: {"L": found}))
    kept = st.tuples(paths(), literal).map(lambda two: FunctionCall("if_not_exists", two))
    return st.one_of(paths(), literal, kept)


def assigned() -> st.SearchStrategy[Operand | Arithmetic]:
    """What SET may assign."""
    choices: list[st.SearchStrategy[Operand | Arithmetic]] = [
        paths(),
        _literals(values()),
        _literals(values()),
        st.tuples(paths(), st.one_of(paths(), _literals(values()))).map(lambda two: FunctionCall("if_not_exists", two)),
        st.tuples(_listed(), _listed()).map(lambda two: FunctionCall("list_append", two)),
        st.builds(Arithmetic, st.sampled_from(("+", "-")), _numeric(), _numeric()),
    ]
    return st.one_of(choices)


@st.composite
def updates(draw: st.DrawFn) -> Update:
    """A bound update that DynamoDB accepts as text, sections apart; an item may still not bear it."""
    sections = draw(st.permutations(("SET", "REMOVE", "ADD", "DELETE")))
    chosen = draw(disjoint_paths(min_size=1))
    placed = sorted((draw(st.integers(0, 3)), index) for index in range(len(chosen)))
    addable = st.one_of(sets(), numbers().map(lambda text: {"N": text}))
    actions: list[Action] = []
    for section, index in placed:
        path = chosen[index]
        if sections[section] == "SET":
            actions.append(Set(path, draw(assigned())))
        elif sections[section] == "REMOVE":
            actions.append(Remove(path))
        elif sections[section] == "ADD":
            actions.append(Add(path, Literal(draw(addable))))
        else:
            actions.append(Delete(path, Literal(draw(sets()))))
    return Update(tuple(actions))
