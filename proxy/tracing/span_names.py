"""What spans are called and what may be said in them: names of things and kinds of outcomes, never what items hold.

Names are OpenTelemetry's semantic conventions 1.44 where they have one, `crossfade.` and a word of our own where not.
Of the pages «Semantic conventions for database client spans», «… for AWS DynamoDB client operations», «… for
PostgreSQL client operations», «… for AWS SDK client spans», «… for RPC spans», «… for HTTP spans» and «Recording
errors»: the attributes below, a span's name (`DynamoDB.GetItem` of a call to AWS, `DynamoDB/GetItem` of one that is
served, `GetItem items` of a call to a database), and that an error is its `error.type` and not an event. Messages of
exceptions are left out altogether: DynamoDB's and PostgreSQL's quote values.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import Operation
from proxy.metrics.labels import OPERATIONS
from proxy.stores.errors import StoreError

Attributes: TypeAlias = dict[str, str | bool | int | tuple[str, ...]]

AWS_REQUEST_ID: Final = "aws.request_id"
CLOUD_REGION: Final = "cloud.region"
DB_COLLECTION: Final = "db.collection.name"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION: Final = "db.operation.name"
DB_STATUS: Final = "db.response.status_code"
DB_SYSTEM: Final = "db.system.name"
ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
RPC_SYSTEM: Final = "rpc.system.name"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
TABLE_NAMES: Final = "aws.dynamodb.table_names"

AUTHORITY: Final = "crossfade.authority"
DIFFERENCES: Final = "crossfade.differences"
EPOCH: Final = "crossfade.epoch"
ITEM_TYPE: Final = "crossfade.item_type"
OPERATION: Final = "crossfade.operation"
REASON: Final = "crossfade.reason"
REPAIRS: Final = "crossfade.repairs"
REQUEST_ID: Final = "crossfade.request_id"
ROLE: Final = "crossfade.role"
STAGE: Final = "crossfade.stage"
VERDICT: Final = "crossfade.verdict"

AWS_API: Final = "aws-api"
DYNAMODB: Final = "aws.dynamodb"
# Aurora DSQL has no name of its own there; it is asked as a PostgreSQL («Notes and well-known identifiers»).
POSTGRESQL: Final = "postgresql"
UNKNOWN: Final = "_OTHER"
MIXED: Final = "mixed"

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_STREAMS: Final = "DynamoDBStreams_"
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_FLAGS: Final = (("ConsistentRead", "aws.dynamodb.consistent_read"), ("ScanIndexForward", "aws.dynamodb.scan_forward"))
_COUNTS: Final = (
    ("Limit", "aws.dynamodb.limit"),
    ("Segment", "aws.dynamodb.segment"),
    ("TotalSegments", "aws.dynamodb.total_segments"),
)
_SELECTS: Final = frozenset({"ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"})


def word(text: str) -> str:
    """`text` if it is one short word, as codes and reasons are."""
    return text if _WORD.fullmatch(text) else UNKNOWN


def one_of(several: Collection[str]) -> str:
    """The one that all are, or that they are not all one."""
    return str(next(iter(several))) if len(set(several)) == 1 else MIXED


def method(name: str) -> str:
    """An HTTP method that there is; a client may send anything."""
    return name if name in _METHODS else UNKNOWN


def operation(name: str) -> str:
    """An operation that DynamoDB has, as metrics count it; a client may ask for anything."""
    return name if name in OPERATIONS else UNKNOWN


def remote_method(target: str) -> str:
    """`DynamoDB/GetItem`, of the header X-Amz-Target."""
    service = "DynamoDBStreams" if target.startswith(_STREAMS) else "DynamoDB"
    name = operation(target.rpartition(".")[2])
    return f"{service}/{name}" if name != UNKNOWN else UNKNOWN


def error_type(error: BaseException) -> str:
    """What an operation failed of, in a word: the reason that metrics count it under, DynamoDB's code, or the kind of
    the exception."""
    if isinstance(error, StoreError):
        return word(error.reason)
    if isinstance(error, DynamoDBError):
        return word(error.code)
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__qualname__


def asked(wanted: Operation) -> Attributes:
    """What the conventions for DynamoDB tell of a request, where it can be nothing of the client's invention: the rest
    of a request (keys, expressions, projections) is the client's own text."""
    request: Mapping[str, Any] = wanted.request
    told: Attributes = {TABLE_NAMES: wanted.tables}
    for parameter, name in _FLAGS:
        if isinstance(request.get(parameter), bool):
            told[name] = request[parameter]
    for parameter, name in _COUNTS:
        value = request.get(parameter)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31:
            told[name] = value
    select, index = request.get("Select"), request.get("IndexName")
    if isinstance(select, str) and select in _SELECTS:
        told["aws.dynamodb.select"] = select
    if isinstance(index, str) and any(index in schema.indexes for schema in wanted.schemas.values()):
        told["aws.dynamodb.index_name"] = index
    return told
