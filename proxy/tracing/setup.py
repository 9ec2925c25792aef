"""Whether this process traces at all, decided once at the start. Imports OpenTelemetry only where it does."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from proxy.settings.validation import SettingsError

if TYPE_CHECKING:  # `crossfade check` asks here too, and needs none of what they bring with them
    from aiohttp.typedefs import Middleware
    from prometheus_client import CollectorRegistry
    from structlog.typing import Processor

    from proxy.cutover.stages import Stages
    from proxy.settings import Settings
    from proxy.shadow.instrumentation import Instrumentation
    from proxy.stores.dynamodb.client import DynamoDBClient
    from proxy.stores.table_registry import Tables
    from proxy.wire.server import Handler, OperationHandler

_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


class Tracing(Protocol):
    """What of a process is traced, and how. `start` it in the event loop before the first request, `close` it after
    the last."""

    headers: Callable[[], bytes] | None
    """Lines for the head of each request to DynamoDB, or none."""

    marks: tuple[Processor, ...]
    """What log events are marked with."""

    around: tuple[Middleware, ...]
    """What sees the items port's requests."""

    def start(self, registry: CollectorRegistry) -> None: ...

    async def close(self) -> None:
        """Send what waits, within a limit."""

    def handler(self, handle: Handler) -> Handler:
        """The data port's requests."""

    def layer(self, layer: OperationHandler) -> OperationHandler:
        """What stands behind the data port, and behind the items port."""

    def parts(self, stages: Stages, tables: Tables, upstream: DynamoDBClient) -> Instrumentation:
        """The layer's own parts."""


class NoTracing:
    """`Tracing`, off: everything is given back as it came."""

    headers: Callable[[], bytes] | None = None
    marks: tuple[Processor, ...] = ()
    around: tuple[Middleware, ...] = ()

    def start(self, registry: CollectorRegistry) -> None:  # noqa: ARG002
        return None

    async def close(self) -> None:
        return None

    def handler(self, handle: Handler) -> Handler:
        return handle

    def layer(self, layer: OperationHandler) -> OperationHandler:
        return layer

    def parts(self, stages: Stages, tables: Tables, upstream: DynamoDBClient) -> Instrumentation:  # noqa: ARG002
        from proxy.shadow.instrumentation import NO_INSTRUMENTATION

        return NO_INSTRUMENTATION


OFF: Final = NoTracing()


def setup_tracing(settings: Settings) -> Tracing:
    """As the settings say. Raises SettingsError where tracing is on and OpenTelemetry is not installed, or its own
    variables are wrong."""
    if not settings.tracing.enabled:
        return OFF
    if not all(map(_installed, _NEEDED)):
        remedy = "install crossfade[otel] (pip install 'crossfade[otel]'), or set enabled = false in [tracing]"
        raise SettingsError([f"tracing.enabled is true, and OpenTelemetry is not installed: {remedy}"])
    from proxy.tracing.otel import OpenTelemetry  # most of half a second, which nobody pays who does not trace

    try:
        return OpenTelemetry(settings)
    except ValueError as error:  # it reads limits from variables of its own
        raise SettingsError([f"OpenTelemetry's settings: {error}"]) from error


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
