"""Logs: one JSON object a line, from us and from the libraries beneath us."""

import errno
import io
import json
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from proxy.logs import LogThrottle, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: give it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object() -> None:
    stream = io.StringIO()
    log = configure("info", "json", stream)
    log.warning("mismatch", table="items", request_id="R1", path=("a", 1))
    (event,) = lines(stream)
    assert event.pop("time")
    assert event == {"event": "mismatch", "level": "warning", "table": "items", "request_id": "R1", "path": ["a", 1]}


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    log = configure("warning", "json", stream)
    log.info("started")
    log.error("failed")
    assert [event["event"] for event in lines(stream)] == ["failed"]


def test_what_json_cannot_hold_is_shown_all_the_same() -> None:
    stream = io.StringIO()
    configure("info", "json", stream).info("odd", value=object(), by={1: 2})
    configure("info", "json", stream).info("odder", number=2**70, text="\udce9")
    event, odder = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (odder["number"], odder["text"]) == (2**70, "\udce9")
    assert "object object" in str(event["value"])
    assert event["by"] == {"1": 2}


def test_a_traceback_stays_on_its_line() -> None:
    stream = io.StringIO()
    log = configure("info", "json", stream)
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("request_failed")
    (event,) = lines(stream)
    assert event["event"] == "request_failed"
    assert "ValueError" in str(event["exception"])


def test_a_library_s_warnings_come_in_the_same_form() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("aiohttp.server").warning("odd %s", "bytes")
    logging.getLogger("botocore").info("chatter")
    (event,) = lines(stream)
    assert (event["event"], event["level"], event["logger"]) == ("odd bytes", "warning", "aiohttp.server")


def test_a_person_gets_text() -> None:
    stream = io.StringIO()
    configure("info", "console", stream).info("started", data="127.0.0.1:8000")
    assert "started" in stream.getvalue()
    assert "data=127.0.0.1:8000" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


class Full(io.StringIO):
    """A stream on a disk without room for so many lines."""

    lacking = 3

    def write(self, text: str) -> int:
        if self.lacking:
            self.lacking -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_what_cannot_be_written_is_counted_and_hurts_nobody() -> None:
    stream = Full()
    log = configure("info", "json", stream)
    log.error("lost")
    logging.getLogger("library").error("lost too")
    log.error("and this")
    log.info("there")
    log.info("again")
    said = [(line["event"], line.get("lines")) for line in lines(stream)]
    assert said == [("log_lines_lost", 3), ("there", None), ("again", None)]


def test_a_throttle_lets_one_event_of_each_key_through_in_a_minute() -> None:
    now = 0.0
    throttle = LogThrottle(60.0, lambda: now)
    assert [throttle.allows("a"), throttle.allows("a"), throttle.allows("b"), throttle.allows()] == [
        True,
        False,
        True,
        True,
    ]
    now = 59.9
    assert not throttle.allows("a")
    now = 60.0
    assert throttle.allows("a")
    assert not throttle.allows("a")


def test_a_throttle_forgets_its_keys_before_they_are_too_many() -> None:
    throttle = LogThrottle(60.0, lambda: 0.0)
    for number in range(5000):
        assert throttle.allows(number)
    assert len(throttle._logged_at) <= 1000
