"""Profiles a sample of items: how often each attribute occurs, with which types, and how large its numbers are.

Pure. `draft` decides what follows from it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from proxy.dynamodb.values import Item

# A timestamp in milliseconds that an application stores is between 1980 and 2100.
_EARLIEST: Final = 315_532_800_000
_LATEST: Final = 4_102_444_800_000
_NEAR: Final = 0.3
# A discriminator's information gain is 2 to 12 times its own entropy in the tables tested. An owner's or a tenant's id
# gains a fifth at most; as a discriminator it would become a label of metrics and a field of every log line.
_LEAST_GAIN_RATIO: Final = 0.5
_MOST_TYPES: Final = 50
_MOST_TYPES_WITHOUT_GAIN: Final = 12


@dataclass(slots=True)
class AttributeProfile:
    """The profile of an attribute.

    `items` have the attribute; `tags` counts its DynamoDB types. `before` and `after` are the most digits before and
    after the decimal point. `instants` says that every number can be a timestamp. `entries` are the keys of its maps.
    """

    items: int = 0
    tags: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    instants: bool = True
    entries: set[str] = field(default_factory=set)

    @property
    def tag(self) -> str:
        """The attribute's type in most items."""
        return self.tags.most_common(1)[0][0] if self.tags else ""

    @property
    def uniform(self) -> bool:
        """Whether the attribute has one type in all items."""
        return len(self.tags) == 1

    @property
    def timestamp(self) -> bool:
        """Whether every value can be a timestamp in epoch milliseconds."""
        return self.tag == "N" and self.uniform and self.instants


def profile_attributes(items: Iterable[Item]) -> dict[str, AttributeProfile]:
    """Return the profile of each attribute; the attributes of most items come first."""
    found: dict[str, AttributeProfile] = {}
    for item in items:
        for name, value in item.items():
            here = found.setdefault(name, AttributeProfile())
            tag = next(iter(value))
            here.items += 1
            here.tags[tag] += 1
            if tag == "N":
                _profile_number(here, Decimal(value["N"]))
            elif tag == "M" and len(here.entries) < 100:
                here.entries.update(value["M"])
    return dict(sorted(found.items(), key=lambda each: (-each[1].items, each[0])))


def find_discriminator(items: Sequence[Item], favoured: frozenset[str], made: Container[str]) -> str | None:
    """Return the attribute that tells item types apart, or None.

    A discriminator is a text in all items, has few values, is not a composite, and predicts which other attributes an
    item has. Candidates are ranked by gain ratio, as in C4.5: the information gained divided by the attribute's own
    entropy. (A genre predicts no more attributes than the type does, and has more values.) A favoured attribute, one
    that is part of the key, counts half as much again. If no attribute gains enough, all items may have one form; then
    only a favoured attribute with very few values is accepted.
    """
    if not items:
        return None
    most = max(2, min(_MOST_TYPES, len(items) // 4))
    present = [frozenset(item) for item in items]
    others = sorted(frozenset().union(*present) - frozenset.intersection(*present))
    found: dict[str, tuple[float, float]] = {}
    without_gain: list[str] = []
    for name, each in profile_attributes(items).items():
        if each.tags == {"S": len(items)} and name not in made:
            values = [item[name]["S"] for item in items]
            counts = Counter(values)
            if 2 <= len(counts) <= most:
                gain = _information_gain(values, present, others)
                own = sum(-n / len(items) * math.log2(n / len(items)) for n in counts.values())
                if gain >= own * _LEAST_GAIN_RATIO:
                    found[name] = (gain, gain / own * (1.5 if name in favoured else 1))
                elif name in favoured and len(counts) <= _MOST_TYPES_WITHOUT_GAIN:
                    without_gain.append(name)
    if not found:
        return max(without_gain, default=None)
    best = max(gain for gain, _ in found.values())
    return max((ratio, name in favoured, name) for name, (gain, ratio) in found.items() if gain >= best * _NEAR)[2]


def _information_gain(values: Sequence[str], present: Sequence[frozenset[str]], others: Sequence[str]) -> float:
    groups: dict[str, list[frozenset[str]]] = {}
    for value, names in zip(values, present, strict=True):
        groups.setdefault(value, []).append(names)
    gained = 0.0
    for other in others[:200]:
        whole = _entropy(sum(other in names for names in present), len(present))
        parts = sum(
            len(group) / len(present) * _entropy(sum(other in n for n in group), len(group))
            for group in groups.values()
        )
        gained += whole - parts
    return gained


def _entropy(there: int, of: int) -> float:
    """Return Shannon's entropy of the attribute's presence, in bits."""
    if there in (0, of):
        return 0.0
    share = there / of
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def _profile_number(attribute: AttributeProfile, number: Decimal) -> None:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # DynamoDB has no NaN and no infinity
    whole = number == number.to_integral_value()
    attribute.before = max(attribute.before, number.adjusted() + 1 if number else 0)
    attribute.after = max(attribute.after, 0 if whole else -exponent)
    attribute.instants = attribute.instants and whole and _EARLIEST <= number <= _LATEST
