"""What a mapping file says of one column and of one index: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.mapping.codecs import Codec


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """A column and the attribute it holds; `required` is SQL's NOT NULL.

    `path` has two names for an attribute inside a map (`image`, `url`), which only a literal mapping may have. `only`
    are the item types that may have a value in the column, by a CHECK of the table's; empty for all.
    """

    name: str
    path: tuple[str, ...]
    codec: Codec
    required: bool = False
    only: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServedIndex:
    """What TOML says of a DynamoDB index: its key attributes, and the SQL index that serves it.

    `sort` names another column to order by than the index's sort attribute's; `groups` gives, for a hash value, the
    values of `column` that stand for it (an attribute that the SQL table does not have). An index with either has one
    hash attribute and at most one range attribute.
    """

    sql_index: str
    hashes: tuple[str, ...]
    ranges: tuple[str, ...]
    sort: str | None = None
    column: str | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
