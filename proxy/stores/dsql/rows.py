"""DSQL's rows as DynamoDB's operations need them (`proxy.stores.execution`): by key, by range, in transactions.

Items become rows by their table's mapping. Knows nothing of operations, of clients, or of who the authority is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import asyncpg

from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.listing import Listing
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.mapping.interface import Fault, TableMapping
from proxy.off_loop import LoopTurn
from proxy.stores.dsql.followed_tables import FollowedTables, request_creation
from proxy.stores.dsql.group_writer import GroupWriter
from proxy.stores.dsql.sql.conditional_write import encode_row, plan_write, stored_item
from proxy.stores.dsql.sql.listing_statements import count_statement, page_statement
from proxy.stores.dsql.sql.many_keys import comparable, many_parameters, rows_by_key, select_many
from proxy.stores.dsql.sql.ranges import range_query
from proxy.stores.dsql.sql.statements import SEGMENT_END, SEGMENT_MINE, Statements
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.dsql.transaction import SQLTransaction, open_transaction
from proxy.stores.dsql.unreadable_rows import UnreadableRowLog
from proxy.stores.errors import Refused, StoreError
from proxy.stores.execution.coalesced_rows import GuardedPut
from proxy.stores.interface import StoredItem

_FIRST_ROWS: Final = 100
_MAX_ROWS: Final = 1000

_MINE: Final = SEGMENT_MINE.strip('"')
_END: Final = SEGMENT_END.strip('"')

MappingOf = Callable[[str], TableMapping]
"""The mapping of a DynamoDB table, by its name. Raises KeyError if there is none."""


class DSQLRowStore:
    """A `RowStore` that also lists; with `guarantees` its transactions are an authority's (`AuthorityRows`).

    All methods that are awaited raise StoreError.
    """

    def __init__(
        self,
        runner: StatementRunner,
        mapping_of: MappingOf,
        schema: str,
        followed: FollowedTables,
        guarantees: AuthorityGuarantees | None,
    ) -> None:
        self._runner = runner
        self._mapping_of = mapping_of
        self._schema = schema
        self._followed = followed
        self._guarantees = guarantees
        self._statements: dict[str, tuple[TableMapping, Statements]] = {}
        self._unreadable = UnreadableRowLog()
        self._groups = GroupWriter(runner, self._statements_of)

    # -- by key -----------------------------------------------------------------------------------------------------

    async def get(self, key: Key) -> StoredItem:
        await self._followed.wait((key.table,))
        statements = self._statements_of(key.table)
        values = statements.mapping.key_values(key)
        if values is None:
            return StoredItem(None)
        try:
            row = await self._runner.read(lambda c: c.fetchrow(statements.select, *values))
        except Refused as error:
            request_creation(self._followed, error, (key.table,))
            raise
        return stored_item(statements.mapping, row)

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        await self._followed.wait({key.table for key in keys})
        found = dict.fromkeys(keys, StoredItem(None))
        by_table: dict[str, list[tuple[Key, tuple[Any, ...]]]] = {}
        for key in keys:
            values = self._statements_of(key.table).mapping.key_values(key)
            if values is not None:
                by_table.setdefault(key.table, []).append((key, values))
        for table, wanted in by_table.items():
            statements = self._statements_of(table)
            capacity, parameters = many_parameters(statements, [values for _, values in wanted])
            sql = select_many(statements, capacity)
            rows = await self._runner.read(lambda c, s=sql, p=parameters: c.fetch(s, *p))  # type: ignore[misc]
            by_key = rows_by_key(statements, rows)
            turn = LoopTurn()
            for key, values in wanted:
                await turn.give_way()  # a row may take 5 ms to decode, and there may be a hundred
                found[key] = stored_item(statements.mapping, by_key.get(comparable(values)))
        return found

    async def put(self, key: Key, wanted: Item | None, stored: StoredItem) -> StoredItem | None:
        if wanted is None and stored.token is None:
            return stored if (await self.get(key)).item is None else None
        write = plan_write(self._statements_of(key.table), key, wanted, stored)
        guarantees = self._guarantees
        try:
            if guarantees is not None and write.creates:
                await guarantees.ensure_tables()
                tag = await self._runner.write(lambda c: guarantees.insert(c, key, write), key)
            else:
                tag = await self._runner.write(lambda c: c.execute(write.statement, *write.parameters), key)
        except Refused as error:
            request_creation(self._followed, error, (key.table,))
            raise
        return write.result if tag.endswith(" 1") else None

    async def put_many(self, puts: Sequence[GuardedPut]) -> list[StoredItem | StoreError | None]:
        """`GroupRowStore.put_many`, for a mirror. What is to stay absent is put by itself."""
        answers: list[StoredItem | StoreError | None] = [None] * len(puts)
        places = [n for n, put in enumerate(puts) if put.wanted is not None or put.held.token is not None]
        for n, answer in zip(places, await self._groups.put_many([puts[n] for n in places]), strict=True):
            answers[n] = answer
        absent = [n for n, put in enumerate(puts) if put.wanted is None and put.held.token is None]
        found = await self.get_many([puts[n].key for n in absent])
        for n in absent:
            answers[n] = puts[n].held if found[puts[n].key].item is None else None
        return answers

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = encode_row(self._mapping_of(key.table), key, item)
        return encoded.image, encoded.faults

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        if written.item is None:
            return None
        return self._mapping_of(key.table).after_update(written.item, written.touched)

    # -- by range ---------------------------------------------------------------------------------------------------

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        statements = self._statements_of(request.schema.name)
        query = range_query(statements, request)
        if query is None:
            return
        row_columns: dict[str, Any] = {}
        while True:
            try:
                after = query.start_with(row_columns)
                break
            except KeyError as unknown:
                row_columns |= await self._column_of_start_row(statements, request, str(unknown.args[0]))
        count = min(request.limit or _FIRST_ROWS, _MAX_ROWS)
        while True:
            sql, parameters = query.next(after, count)
            rows = await self._runner.read(lambda c, s=sql, p=parameters: c.fetch(s, *p))  # type: ignore[misc]
            for row in rows:
                if query.segmented and not row[_MINE]:
                    continue
                item = self._readable_item(statements.mapping, row)
                if item is not None:
                    yield item
            if len(rows) < count and not (query.segmented and rows and rows[-1][_END]):
                return
            after = tuple(rows[-1][name] for name in query.order)
            count = min(count * 2, _MAX_ROWS)

    async def listed(self, listing: Listing, count: int) -> list[Item]:
        statements = self._statements_of(listing.schema.name)
        query = page_statement(statements, listing, count)
        if query is None:
            return []
        rows = await self._runner.read(lambda c: c.fetch(query.sql, *query.parameters))
        found = (self._readable_item(statements.mapping, row) for row in rows)
        return [item for item in found if item is not None]

    async def counted(self, listing: Listing) -> int:
        query = count_statement(self._statements_of(listing.schema.name), listing)
        return 0 if query is None else await self._runner.read(lambda c: c.fetchval(query.sql, *query.parameters))

    # -- in transactions --------------------------------------------------------------------------------------------

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[SQLTransaction]:
        return open_transaction(self._runner, self._statements_of, self._guarantees, read_only=read_only)

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _statements_of(self, table: str) -> Statements:
        """The statements for a table, built again when its mapping is replaced. Raises Refused without a mapping."""
        try:
            mapping = self._mapping_of(table)
        except KeyError:
            raise Refused("unmapped", f"{table} has no mapping") from None
        cached = self._statements.get(table)
        if cached is None or cached[0] is not mapping:
            cached = self._statements[table] = (mapping, Statements(self._schema, mapping))
        return cached[1]

    def _readable_item(self, mapping: TableMapping, row: asyncpg.Record) -> Item | None:
        """A row's item. A row that cannot be read as an item is logged and left out of the page: None."""
        try:
            return mapping.decode(tuple(row)[: len(mapping.columns)])
        except UnreadableRow as error:
            self._unreadable.log(mapping.table, error)
            return None

    async def _column_of_start_row(self, statements: Statements, request: PageRequest, column: str) -> dict[str, Any]:
        """A column of the row that the start key names, for a query whose order is by a column outside the key."""
        key = request.schema.key_of(request.start or {})
        values = statements.mapping.key_values(key) or ()
        row = await self._runner.read(lambda c: c.fetchrow(statements.select, *values))
        if row is None:
            raise Refused("cursor", "the row that the start key names does not exist any more")
        return {column: row[column]}
