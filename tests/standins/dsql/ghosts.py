"""Copies of tables in which a doomed transaction goes on: it answers what the transaction sees, and never commits.

A copy holds the table as the transaction's snapshot has it, and then what the transaction itself has written.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from pglast import ast
from pglast.parser import parse_sql

from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.backend import Backend
from tests.standins.dsql.databases import Database, Table, identifier
from tests.standins.dsql.executions import Execution, Failed, aside
from tests.standins.dsql.sql import spelling
from tests.standins.dsql.sql.statements import Kind, Statement
from tests.standins.dsql.sql.trees import Relation

_GHOST: Final = "cf_ghost"
_EXTENDED: Final = frozenset(b"DCsI")
_SIMPLE: Final = frozenset(b"TDCI")
_KEY: Final = re.compile(r"^Key \((?:.*?)\)=(\(.*\)) is (not present|still referenced)", re.DOTALL)


class Ghosts:
    """The copies of one transaction."""

    def __init__(self, backend: Backend, database: Database) -> None:
        self._backend = backend
        self._database = database
        self._copies: dict[int, str] = {}
        self._named: set[Relation] = set()

    def concern(self, statement: Statement) -> bool:
        """Whether the statement names a table that is a copy here."""
        return bool({each.name for each in self._named} & {each.name for each in statement.tables})

    async def answer(self, execution: Execution, prefix: list[bytes]) -> list[bytes]:
        """Carry the statement out here; its frames, after those that have been answered already. Raises Failed."""
        statement = execution.statement
        for target in statement.targets:
            table = await self._database.table(target)
            if table is not None and table.oid not in self._copies:
                await self._copy(table)
                self._named.add(target)
        tree = parse_sql(statement.sql)[0].stmt
        if statement.kind is Kind.LOCK and isinstance(tree, ast.SelectStmt):
            tree.lockingClause = None
        sql = spelling.redirected(tree, await self._places(statement.tables))
        name = b"S" + _GHOST.encode() + b"\0"
        data = wire.frame(b"C", name) + wire.parse(_GHOST, sql, execution.oids) + wire.bind("", _GHOST, execution.tail)
        data += (wire.describe_portal("") if execution.simple else b"") + wire.execute("") + wire.SYNC
        reply = await self._backend.exchange(data)
        if reply.error:
            raise Failed(reply.error)
        described = any(each[0] == 84 for each in prefix)
        kinds = (_SIMPLE - frozenset(b"T") if described else _SIMPLE) if execution.simple else _EXTENDED
        return prefix + [each for each in reply.frames if each[0] in kinds]

    async def foreign_key_held(self, fields: wire.ErrorFields) -> bool:
        """Whether the foreign key that was found violated is not, by what the transaction sees."""
        key = await self._database.foreign_key(fields.constraint or "")
        found = _KEY.match(fields.detail or "")
        if key is None or found is None:
            return False
        missing = found[2] == "not present"
        side = "parent" if missing else "child"
        relation = Relation(key[f"{side}_schema"], key[f"{side}_name"])
        places = await self._places([relation])
        table = f"pg_temp.{places[relation]}" if relation in places else key[side]
        columns = ", ".join(f"{identifier(name)}::text" for name in key[f"{side}_columns"])
        value = "'" + found[1].replace("'", "''") + "'"
        sql = f"SELECT 1 FROM {table} WHERE '(' || concat_ws(', ', {columns}) || ')' = {value} LIMIT 1"
        there = any(each[0] == 68 for each in await self._own(sql))
        return there if missing else not there

    async def _places(self, relations: Iterable[Relation]) -> dict[Relation, str]:
        found = {}
        for each in relations:
            table: Any = await self._database.table(each)
            if table is not None and table.oid in self._copies:
                found[each] = self._copies[table.oid]
        return found

    async def _copy(self, table: Table) -> None:
        name = f"{_GHOST}_{table.oid}"
        columns = ", ".join(identifier(each) for each in table.columns)
        await self._own(f"CREATE TEMP TABLE {name} (LIKE {table.name} INCLUDING ALL) ON COMMIT DROP")
        await self._own(
            f"INSERT INTO pg_temp.{name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {table.name}"
        )
        self._copies[table.oid] = name

    async def _own(self, sql: str) -> list[bytes]:
        reply = await self._backend.exchange(aside(sql) + wire.SYNC)
        if reply.error:
            raise Failed(reply.error)
        return reply.frames
