"""The process behind `tests.standins.dsql`: ministack's DSQL gate, listening on 127.0.0.1 in front of a PostgreSQL.

Run as `python dsql_server.py LISTEN_PORT BACKEND_PORT`. It serves until it is signalled. It exists because
`pgproxy.start_proxy` listens on every interface and takes no address.
"""

import asyncio
import sys

from ministack.core import pgproxy

LOOPBACK = "127.0.0.1"


async def serve(listen_port: int, backend_port: int) -> None:
    """Hand each connection to the gate; the backend is on the same host."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pgproxy._handle_client("standin", LOOPBACK, backend_port, reader, writer)

    server = await asyncio.start_server(handle, LOOPBACK, listen_port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
