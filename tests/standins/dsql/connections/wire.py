"""PostgreSQL's wire protocol, version 3: frames taken apart and put together. Knows no SQL and does no I/O.

"Frontend/Backend Protocol" (PostgreSQL manual) names the messages; a frame here is a whole message with its header.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
PROTOCOL_3: Final = 196608
TEXT_OID: Final = 25

_LENGTH: Final = struct.Struct("!I")
SYNC: Final = b"S\0\0\0\4"


class MessageTooLong(Exception):
    """A message is longer than this side takes."""


class Frames:
    """The frames in a stream of bytes, as they become complete."""

    __slots__ = ("_buffer", "_most")

    def __init__(self, most: int = 1 << 30) -> None:
        self._buffer = bytearray()
        self._most = most

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes. Raises MessageTooLong."""
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        at, held = 0, len(buffer)
        while held - at >= 5:
            (length,) = _LENGTH.unpack_from(buffer, at + 1)
            if length > self._most:
                raise MessageTooLong
            end = at + 1 + length
            if end > held:
                break
            found.append(bytes(buffer[at:end]))
            at = end
        if at:
            del buffer[:at]
        return found


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """What an ErrorResponse says."""

    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    constraint: str | None = None


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One message of the backend's or the frontend's."""
    return kind + _LENGTH.pack(len(payload) + 4) + payload


def error(sqlstate: str, message: str, *, detail: str = "", hint: str = "", severity: str = "ERROR") -> bytes:
    """An ErrorResponse."""
    parts = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message), ("D", detail), ("H", hint)]
    text = b"".join(code.encode() + value.encode() + b"\0" for code, value in parts if value)
    return frame(b"E", text + b"\0")


def error_fields(raw: bytes) -> ErrorFields:
    """What an ErrorResponse frame says."""
    fields: dict[str, str] = {}
    for part in raw[5:].split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode(errors="replace")
    return ErrorFields(fields.get("C", "?????"), fields.get("M", ""), fields.get("D"), fields.get("H"), fields.get("n"))


def ready(status: bytes) -> bytes:
    """ReadyForQuery: I, T or E."""
    return b"Z\0\0\0\5" + status


def complete(tag: str) -> bytes:
    """CommandComplete."""
    return frame(b"C", tag.encode() + b"\0")


def tag_of(raw: bytes) -> str:
    """The tag of a CommandComplete frame."""
    return raw[5:-1].decode()


def row_description(columns: Sequence[str]) -> bytes:
    """Columns of type text."""
    out = struct.pack("!H", len(columns))
    for name in columns:
        out += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, TEXT_OID, -1, -1, 0)
    return frame(b"T", out)


def data_row(values: Iterable[str]) -> bytes:
    """One row of texts."""
    encoded = [value.encode() for value in values]
    return frame(b"D", struct.pack("!H", len(encoded)) + b"".join(_LENGTH.pack(len(v)) + v for v in encoded))


def query(sql: str) -> bytes:
    """A simple query."""
    return frame(b"Q", sql.encode() + b"\0")


def parse(name: str, sql: str, oids: Sequence[int] = ()) -> bytes:
    """Parse."""
    types = struct.pack(f"!H{len(oids)}I", len(oids), *oids)
    return frame(b"P", name.encode() + b"\0" + sql.encode() + b"\0" + types)


def bind(portal: str, name: str, tail: bytes = b"\0\0\0\0\0\0") -> bytes:
    """Bind; `tail` is what follows the two names: formats and values."""
    return frame(b"B", portal.encode() + b"\0" + name.encode() + b"\0" + tail)


def describe_statement(name: str) -> bytes:
    """Describe, of a prepared statement."""
    return frame(b"D", b"S" + name.encode() + b"\0")


def describe_portal(name: str) -> bytes:
    """Describe, of a portal."""
    return frame(b"D", b"P" + name.encode() + b"\0")


def execute(portal: str, most: int = 0) -> bytes:
    """Execute."""
    return frame(b"E", portal.encode() + b"\0" + _LENGTH.pack(most))


def read_parse(raw: bytes) -> tuple[str, str, tuple[int, ...]]:
    """Name, text and types of a Parse frame."""
    first = raw.index(b"\0", 5)
    second = raw.index(b"\0", first + 1)
    (count,) = struct.unpack_from("!H", raw, second + 1)
    oids = struct.unpack_from(f"!{count}I", raw, second + 3)
    return raw[5:first].decode(), raw[first + 1 : second].decode(errors="replace"), oids


def read_bind(raw: bytes) -> tuple[str, str, bytes]:
    """Portal, statement and tail of a Bind frame."""
    first = raw.index(b"\0", 5)
    second = raw.index(b"\0", first + 1)
    return raw[5:first].decode(), raw[first + 1 : second].decode(), raw[second + 1 :]


def bound_values(tail: bytes) -> list[bytes | None]:
    """The values of a Bind's tail, as they were sent."""
    (formats,) = struct.unpack_from("!H", tail)
    at = 2 + 2 * formats
    (count,) = struct.unpack_from("!H", tail, at)
    at += 2
    values: list[bytes | None] = []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", tail, at)
        at += 4
        values.append(None if length < 0 else tail[at : at + length])
        at += max(length, 0)
    return values


def text_results(tail: bytes) -> bytes:
    """The tail of a Bind with every result asked for as text."""
    (formats,) = struct.unpack_from("!H", tail)
    at = 2 + 2 * formats
    (count,) = struct.unpack_from("!H", tail, at)
    at += 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", tail, at)
        at += 4 + max(length, 0)
    return tail[:at] + b"\0\0"


def parameter_types(raw: bytes) -> tuple[int, ...]:
    """The types in a ParameterDescription frame."""
    (count,) = struct.unpack_from("!H", raw, 5)
    return struct.unpack_from(f"!{count}I", raw, 7)


def row_values(raw: bytes) -> list[str | None]:
    """The values of a DataRow frame in text form."""
    (count,) = struct.unpack_from("!H", raw, 5)
    at = 7
    values: list[str | None] = []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", raw, at)
        at += 4
        values.append(None if length < 0 else raw[at : at + length].decode())
        at += max(length, 0)
    return values


def startup_parameters(payload: bytes) -> dict[str, str]:
    """The names and values of a StartupMessage, after its version."""
    words = payload.split(b"\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name.decode(): value.decode(errors="replace") for name, value in pairs if name}


def startup_message(parameters: dict[str, str]) -> bytes:
    """A StartupMessage."""
    text = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items()) + b"\0"
    return struct.pack("!II", len(text) + 8, PROTOCOL_3) + text
