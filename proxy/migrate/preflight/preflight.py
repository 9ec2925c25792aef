"""Counts the problems of a whole table, and reports each with its number of items, their types and three keys.

Memory is bounded whatever the items contain: at most 500 findings are kept apart and the rest are counted together, and
what needs the whole table is in the file of `cross_item_checks`. Nothing is written to either store.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from comparators.redact import Redactor
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.references import Reference
from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
from proxy.migrate.preflight.item_checks import ItemProblem, ProblemKind, TableMapping, check_item, check_table

EXAMPLES: Final = 3
_MOST_FINDINGS: Final = 500
_MOST_TYPES: Final = 20
OTHERS: Final = "(others)"
FILES: Final = "(entries that are not items)"


@dataclass(slots=True)
class _ProblemCounts:
    items: int = 0
    reason: str = ""
    types: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, reason: str, key: str | None, item_type: str) -> None:
        self.items += 1
        self.reason = self.reason or reason
        self.types[item_type if item_type in self.types or len(self.types) < _MOST_TYPES else OTHERS] += 1
        if key is not None and len(self.examples) < EXAMPLES:
            self.examples.append(key)


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """One kind of problem with one attribute: its items by type, the first reason found, and examples.

    `items` is 0 for a problem of the mapping. `examples` are keys, redacted unless values were requested.
    """

    kind: ProblemKind
    attribute: str
    items: int
    types: dict[str, int]
    reason: str
    examples: tuple[Any, ...]

    def document(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind),
            "loses": self.kind.loses,
            "attribute": self.attribute,
            "items": self.items,
            "types": self.types,
            "reason": self.reason,
            "remedy": self.kind.remedy,
            "examples": list(self.examples),
        }


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """The report: losses first, then by number of items. `unchecked` says what could not be checked."""

    table: str
    items: int
    findings: tuple[PreflightFinding, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def losses(self) -> tuple[PreflightFinding, ...]:
        return tuple(each for each in self.findings if each.kind.loses)

    def document(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "items": self.items,
            "clean": not self.losses,
            "findings": [each.document() for each in self.findings],
            "unchecked": list(self.unchecked),
        }

    def text(self) -> str:
        """Return the report for people: for each finding a line, its keys and its remedy."""
        lines = [f"{self.table}: {self.items} items checked"]
        for each in self.findings:
            whom = f"{each.items} items" if each.items else "the mapping"
            types = ", ".join(f"{name or '(none)'} {count}" for name, count in each.types.items())
            lines.append("")
            lines.append(f"{'LOSS' if each.kind.loses else 'note'}  {each.attribute} {each.kind.description}: {whom}")
            if each.types and list(each.types) != [""]:
                lines.append(f"      types: {types}")
            lines.append(f"      why: {each.reason}")
            lines.extend(f"      key: {orjson.dumps(example).decode()}" for example in each.examples)
            lines.append(f"      remedy: {each.kind.remedy}")
        lines.append("")
        lines.extend(f"not checked: {each}" for each in self.unchecked)
        lines.append(_summary_line(len(self.losses)))
        return "\n".join(lines)


def _summary_line(losses: int) -> str:
    return f"{losses} kinds of loss" if losses else "nothing would be lost"


class Preflight:
    """A preflight check: takes items page by page, then reports.

    `whole` says that every item of the table will be checked; references cannot be checked with a sample.
    """

    def __init__(
        self,
        mapping: TableMapping,
        schema: TableSchema,
        cross_item_checks: CrossItemChecks,
        references: tuple[Reference, ...] = (),
        *,
        whole: bool = True,
    ) -> None:
        self._mapping = mapping
        self._schema = schema
        self._cross_item_checks = cross_item_checks
        self._references = references if whole else ()
        self._unchecked_references = () if whole else references
        # Only a literal mapping can put two keys into one row; other mappings' key columns give the key back.
        self._rows_may_be_shared = isinstance(mapping, ColumnMapping) and mapping.literal
        self._whole = whole
        self._counts: dict[tuple[ProblemKind, str], _ProblemCounts] = {}
        self.items = 0

    def check_items(self, items: Iterable[Item]) -> None:
        """Check a page of items."""
        for item in items:
            self.items += 1
            item_type = self._mapping.type_of(item)
            key, problems = check_item(self._mapping, self._schema, item)
            for problem in problems:
                self._count(problem, key.text if key is not None else None, item_type)
            if key is not None:
                self._record_item(key, item, item_type)

    def count_unreadable(self, place: str, reason: str) -> None:
        """Count an entry of a file that is not an item."""
        self.items += 1
        self._count(ItemProblem(ProblemKind.FORM, FILES, f"{place}: {reason}"), None, "")

    def add_problem(self, problem: ItemProblem) -> None:
        """Add a problem of the mapping that was found elsewhere."""
        counts = self._counts.setdefault((problem.kind, problem.attribute), _ProblemCounts())
        counts.reason = counts.reason or problem.reason

    def report(self, *, values: bool) -> PreflightReport:
        """Return the report. Examples are plain keys with `values`, else hashes and shapes: a key is an item's
        value."""
        for problem in check_table(self._mapping, self._schema):
            self.add_problem(problem)
        self._count_cross_item_findings()
        redactor = Redactor(secrets.token_bytes(32))
        findings = [
            PreflightFinding(
                kind,
                attribute if values or self._declared(kind, attribute) else redactor.name(attribute),
                counts.items,
                dict(counts.types.most_common()),
                counts.reason,
                tuple(self._example(text, redactor, values) for text in counts.examples),
            )
            for (kind, attribute), counts in self._counts.items()
        ]
        findings.sort(key=lambda each: (not each.kind.loses, -each.items, each.kind, each.attribute))
        return PreflightReport(self._mapping.table, self.items, tuple(findings), self._unchecked())

    def _example(self, text: str, redactor: Redactor, values: bool) -> dict[str, Any]:
        key: Item = orjson.loads(text)
        return key if values else redactor.redact_item(key, self._mapping.table)

    def _declared(self, kind: ProblemKind, attribute: str) -> bool:
        """Whether the name comes from the mapping or the table's schema, and so reveals nothing about an item."""
        return (
            kind is ProblemKind.INDEX
            or attribute == FILES
            or attribute in self._mapping.fields
            or attribute in self._schema.types
        )

    def _record_item(self, key: Key, item: Item, item_type: str) -> None:
        for number, reference in enumerate(self._references):
            target = reference.pointed_to(item)
            if target is not None:
                self._cross_item_checks.add_reference(number, target, key, item_type)
            meant_by = reference.stands_for(item, item_type)
            if meant_by is not None:
                self._cross_item_checks.add_target(number, meant_by)
        if self._rows_may_be_shared and (row := self._mapping.key_values(key)) is not None:
            self._cross_item_checks.add_row(row, key, item_type)

    def _count_cross_item_findings(self) -> None:
        for number, reference in enumerate(self._references):
            meant = f"no {reference.item_type or 'item'} has it as its {reference.to}"
            for each in self._cross_item_checks.dangling_references(number):
                self._count(ItemProblem(ProblemKind.DANGLING, reference.attribute, meant), each.key, each.item_type)
        if self._rows_may_be_shared:
            columns = ", ".join(self._mapping.key_columns)
            shared = f"the primary key is {columns} alone: only the item written last remains"
            for each in self._cross_item_checks.items_sharing_rows():
                self._count(ItemProblem(ProblemKind.DUPLICATE, self._schema.hash, shared), each.key, each.item_type)

    def _unchecked(self) -> tuple[str, ...]:
        unchecked = [
            f"whether {each.attribute} refers to an item that exists: this takes the whole table"
            for each in self._unchecked_references
        ]
        if self._rows_may_be_shared and not self._whole:
            unchecked.append("keys that share a row with an item outside the sample")
        return tuple(unchecked)

    def _count(self, problem: ItemProblem, key: str | None, item_type: str) -> None:
        name = (problem.kind, problem.attribute)
        if name not in self._counts and len(self._counts) >= _MOST_FINDINGS:
            name = (problem.kind, OTHERS)
        self._counts.setdefault(name, _ProblemCounts()).add(problem.reason, key, item_type)
