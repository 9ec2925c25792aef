"""The process that keeps a server which insists on every interface to this machine's loopback.

Run as `python confine_server.py LEASH OUTER_PORT INNER_PORT PROGRAM ARG…`, Linux only. It opens 127.0.0.1:OUTER_PORT,
moves into a network namespace of its own that has nothing but a loopback, starts PROGRAM there, and passes bytes
between the two: a socket keeps the namespace that it was opened in. PROGRAM can neither be reached from another machine
nor reach one. It costs one hop through this process. It exits as soon as PROGRAM does.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFF_RUNNING = 0x40


class Pipe(asyncio.Protocol):
    """One direction of a connection: what comes in here goes out at `other`."""

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.close()


class Outer(Pipe):
    """A client's connection: opens one to the server inside before it reads."""

    def __init__(self, inner_port: int, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._inner_port = inner_port
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._connect(self.transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, transport: asyncio.Transport) -> None:
        try:
            inner, pipe = await asyncio.get_running_loop().create_connection(Pipe, LOOPBACK, self._inner_port)
        except OSError:
            transport.abort()  # the server is not up yet: to the client it looks as if nobody listened
            return
        pipe.other, self.other = transport, inner
        if transport.is_closing():
            inner.close()
        else:
            transport.resume_reading()


def enter_namespace() -> None:
    """Move this process into an empty network namespace and bring its loopback up; OSError if the system forbids it."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace can be made here: {os.strerror(number)}")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))


async def run(leash: str, listening: socket.socket, inner_port: int, program: list[str]) -> int:
    """Serve until the program ends; its exit status."""
    tie = [str(int(signal.SIGKILL)), str(os.getpid()), "-1", "-1"]
    server = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", leash, *tie, *program)
    tasks: set[asyncio.Task[None]] = set()
    outer = await asyncio.get_running_loop().create_server(lambda: Outer(inner_port, tasks), sock=listening)
    async with outer:
        return await server.wait()


def main() -> None:
    leash, outer_port, inner_port, *program = sys.argv[1:]
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((LOOPBACK, int(outer_port)))
    listening.listen(128)
    enter_namespace()
    sys.exit(asyncio.run(run(leash, listening, int(inner_port), program)))


if __name__ == "__main__":
    main()
