"""Compares two attribute values under a rule: how they differ, and at which path inside them.

Chooses no rules, and knows nothing of items or answers.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias

from comparators import paths
from comparators.canonical_forms import MEMBER_FORMS, binary_form, canonical_form, is_precision_loss, parse_number
from comparators.difference import Kind, Value
from comparators.rules import AUTO, Comparator, Rule

ValueDifference: TypeAlias = tuple[str, Kind, Value | None, Value | None]
"""A difference inside a value: path, kind, the authority's value, the mirror's value."""

_AUTO_NULLS = Rule(null_is_missing=True)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def collect_differences(
    found: list[ValueDifference], path: str, authority: Value | None, mirror: Value | None, rule: Rule
) -> None:
    """Append to `found` the differences between two values at `path`, as `paths.name` writes it. None is no value.

    Maps are compared entry by entry at any depth, lists by position. For lists of different lengths, the ends that they
    share are set aside. If removing elements turns the longer rest into the shorter, exactly these elements are
    `missing` or `extra`, at their index in the list that has them; otherwise the rests are compared by position. Lists
    with the same elements in another order differ once, by `order`.
    """
    if authority == mirror or rule.comparator is Comparator.IGNORE:
        return
    if rule.null_is_missing:
        authority = None if authority and "NULL" in authority else authority
        mirror = None if mirror and "NULL" in mirror else mirror
    if authority is None or mirror is None:
        if authority is not mirror:
            found.append((path, Kind.EXTRA if authority is None else Kind.MISSING, authority, mirror))
        return
    ((tag, held),) = authority.items()
    ((other_tag, other),) = mirror.items()
    if tag != other_tag:
        found.append((path, Kind.TYPE, authority, mirror))
        return
    compare = _BY_TYPE.get(tag)
    if rule.comparator in _SPECIAL:
        compare = _SPECIAL[rule.comparator].get(tag, compare)
    before = len(found)
    if compare is not None:
        compare(found, path, held, other, rule)
    else:
        found.append((path, Kind.VALUE, authority, mirror))
    if len(found) == before and rule.comparator is Comparator.EXACT:
        found.append((path, Kind.SPELLING, authority, mirror))


_Compare: TypeAlias = Callable[[list[ValueDifference], str, Any, Any, Rule], None]


def _numbers(found: list[ValueDifference], path: str, authority: str, mirror: str, _rule: Rule) -> None:
    first, second = parse_number(authority), parse_number(mirror)
    if first is None or second is None:
        kind = Kind.VALUE
    elif first == second:
        return
    else:
        kind = Kind.PRECISION if is_precision_loss(first, second) else Kind.VALUE
    found.append((path, kind, {"N": authority}, {"N": mirror}))


def _numbers_exactly(found: list[ValueDifference], path: str, authority: str, mirror: str, _rule: Rule) -> None:
    first, second = parse_number(authority), parse_number(mirror)
    same = first is not None and first == second
    found.append((path, Kind.SPELLING if same else Kind.VALUE, {"N": authority}, {"N": mirror}))


def _binaries(found: list[ValueDifference], path: str, authority: str, mirror: str, _rule: Rule) -> None:
    if binary_form(authority) != binary_form(mirror):
        found.append((path, Kind.VALUE, {"B": authority}, {"B": mirror}))


def _epoch_timestamps(found: list[ValueDifference], path: str, authority: str, mirror: str, rule: Rule) -> None:
    first, second = parse_number(authority), parse_number(mirror)
    if first is None or second is None or abs(first - second) > Decimal(rule.tolerance_ms):
        _numbers(found, path, authority, mirror, rule)


def _iso_timestamps(found: list[ValueDifference], path: str, authority: str, mirror: str, rule: Rule) -> None:
    first, second = _instant(authority), _instant(mirror)
    if first is None or second is None or abs(first - second) / timedelta(milliseconds=1) > rule.tolerance_ms:
        found.append((path, Kind.VALUE, {"S": authority}, {"S": mirror}))


def _instant(text: str) -> timedelta | None:
    """Return the time since the epoch that an ISO 8601 text names, to the microsecond; None if it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH


def _sets(tag: str) -> _Compare:
    form_of = MEMBER_FORMS[tag]

    def compare(found: list[ValueDifference], path: str, authority: list[str], mirror: list[str], _rule: Rule) -> None:
        first = {form_of(text): text for text in authority}
        second = {form_of(text): text for text in mirror}
        if first.keys() != second.keys():
            lacking = [text for key, text in first.items() if key not in second]
            beyond = [text for key, text in second.items() if key not in first]
            found.append(
                (path, Kind.MEMBERSHIP, {tag: lacking} if lacking else None, {tag: beyond} if beyond else None)
            )

    return compare


def _maps(
    found: list[ValueDifference], path: str, authority: Mapping[str, Value], mirror: Mapping[str, Value], rule: Rule
) -> None:
    inherited = _AUTO_NULLS if rule.null_is_missing else AUTO
    for name, held in authority.items():
        other = mirror.get(name)
        if held != other:
            collect_differences(found, paths.member(path, name), held, other, rule.fields.get(name, inherited))
    for name, other in mirror.items():
        if name not in authority:
            collect_differences(found, paths.member(path, name), None, other, rule.fields.get(name, inherited))


def _lists(found: list[ValueDifference], path: str, authority: list[Value], mirror: list[Value], rule: Rule) -> None:
    forms = [canonical_form(value, rule.null_is_missing) for value in authority]
    others = [canonical_form(value, rule.null_is_missing) for value in mirror]
    if forms == others:
        return
    if len(forms) == len(others) and Counter(forms) == Counter(others):
        found.append((path, Kind.ORDER, {"L": authority}, {"L": mirror}))
        return
    start = 0
    shorter = min(len(forms), len(others))
    while start < shorter and forms[start] == others[start]:
        start += 1
    end = 0
    while end < shorter - start and forms[-1 - end] == others[-1 - end]:
        end += 1
    rest, other_rest = forms[start : len(forms) - end], others[start : len(others) - end]
    missing = _indexes_to_remove(rest, other_rest)
    extra = _indexes_to_remove(other_rest, rest)
    if missing is None and extra is None:
        common = min(len(rest), len(other_rest))
        inherited = _AUTO_NULLS if rule.null_is_missing else AUTO
        for index in range(start, start + common):
            collect_differences(found, paths.element(path, index), authority[index], mirror[index], inherited)
        missing, extra = list(range(common, len(rest))), list(range(common, len(other_rest)))
    found.extend(
        (paths.element(path, start + index), Kind.MISSING, authority[start + index], None) for index in missing or ()
    )
    found.extend((paths.element(path, start + index), Kind.EXTRA, None, mirror[start + index]) for index in extra or ())


def _indexes_to_remove(longer: list[Any], shorter: list[Any]) -> list[int] | None:
    """Return the indexes whose removal turns `longer` into `shorter`; None if no removal does."""
    if len(longer) <= len(shorter):
        return None
    found: list[int] = []
    matched = 0
    for index, value in enumerate(longer):
        if matched < len(shorter) and value == shorter[matched]:
            matched += 1
        else:
            found.append(index)
    return found if matched == len(shorter) else None


def _unordered_lists(
    found: list[ValueDifference], path: str, authority: list[Value], mirror: list[Value], rule: Rule
) -> None:
    for kind, ours, theirs in ((Kind.MISSING, authority, mirror), (Kind.EXTRA, mirror, authority)):
        remaining = Counter(canonical_form(value, rule.null_is_missing) for value in theirs)
        for index, value in enumerate(ours):
            key = canonical_form(value, rule.null_is_missing)
            if remaining[key]:
                remaining[key] -= 1
            else:
                sides = (value, None) if kind is Kind.MISSING else (None, value)
                found.append((paths.element(path, index), kind, *sides))


_BY_TYPE: Mapping[str, _Compare] = MappingProxyType(
    {
        "N": _numbers,
        "B": _binaries,
        "L": _lists,
        "M": _maps,
        **{tag: _sets(tag) for tag in MEMBER_FORMS},
    }
)

_SPECIAL: Mapping[Comparator, Mapping[str, _Compare]] = MappingProxyType(
    {
        Comparator.NUMBER_EXACT: {"N": _numbers_exactly},
        Comparator.TIMESTAMP: {"N": _epoch_timestamps, "S": _iso_timestamps},
        Comparator.UNORDERED_LIST: {"L": _unordered_lists},
    }
)
