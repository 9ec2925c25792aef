"""Logs: one event a fact, one JSON object a line on stdout; or coloured text for a person at a console.

Everything is rendered by orjson, and an event below the level costs one attribute look-up. What other libraries log
through `logging` comes out in the same form. A line that cannot be written (the disk is full) is dropped and counted:
nobody must fail for saying something. Nothing here decides what is worth saying.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import ExcInfo, FilteringBoundLogger, Processor

_FOREIGN_LEVEL: Final = logging.WARNING
_MAX_CAUSES: Final = 10
_MAX_FRAMES: Final = 50
_MAX_KEYS: Final = 1000  # of a throttle: reasons and tables, which a client cannot make up without end


class _Lines:
    """A text stream that takes every line, and says how many it has lost as soon as it can."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        try:
            if self._lost:
                self._stream.write(f'{{"event":"log_lines_lost","level":"error","lines":{self._lost}}}\n')
                self._stream.flush()
                self._lost = 0
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Each line has been flushed when it was written."""

    def isatty(self) -> bool:
        return self._stream.isatty()


def _calls(error: BaseException) -> list[dict[str, Any]]:
    """A traceback as data: of each exception its class, and file, line and function of each call.

    Neither local variables nor an exception's text: both may hold what a client sent, and no item value and no secret
    goes into a log.
    """
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen and len(chain) < _MAX_CAUSES:
        seen.add(id(each))
        frames = [
            {"filename": frame.filename, "lineno": frame.lineno, "name": frame.name}
            for frame in traceback.extract_tb(each.__traceback__)[-_MAX_FRAMES:]
        ]
        chain.append({"exc_type": _kind(each), "frames": frames})
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return chain


def _kind(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(_kind(each) for each in error.exceptions[:_MAX_CAUSES])})"
    return type(error).__name__


def _as_data(exc_info: ExcInfo) -> Any:
    return _calls(exc_info[1])


def _as_text(stream: TextIO, exc_info: ExcInfo) -> None:
    """The same for a person. ConsoleRenderer's own formatter shows local variables wherever `rich` can be imported."""
    for number, each in enumerate(_calls(exc_info[1])):
        stream.write("Caused by:\n" if number else "Traceback (most recent call last):\n")
        lines = [f'  File "{one["filename"]}", line {one["lineno"]}, in {one["name"]}\n' for one in each["frames"]]
        stream.write("".join(lines))
        stream.write(f"{each['exc_type']}\n")


_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(_as_data)


class LogThrottle:
    """Decides which repeated events are logged: the first of each key, then at most one every `seconds`.

    What lasts, such as a table that is missing, fails at every try alike; one line a minute says as much.
    """

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._logged_at: dict[Hashable, float] = {}

    def allows(self, key: Hashable = None) -> bool:
        """Whether an event with this key is to be logged now; if so, none is allowed for the next `seconds`."""
        now = self._clock()
        if now - self._logged_at.get(key, float("-inf")) < self._seconds:
            return False
        if len(self._logged_at) >= _MAX_KEYS:
            self._logged_at.clear()
        self._logged_at[key] = now
        return True


def configure(
    level: str, form: str, stream: TextIO | None = None, marks: Sequence[Processor] = ()
) -> FilteringBoundLogger:
    """Set up logging for this process and return the logger.

    `level` is `debug`, `info`, `warning` or `error`; `form` is `json` or `console`; `stream` is stdout if not given;
    `marks` add to every event.
    """
    out: Any = _Lines(stream or sys.stdout)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *marks,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    render: list[Processor]
    if form == "json":
        render = [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=_as_text)]
    structlog.configure(
        processors=[*common, *render],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(lowest, _FOREIGN_LEVEL), force=True)
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _dumps(event: Any, **options: Any) -> str:
    try:
        return orjson.dumps(event, default=options.get("default"), option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # beyond 64 bits, or half a surrogate pair from a client: a log line must not fail for it
        return json.dumps(event, default=repr)
