"""Brings a document mapping's table on DSQL to what the mapping wants: created, widened, indexed, or dropped.

Widening fills the new index columns of rows that were there before, from their JSON.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping, identifier
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.migrate.schema import ddl
from proxy.migrate.schema.index_jobs import execute
from proxy.migrate.schema.migration_files import MigrationError
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import Statements, qualified, quoted
from proxy.stores.errors import Refused, Unreachable

_ROWS: Final = 500


class Documents:
    """DDL over a pool of connections. `reserved` are SQL tables that belong to others, and are left alone."""

    def __init__(self, pool: Pool, schema: str, reserved: frozenset[str] = frozenset()) -> None:
        self._pool = pool
        self._schema = schema
        self._reserved = reserved

    async def create(self, mapping: DocumentMapping) -> None:
        """Raises StoreError."""
        if mapping.sql_table in self._reserved:
            taken = f"the SQL table {mapping.sql_table} is another table's: write a mapping that names one"
            raise Refused("reserved", taken)
        await self._attempt(self._create, mapping)

    async def drop(self, name: str) -> None:
        """Raises StoreError."""
        if identifier(name) not in self._reserved:
            await self._attempt(self._drop, name)

    async def _attempt(self, action: Any, subject: Any) -> None:
        try:
            async with self._pool.connection() as connection:
                changed = await action(connection, subject)
            if changed:
                # Statements that connections have prepared know the columns of the table that was.
                self._pool.expire_connections()
        except asyncpg.PostgresError as error:
            raise Refused(error.sqlstate or "ddl", str(error)) from error
        except MigrationError as error:  # a job that failed
            raise Refused("job", str(error)) from error
        except (OSError, asyncpg.InterfaceError) as error:
            raise Unreachable("connection", type(error).__name__) from error

    async def _drop(self, connection: asyncpg.Connection, name: str) -> bool:
        await execute(connection, ddl.drop_table(name, self._schema))
        return True

    async def _create(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> bool:
        """Whether it has made the table or changed its columns."""
        added: list[str] = []
        present = await self._columns(connection, mapping)
        if not present:
            await execute(connection, ddl.create_table(mapping, self._schema))
        else:
            added = ddl.add_columns(mapping, self._schema, present)
            for statement in added:
                await execute(connection, statement)
            if added:
                await self._fill(connection, mapping, present)
        for statement in ddl.create_indexes(mapping, self._schema):
            await execute(connection, statement)
        return bool(added) or not present

    async def _columns(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> frozenset[str]:
        rows = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2",
            self._schema,
            identifier(mapping.schema.name),
        )
        return frozenset(row["column_name"] for row in rows)

    async def _fill(self, connection: asyncpg.Connection, mapping: DocumentMapping, before: frozenset[str]) -> None:
        """Give new columns their values. A row that changes meanwhile has been written with them already."""
        statements = Statements(self._schema, mapping)
        new = [(n, column) for n, column in enumerate(mapping.columns) if column.name not in before]
        sets = ", ".join(f"{quoted(column.name)} = ${p}" for p, (_, column) in enumerate(new, 1))
        keys = [n for n, column in enumerate(mapping.columns) if column.name in mapping.key_columns]
        where = " AND ".join(f"{quoted(mapping.columns[n].name)} = ${p}" for p, n in enumerate(keys, len(new) + 1))
        guard = f"{quoted(mapping.columns[-1].name)}::text = ${len(new) + len(keys) + 1}::text"
        update = f"UPDATE {qualified(self._schema, mapping.sql_table)} SET {sets} WHERE {where} AND {guard}"  # noqa: S608
        after: tuple[Any, ...] = ()
        while True:
            rows = await connection.fetch(statements.scan(segmented=False, cursor=bool(after)), *after, _ROWS)
            for row in rows:
                try:
                    item: Item = mapping.decode(tuple(row))
                except UnreadableRow:
                    continue  # verify names it, and a repair writes it whole
                encoded = mapping.encode(mapping.schema.key_of(item), item)
                if encoded.values is None:
                    continue
                values = encoded.values
                await connection.execute(update, *(values[n] for n, _ in new), *(row[n] for n in keys), row[-1])
            if len(rows) < _ROWS:
                return
            after = tuple(rows[-1][name] for name in mapping.key_columns)
