"""A TCP relay that can be made slow, deaf or absent, for the way between Crossfade and its mirror.

`python -m benchmarks.hindered PORT TARGET_PORT CONTROL_PORT`. A line to the control port changes it: `healthy`,
`slow SECONDS` (each answer waits so long), `hung` (takes connections and bytes, and says nothing), `dead` (refuses
connections, cuts those it has).
"""

import asyncio
import contextlib
import socket
import sys

import uvloop


class Relay:
    """Accepts on `port`, talks to `target`."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._target = target
        self._delay = 0.0
        self._speaking = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def become(self, state: str, seconds: float) -> None:
        self._delay = seconds
        if state == "hung":
            self._speaking.clear()
        else:
            self._speaking.set()
        if state == "dead":
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in self._writers:
                writer.transport.abort()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back, answers=False))
                group.create_task(self._carry(there, writer, answers=True))
        except* OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.closing(sink):
            while data := await source.read(65536):
                if answers and self._delay:
                    await asyncio.sleep(self._delay)
                await self._speaking.wait()
                sink.write(data)
                await sink.drain()


def become(control: int, line: str) -> None:
    """Tell the relay whose control port it is what to be; returns when it is."""
    with socket.create_connection(("127.0.0.1", control), timeout=5) as connection:
        connection.sendall(line.encode() + b"\n")
        connection.recv(16)


async def main(port: int, target: int, control: int) -> None:
    relay = Relay(port, target)
    await relay.become("healthy", 0.0)

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state, _, seconds = (await reader.readline()).decode().strip().partition(" ")
        await relay.become(state, float(seconds or 0))
        writer.write(b"done\n")
        writer.close()

    server = await asyncio.start_server(obey, "127.0.0.1", control)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*(int(argument) for argument in sys.argv[1:4])))
