"""What an operator can set of tracing: `[tracing]`. Where spans go is for OpenTelemetry's own variables to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from proxy.settings.validation import InRange


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Traces by OpenTelemetry, off unless `enabled`. Of the requests that come without a `traceparent`, the share
    `sample_ratio` is traced; of the others, those whose sender traces them. `queue` spans may wait to be sent."""

    enabled: bool = False
    sample_ratio: Annotated[float, InRange(0, 1)] = 0.01
    queue: Annotated[int, InRange(1, 1_000_000)] = 4096
