"""One statement to be carried out, as the client sent it, and statements of the gate's own beside it."""

from dataclasses import dataclass
from typing import Final

from tests.standins.dsql.connections import wire
from tests.standins.dsql.sql.statements import Statement

_WORK: Final = "cf_work"


@dataclass(frozen=True, slots=True)
class Execution:
    """One statement with its parameters, and the client's messages that carry it out."""

    statement: Statement
    messages: bytes
    simple: bool = True
    oids: tuple[int, ...] = ()
    tail: bytes = b"\0\0\0\0\0\0"

    @property
    def data(self) -> bytes:
        """What to send; it brings one ReadyForQuery."""
        return self.messages if self.simple else self.messages + wire.SYNC

    @property
    def size(self) -> int:
        """The bytes that it brings from the client."""
        return len(self.statement.text) + len(self.tail)


class Failed(Exception):
    """The statement is answered with an error."""

    def __init__(self, frame: bytes) -> None:
        super().__init__(wire.error_fields(frame).message)
        self.frame = frame


def aside(sql: str, oids: tuple[int, ...] = (), tail: bytes = b"\0\0\0\0\0\0") -> bytes:
    """Messages for a statement of the gate's own; they bring `ASIDE_FRAMES` frames and those of its rows."""
    name = _WORK.encode() + b"\0"
    closing = wire.frame(b"C", b"S" + name)
    return closing + wire.parse(_WORK, sql, oids) + wire.bind("", _WORK, tail) + wire.execute("")


ASIDE_FRAMES: Final = 4
"""CloseComplete, ParseComplete, BindComplete and CommandComplete."""
