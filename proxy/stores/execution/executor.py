"""DynamoDB's operations on rows: what makes a SQL database answer as DynamoDB would.

One operation each for `single`, `batches` and `transactions`; pages here. Rows come from and go to a `Rows`. `execute`
rehearses: what the store would have answered. `answer` is for the authority: what the client gets, with what only a
client's answer has (tokens kept, capacity, a batch's leftovers). No SQL here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from proxy.dynamodb import errors
from proxy.dynamodb.capacity import Meter
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.item_collections import collection_metrics
from proxy.dynamodb.listing import read_listing
from proxy.dynamodb.operations import LISTING, Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import Page, read_query, read_scan
from proxy.dynamodb.requests.constraints import check_constraints
from proxy.dynamodb.requests.form import form_fault
from proxy.stores.errors import Refused
from proxy.stores.execution.batch_operations import batch_get, batch_write, batch_write_answered
from proxy.stores.execution.row_store import AuthorityRows, ListingRowStore, RowStore
from proxy.stores.execution.row_store import Conflict as Conflict
from proxy.stores.execution.row_store import Transaction as Transaction
from proxy.stores.execution.single_item import get_item, write_item
from proxy.stores.execution.transactions import transact_get, transact_write, transact_write_answered
from proxy.stores.interface import ExecutionResult

_REFUSALS: Final = frozenset({"ValidationException", "TransactionCanceledException"})

R = TypeVar("R", bound=RowStore)


async def execute(rows: RowStore, operation: Operation) -> ExecutionResult:
    """DynamoDB's errors come as outcomes; StoreError and Unrepresentable come from the rows."""
    return await _run(_EXECUTE, rows, operation, Meter())


async def execute_for_client(rows: AuthorityRows, operation: Operation) -> ExecutionResult:
    """As `execute`, for a store whose answer is the client's."""
    result = await _run(_ANSWER, rows, operation, Meter.of(operation.action, operation.request))
    if result.outcome.ok and operation.writes:
        result.outcome.document.update(collection_metrics(operation, result.outcome.document))
    return result


async def _run(
    operations: Mapping[str, Callable[[R, Operation, Meter], Awaitable[ExecutionResult]]],
    rows: R,
    operation: Operation,
    meter: Meter,
) -> ExecutionResult:
    try:
        if operation.action != LISTING:
            check_constraints(operation.action, operation.request)
        return await operations[operation.action](rows, operation, meter)
    except DynamoDBError as error:
        # What is wrong with the request's form comes before all that is wrong with it besides.
        refused = form_fault(operation.action, operation.request) if error.code in _REFUSALS else None
        return ExecutionResult(Outcome.failed(refused or error), {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A request of the wrong form: DynamoDB's deserialiser refuses it before anything is looked at.
        refused = form_fault(operation.action, operation.request)
        return ExecutionResult(Outcome.failed(refused or errors.serialization(type(error).__name__)), {})


async def _page(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    read = read_query if operation.action == "Query" else read_scan
    request = read(operation.schema, operation.request)
    page = Page(request)
    async for item in rows.range(request):
        if request.admits(item):
            page.add(item)
            if page.full:
                break
    document = page.document()
    if meter.on:
        consistent = bool(operation.request.get("ConsistentRead"))
        meter.paged(operation.schema.name, request.index, page.size, consistent=consistent)
        for size in page.fetched_sizes():
            meter.read(operation.schema.name, size, consistent=consistent)
        document |= meter.one(operation.request["TableName"])
    return ExecutionResult(Outcome.of(document), {})


async def _listed(rows: RowStore, operation: Operation, _: Meter) -> ExecutionResult:
    if not isinstance(rows, ListingRowStore):
        raise Refused("unlisted", "this store lists nothing")
    listing = read_listing(operation.schema, operation.request)
    if listing.limit is None:
        return ExecutionResult(Outcome.of({"Count": await rows.counted(listing)}), {})
    items = await rows.listed(listing, listing.limit + 1)
    return ExecutionResult(Outcome.of(listing.document(items[: listing.limit], more=len(items) > listing.limit)), {})


_READS: Final = {
    "GetItem": get_item,
    "BatchGetItem": batch_get,
    "TransactGetItems": transact_get,
    "Query": _page,
    "Scan": _page,
    LISTING: _listed,
}
_EXECUTE: Final[Mapping[str, Callable[[RowStore, Operation, Meter], Awaitable[ExecutionResult]]]] = {
    **_READS,
    "PutItem": write_item,
    "UpdateItem": write_item,
    "DeleteItem": write_item,
    "BatchWriteItem": batch_write,
    "TransactWriteItems": transact_write,
}
_ANSWER: Final[Mapping[str, Callable[[AuthorityRows, Operation, Meter], Awaitable[ExecutionResult]]]] = {
    **_EXECUTE,
    "BatchWriteItem": batch_write_answered,
    "TransactWriteItems": transact_write_answered,
}
