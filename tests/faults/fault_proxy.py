"""What a network does to a connection, on demand: a TCP proxy between Crossfade and a store, in a thread of its own.

It moves bytes and knows no protocol, but for one: given a certificate it speaks TLS to the client, and to a client of
PostgreSQL's it first says yes to that protocol's request for it. Faults act at once, on connections that are open and
on new ones, each direction by itself.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from tests.standins.processes import LOOPBACK, free_port

_PIECE = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close() sends RST instead of FIN

# cut: FIN both ways; reset: RST to the client; half_open: the far side goes away and nobody tells this one;
# swallow: both sides stay, and what comes is dropped.
End = Literal["cut", "reset", "half_open", "swallow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one direction. `delay` and up to `jitter` seconds before each piece of at most `piece` bytes;
    after `after` bytes of a connection, counted from when the fault began, comes the `end`."""

    delay: float = 0.0
    jitter: float = 0.0
    piece: int = _PIECE
    after: int = 0
    end: End | None = None


NONE = Fault()


class FaultProxy:
    """`with FaultProxy(store_port) as between:` listens on `between.port`; `hits` counts what its faults did."""

    def __init__(self, store_port: int, *, seed: int = 0, tls: ssl.SSLContext | None = None, sql: bool = False) -> None:
        """`tls` is shown to clients; `sql` says that they are PostgreSQL's."""
        self.port = free_port()
        self.tls = tls
        self.hits = 0
        self._store_port = store_port
        self._sql = sql
        self._dice = random.Random(seed)
        self._faults = {"up": NONE, "down": NONE}
        self._began = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._forsaken: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    # -- control, from any thread -----------------------------------------------------------------------------------

    def fault(self, *, up: Fault = NONE, down: Fault = NONE) -> None:
        """From now on: `up` is towards the store, `down` towards the client."""
        self._do(self._set({"up": up, "down": down}))

    def refuse(self) -> None:
        """Connections are reset, and new ones refused."""
        self._do(self._refuse())

    def show(self, certificate: ssl.SSLContext | None) -> None:
        """From now on new connections see this certificate, or no TLS at all; those there are, are reset."""
        self._do(self._refuse())
        self.tls = certificate
        self._do(self._listen())

    def clear(self) -> None:
        """No fault any more. What a fault held back is not delivered late: its connections are reset."""
        self._do(self._clear())

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._do(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    # -- on the loop ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def _set(self, faults: dict[str, Fault]) -> None:
        self._faults = faults
        self._began += 1

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            self._reset(writer)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _clear(self) -> None:
        faulty = self._faults != {"up": NONE, "down": NONE}
        await self._set({"up": NONE, "down": NONE})
        if faulty:
            await self._refuse()
        await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        store: asyncio.StreamWriter | None = None
        try:
            if self.tls is not None:
                if self._sql:
                    await reader.readexactly(8)  # SSLRequest
                    writer.write(b"S")
                await writer.start_tls(self.tls, ssl_handshake_timeout=60)
            from_store, store = await asyncio.open_connection(LOOPBACK, self._store_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump("up", reader, writer, store))
                both.create_task(self._pump("down", from_store, writer, store))
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup):
            pass  # what a fault is for
        except asyncio.CancelledError:
            pass  # by `_refuse`; asyncio's streams would take it for an error of the handler's
        finally:
            for each in (writer, store):
                if each is not None:
                    each.transport.abort()
            self._open.discard(writer)
            self._forsaken.discard(writer)
            self._tasks.discard(task)

    async def _pump(
        self, way: str, reader: asyncio.StreamReader, client: asyncio.StreamWriter, store: asyncio.StreamWriter
    ) -> None:
        writer = store if way == "up" else client
        began, moved = self._began, 0
        while data := await reader.read(_PIECE):
            while data:
                if began != self._began:
                    began, moved = self._began, 0
                fault = self._faults[way]
                if fault is not NONE:
                    self.hits += 1
                wait = fault.delay + self._dice.random() * fault.jitter
                if wait:
                    await asyncio.sleep(wait)
                size = min(len(data), fault.piece)
                if fault.end is not None:
                    size = min(size, fault.after - moved)
                writer.write(data[:size])
                await writer.drain()
                moved, data = moved + size, data[size:]
                if fault.end is not None and moved >= fault.after:
                    await self._end(fault.end, client, store)
                    data = b""
        if client in self._forsaken:
            await asyncio.Event().wait()  # until `clear` cancels
        writer.write_eof() if writer.can_write_eof() else writer.close()

    async def _end(self, end: End, client: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        if end == "swallow":
            return
        if end == "half_open":
            self._forsaken.add(client)
            store.transport.abort()
            await asyncio.Event().wait()
        if end == "reset":
            self._reset(client)
        else:
            client.close()
        raise ConnectionError(end)

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        held = writer.get_extra_info("socket")
        if held is None:
            return  # TLS that was ended by the other side a moment ago
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
