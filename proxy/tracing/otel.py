"""Tracing, on: puts OpenTelemetry's parts and ours together for one process.

Where spans are sent, with which headers, certificates and time limit, and what the service is called is for
OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_…`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), which its SDK
reads. Which requests are traced is for Crossfade's settings alone.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp.typedefs import Middleware
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from prometheus_client import CollectorRegistry
from structlog.typing import Processor

from proxy.cutover import stages as stores
from proxy.cutover.stages import Stages
from proxy.settings import DSQL, Settings
from proxy.shadow.instrumentation import Instrumentation
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.connection_pool import Endpoint
from proxy.stores.table_registry import Tables
from proxy.tracing import span_names as names
from proxy.tracing.layer_spans import LayerSpans
from proxy.tracing.request_spans import Requests, TracedLayer
from proxy.tracing.span_exporter import BatchingExporter, SpanMetrics, silence_otel_logs
from proxy.tracing.spans import ByOrigin, Ids, Spans, headers, mark
from proxy.tracing.store_spans import StorePlace
from proxy.version import VERSION
from proxy.wire.server import Handler, OperationHandler

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
_POSTGRESQL_PORT = 5432


class OpenTelemetry:
    """`proxy.tracing.setup.Tracing`. `exporter` is where spans go; OTLP over HTTP if it is not given."""

    def __init__(self, settings: Settings, exporter: Callable[[], SpanExporter] = OTLPSpanExporter) -> None:
        self._settings = settings
        self._exporter = exporter
        self._sending: BatchingExporter | None = None
        ratio, ids = settings.tracing.sample_ratio, Ids()
        # Its own shut-down at exit would wait for a hung collector.
        self._provider = TracerProvider(
            sampler=ParentBased(ByOrigin(ratio)), resource=_resource(), shutdown_on_exit=False, id_generator=ids
        )
        self._spans = Spans(self._provider.get_tracer("crossfade", VERSION, _SCHEMA), ids, ratio)
        self.headers: Callable[[], bytes] | None = headers
        self.marks: tuple[Processor, ...] = (mark,)
        self._requests = Requests(self._spans, settings.listen)
        self.around: tuple[Middleware, ...] = (self._requests.middleware(),)

    def start(self, registry: CollectorRegistry) -> None:
        """Begin to send. Once."""
        silence_otel_logs()
        self._sending = BatchingExporter(self._exporter(), self._settings.tracing.queue, SpanMetrics(registry))
        self._provider.add_span_processor(self._sending)

    async def close(self) -> None:
        if self._sending is not None:
            await self._sending.close()

    def handler(self, handle: Handler) -> Handler:
        return self._requests.handler(handle)

    def layer(self, layer: OperationHandler) -> OperationHandler:
        return TracedLayer(layer)

    def parts(self, stages: Stages, tables: Tables, upstream: DynamoDBClient) -> Instrumentation:
        def sql_table(name: str) -> str | None:
            table = tables.known(name)
            return table.mapping.sql_table if table is not None else None

        places = {
            stores.DYNAMODB: StorePlace(_dynamodb(self._settings, upstream), aws=True, collection=lambda name: name),
            stores.DSQL: StorePlace(_dsql(self._settings.dsql), aws=False, collection=sql_table),
        }
        return LayerSpans(self._spans, stages, tables, places).instrumentation()


def _resource() -> Resource:
    """This program, unless the environment names it."""
    ours = Resource({SERVICE_NAME: "crossfade", SERVICE_VERSION: VERSION})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _dynamodb(settings: Settings, upstream: DynamoDBClient) -> dict[str, str | int]:
    told: dict[str, str | int] = {names.DB_SYSTEM: names.DYNAMODB, names.CLOUD_REGION: upstream.region}
    if settings.needs_dynamodb:
        endpoint = Endpoint.of(f"//{upstream.endpoints[0]}")
        told[names.SERVER_ADDRESS] = endpoint.host
        if ":" in upstream.endpoints[0].rpartition("]")[2]:
            told[names.SERVER_PORT] = endpoint.port
    return told


def _dsql(dsql: DSQL) -> dict[str, str | int]:
    """Where DSQL is, of its address no more than host, port and database."""
    at = urlsplit(dsql.dsn or f"//{dsql.endpoint or ''}")
    database = (dsql.dsn is not None and at.path.strip("/")) or dsql.database
    told: dict[str, str | int] = {names.DB_SYSTEM: names.POSTGRESQL, names.DB_NAMESPACE: f"{database}|{dsql.schema}"}
    if at.hostname and "," not in at.netloc:  # a list of hosts is no one's address
        told[names.SERVER_ADDRESS] = at.hostname
        if at.port not in (None, _POSTGRESQL_PORT):
            told[names.SERVER_PORT] = at.port
    return told
