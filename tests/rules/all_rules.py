"""All rules."""

from __future__ import annotations

from typing import Final

from tests.rules import expressions, forms, legacy, queries, transactions, values
from tests.rules.rule import Rule

RULES: Final[list[Rule]] = [
    *forms.RULES,
    *values.RULES,
    *expressions.RULES,
    *queries.RULES,
    *legacy.RULES,
    *transactions.RULES,
]
