"""Creates, widens, indexes and drops the DSQL table of a document mapping.

Several processes may need the same table at once. The first one creates each part; a process that loses a race reads
the catalog again and does what remains. An index is created after its columns have been filled from the JSON of the
existing rows. So a missing index means that its columns may not be filled yet, whichever process added them and
wherever that process ended.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping, identifier
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.migrate.schema import ddl
from proxy.migrate.schema.index_jobs import execute_ddl, find_running_job, wait_for_job
from proxy.migrate.schema.migration_files import MigrationError
from proxy.stores.dsql.conflicts import retry_conflicts
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import Statements, quoted
from proxy.stores.dsql.sqlstates import LOST_CONNECTION, NO_TABLE, is_ddl_race, to_store_error, to_unsent_error
from proxy.stores.errors import Refused, Unreachable

_ROWS: Final = 500
_INDEXES: Final = (
    "SELECT c.relname AS name, i.indisvalid AS valid FROM pg_catalog.pg_index i "
    "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = $1 AND t.relname = $2"
)


class DocumentTables:
    """The SQL tables of document mappings. `reserved` are SQL tables with other owners, which are never touched."""

    def __init__(self, pool: Pool, schema: str, reserved: frozenset[str] = frozenset()) -> None:
        self._pool = pool
        self._schema = schema
        self._reserved = reserved

    async def create(self, mapping: DocumentMapping) -> None:
        """Bring the mapping's table up to date. Raises StoreError; Refused if the SQL table is reserved."""
        if mapping.sql_table in self._reserved:
            taken = f"the SQL table {mapping.sql_table} belongs to another table: write a mapping that names a new one"
            raise Refused("reserved", taken)
        await self._run_ddl(self._create, mapping)

    async def drop(self, name: str) -> None:
        """Drop the table of a DynamoDB table, unless it is reserved. Raises StoreError."""
        if identifier(name) not in self._reserved:
            await self._run_ddl(self._drop, name)

    async def _run_ddl(self, action: Any, subject: Any) -> None:
        try:
            async with self._pool.connection() as connection:
                changed = await retry_conflicts(lambda: action(connection, subject), is_retryable=_lost_ddl_race)
            if changed:
                # Statements that connections have prepared refer to the table's previous columns.
                self._pool.expire_connections()
        except asyncpg.PostgresError as error:
            if _lost_ddl_race(error):
                raise Unreachable(
                    "table", f"another process changed the table at the same time: {error.sqlstate}"
                ) from error
            raise to_store_error(error, None, reading=True) from error
        except MigrationError as error:  # a job that failed
            raise Refused("job", str(error)) from error
        except LOST_CONNECTION as error:
            raise to_unsent_error(error, None) from error

    async def _drop(self, connection: asyncpg.Connection, name: str) -> bool:
        await execute_ddl(connection, ddl.drop_table(name, self._schema))
        return True

    async def _create(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> bool:
        """Create or widen the table, and create its indexes. Return whether the table's columns changed."""
        present = await self._columns(connection, mapping)
        if present:
            changes = ddl.add_columns(mapping, self._schema, present)
        else:
            changes = [ddl.create_table(mapping, self._schema)]
        for statement in changes:
            await execute_ddl(connection, statement)
        await self._create_missing_indexes(connection, mapping)
        return bool(changes)

    async def _create_missing_indexes(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> None:
        """Create the missing indexes, after filling their columns."""
        rows = await connection.fetch(_INDEXES, self._schema, mapping.sql_table)
        valid: dict[str, bool] = {row["name"]: row["valid"] for row in rows}
        missing = {
            name: statement
            for name, statement in ddl.create_indexes(mapping, self._schema).items()
            if not valid.get(name, False)
        }
        if missing:
            await self._fill_index_columns(connection, mapping)
        for name, statement in missing.items():
            if name in valid:  # another process is creating it, or has failed to
                job = await find_running_job(connection, statement)
                if job is not None:
                    await wait_for_job(connection, statement, job)
                    continue
                await execute_ddl(connection, ddl.drop_index(name, self._schema))
            await execute_ddl(connection, statement)

    async def _columns(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> frozenset[str]:
        rows = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2",
            self._schema,
            identifier(mapping.schema.name),
        )
        return frozenset(row["column_name"] for row in rows)

    async def _fill_index_columns(self, connection: asyncpg.Connection, mapping: DocumentMapping) -> None:
        """Fill the index columns, row by row. A row that changes meanwhile is left to its writer."""
        statements = Statements(self._schema, mapping)
        others = [n for n, column in enumerate(mapping.columns[:-1]) if column.name not in mapping.key_columns]
        if not others:
            return
        sets = ", ".join(f"{quoted(mapping.columns[n].name)} = ${p}" for p, n in enumerate(others, 1))
        keys = [n for n, column in enumerate(mapping.columns) if column.name in mapping.key_columns]
        where = " AND ".join(f"{quoted(mapping.columns[n].name)} = ${p}" for p, n in enumerate(keys, len(others) + 1))
        guard = f"{quoted(mapping.columns[-1].name)}::text = ${len(others) + len(keys) + 1}::text"
        update = f"UPDATE {statements.table} SET {sets} WHERE {where} AND {guard}"  # noqa: S608
        after: tuple[Any, ...] = ()
        while True:
            rows = await connection.fetch(statements.scan(segmented=False, cursor=bool(after)), *after, _ROWS)
            for row in rows:
                try:
                    item: Item = mapping.decode(tuple(row))
                except UnreadableRow:
                    continue  # a sweep reports the row, and its repair rewrites all of it
                encoded = mapping.encode(mapping.schema.key_of(item), item)
                if encoded.values is None or mapping.index_consistent(tuple(row), item):
                    continue
                values = (*(encoded.values[n] for n in others), *(row[n] for n in keys), row[-1])
                await retry_conflicts(lambda v=values: connection.execute(update, *v))  # type: ignore[misc]
            if len(rows) < _ROWS:
                return
            after = tuple(rows[-1][name] for name in mapping.key_columns)


def _lost_ddl_race(error: BaseException) -> bool:
    """Whether another process created a part of the table first, or dropped the table meanwhile."""
    return is_ddl_race(error) or getattr(error, "sqlstate", None) == NO_TABLE
