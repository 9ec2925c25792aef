"""A client that shows all that a server says: tags, columns and values as text, errors with their HINT.

It speaks both protocols, and several statements at once, which drivers hide. For tests of the gate.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.standins.dsql.connections import wire


@dataclass(slots=True)
class Answer:
    """What one statement brought."""

    tag: str = ""
    columns: list[str] | None = None
    rows: list[list[str | None]] = field(default_factory=list)
    error: wire.ErrorFields | None = None


class Closed(Exception):
    """The server has closed the connection; `error` is the last thing that it said."""

    def __init__(self, error: wire.ErrorFields | None = None) -> None:
        super().__init__(error)
        self.error = error


class Probe:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.parameters: dict[str, str] = {}
        self.secret = b""
        self.status = ""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, database: str = "postgres", user: str = "admin", **parameters: str) -> Self:
        """Raises Closed with the FATAL error of a refusal."""
        probe = cls(*await asyncio.open_connection("127.0.0.1", port))
        probe._writer.write(wire.startup_message({"user": user, "database": database, **parameters}))
        await probe._answers()
        return probe

    async def simple(self, sql: str) -> list[Answer]:
        """The answers to a simple query: one for each statement, the last perhaps an error."""
        self._writer.write(wire.query(sql))
        return await self._answers()

    async def extended(self, sql: str, values: Sequence[str | None] = ()) -> Answer:
        """The answer to one statement by the extended protocol, sent as libpq and JDBC do it: in one go."""
        return (await self.pipeline([(sql, values)]))[0]

    async def pipeline(self, statements: Sequence[tuple[str, Sequence[str | None]]]) -> list[Answer]:
        """Several statements before one Sync."""
        for sql, values in statements:
            self._writer.write(wire.parse("", sql) + wire.bind("", "", _tail(values)))
            self._writer.write(wire.describe_portal("") + wire.execute(""))
        self._writer.write(wire.SYNC)
        return await self._answers()

    async def close(self) -> None:
        """End it."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def send(self, data: bytes) -> list[Answer]:
        """The answers to any messages that end with a Sync."""
        self._writer.write(data)
        return await self._answers()

    async def _answers(self) -> list[Answer]:
        found: list[Answer] = []
        at = Answer()
        error = None
        while True:
            try:
                head = await self._reader.readexactly(5)
                raw = head + await self._reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            except (asyncio.IncompleteReadError, ConnectionError) as end:
                raise Closed(error) from end
            kind = chr(raw[0])
            if kind == "Z":
                self.status = chr(raw[5])
                return found
            if kind == "T":
                at.columns = _columns(raw)
            elif kind == "D":
                at.rows.append(wire.row_values(raw))
            elif kind == "S":
                name, value = raw[5:-1].decode().split("\0")
                self.parameters[name] = value
            elif kind == "K":
                self.secret = raw[5:]
            elif kind in "CIEs":
                at.tag = wire.tag_of(raw) if kind == "C" else ""
                at.error = error = wire.error_fields(raw) if kind == "E" else None
                found.append(at)
                at = Answer()


def _columns(raw: bytes) -> list[str]:
    names, at = [], 7
    for _ in range(int.from_bytes(raw[5:7], "big")):
        end = raw.index(b"\0", at)
        names.append(raw[at:end].decode())
        at = end + 19
    return names


def _tail(values: Sequence[str | None]) -> bytes:
    out = b"\0\0" + len(values).to_bytes(2, "big")
    for value in values:
        encoded = b"" if value is None else value.encode()
        out += (b"\xff\xff\xff\xff" if value is None else len(encoded).to_bytes(4, "big")) + encoded
    return out + b"\0\0"
