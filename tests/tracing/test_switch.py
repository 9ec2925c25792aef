"""Tracing is off unless it is switched on; off, nothing of the layer is so much as wrapped."""

import sys
from dataclasses import fields
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from proxy.cli.main import main
from proxy.settings import Settings, load
from proxy.settings.tracing import TracingSettings
from proxy.shadow.instrumentation import NO_INSTRUMENTATION, Instrumentation
from proxy.tracing.otel import OpenTelemetry
from proxy.tracing.setup import OFF, setup_tracing

ON = {"CROSSFADE_TRACING__ENABLED": "true"}


def test_it_is_off_and_then_everything_is_given_back_as_it_came() -> None:
    assert not Settings().tracing.enabled
    assert setup_tracing(Settings()) is OFF
    part: Any = object()
    off: Any = OFF
    assert off.headers is None
    assert off.marks == ()
    assert off.handler(part) is part
    assert off.layer(part) is part
    assert off.parts(part, part, part) is NO_INSTRUMENTATION
    # Every part that there is: one more must be given back, too.
    wraps = [getattr(NO_INSTRUMENTATION, each.name) for each in fields(Instrumentation)]
    assert len(wraps) == 8
    for wrap in wraps:
        assert wrap(part, "x") is part


def test_on_it_is_opentelemetry() -> None:
    tracing = setup_tracing(load(None, ON))
    assert isinstance(tracing, OpenTelemetry)
    assert len(tracing.marks) == 1


@pytest.mark.parametrize("command", ["check", "serve"])
def test_without_opentelemetry_it_says_what_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "opentelemetry", cast("Any", None))  # as if it were not there
    monkeypatch.setenv("CROSSFADE_TRACING__ENABLED", "true")
    assert main([command]) == 2
    said = capsys.readouterr().err
    assert said == (
        "crossfade: tracing.enabled is true, and OpenTelemetry is not installed: install crossfade[otel] "
        "(pip install 'crossfade[otel]'), or set enabled = false in [tracing]\n"
    )


def test_what_opentelemetry_will_not_take_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CROSSFADE_TRACING__ENABLED", "true")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    assert main(["check"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("crossfade: OpenTelemetry's settings: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")


async def test_the_collector_s_keys_are_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a secret that is no header")
    tracing = setup_tracing(load(None, ON))
    tracing.start(CollectorRegistry())
    await tracing.close()
    assert "secret" not in caplog.text


def test_settings_are_read_and_bounded() -> None:
    on = load(None, {**ON, "CROSSFADE_TRACING__SAMPLE_RATIO": "0.25", "CROSSFADE_TRACING__QUEUE": "9"}).tracing
    assert on == TracingSettings(enabled=True, sample_ratio=0.25, queue=9)
