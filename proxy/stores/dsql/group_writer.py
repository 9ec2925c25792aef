"""Writes many rows of the mirror at once, each guarded by what was read of it.

One statement for each table and kind of write, each a transaction of its own: the rows of a group need not change
together. Retries conflicts of the whole group; the caller divides a group that goes on meeting them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from proxy.stores.dsql.bulk import SAFE_BYTES, batches
from proxy.stores.dsql.sql.array_literal import array_literal
from proxy.stores.dsql.sql.checksums import parameters
from proxy.stores.dsql.sql.conditional_write import ConditionalWrite, plan_write
from proxy.stores.dsql.sql.group_statements import GroupStatements
from proxy.stores.dsql.sql.many_keys import comparable
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.errors import StoreError
from proxy.stores.execution.coalesced_rows import GuardedPut
from proxy.stores.interface import StoredItem, Unrepresentable

# A statement's rows are also bound as text, which is longer than the row in the database.
_MAX_GROUP_BYTES: Final = SAFE_BYTES // 2


class GroupWriter:
    """The writer of groups of rows over a runner of statements. `statements_of` gives the statements for a table."""

    def __init__(self, runner: StatementRunner, statements_of: Callable[[str], Statements]) -> None:
        self._runner = runner
        self._statements_of = statements_of
        self._groups: dict[str, tuple[Statements, GroupStatements]] = {}

    async def put_many(self, puts: Sequence[GuardedPut]) -> list[StoredItem | StoreError | None]:
        """Return for each put what the row holds now, None if it had moved on, or why it was not written.

        Raises StoreError for all of them; some may have been written then.
        """
        answers: list[StoredItem | StoreError | None] = [None] * len(puts)
        planned: dict[tuple[str, str], list[tuple[int, ConditionalWrite]]] = defaultdict(list)
        for place, put in enumerate(puts):
            statements = self._statements_of(put.key.table)
            try:
                write = plan_write(statements, put.key, put.wanted, put.held)
            except Unrepresentable as error:
                answers[place] = error
            else:
                planned[put.key.table, write.statement].append((place, write))
        for (table, _), writes in planned.items():
            for group in batches(writes, _size, max_bytes=_MAX_GROUP_BYTES):
                for place, write in await self._write(table, group):
                    answers[place] = write.result
        return answers

    async def _write(
        self, table: str, group: Sequence[tuple[int, ConditionalWrite]]
    ) -> list[tuple[int, ConditionalWrite]]:
        """Make the writes of one statement, and return those that changed their rows."""
        statements, groups = self._statements_of(table), self._group_statements(table)
        columns = list(zip(*(write.parameters for _, write in group), strict=True))
        texts = parameters(statements.mapping.columns)
        if group[0][1].creates:
            arrays = _arrays(columns, texts)
            rows = await self._runner.write(lambda c: c.fetch(groups.insert, *arrays), None)
            written = {comparable(row) for row in rows}
            return [each for each in group if comparable(each[1].parameters[n] for n in groups.keys) in written]
        keys = [texts[n] for n in groups.keys]
        others = [texts[n] for n in groups.others]
        places = array_literal([str(n) for n in range(len(group))])
        deletes = group[0][1].statement == statements.delete
        sql = groups.delete if deletes else groups.update
        arrays = _arrays(columns, [*keys, *others, *([] if deletes else others)])
        rows = await self._runner.write(lambda c: c.fetch(sql, places, *arrays), None)
        return [group[row["place"]] for row in rows]

    def _group_statements(self, table: str) -> GroupStatements:
        """The statements for groups of a table's rows, built again when its mapping is replaced."""
        statements = self._statements_of(table)
        cached = self._groups.get(table)
        if cached is None or cached[0] is not statements:
            cached = self._groups[table] = (statements, GroupStatements(statements.schema, statements.mapping))
        return cached[1]


def _arrays(columns: Sequence[Sequence[Any]], texts: Sequence[Callable[[Any], str]]) -> list[str]:
    return [
        array_literal([None if value is None else text(value) for value in column])
        for text, column in zip(texts, columns, strict=True)
    ]


def _size(planned: tuple[int, ConditionalWrite]) -> int:
    """About the bytes that a write's parameters have as text."""
    return sum(len(value) if isinstance(value, str | bytes) else 16 for value in planned[1].parameters)
