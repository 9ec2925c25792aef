"""An operating system's error in its own words, for operators: not in asyncio's."""

from __future__ import annotations

import os
import re
import socket
from typing import Final

# Of several addresses that all failed, asyncio gives the numbers in the text only.
ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
# "Connect call failed ('127.0.0.1', 5432)", and for IPv6 four parts.
_TRIED: Final = re.compile(r"\('([^']+)', (\d+)")


def describe_os_error(error: OSError) -> str:
    """Return what the system says, and the addresses that were tried if the error names any."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    text = str(error)
    number = ERRNO.search(text)
    if number is None:
        return text or type(error).__name__
    tried = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in _TRIED.findall(text)]
    words = os.strerror(int(number[1]))
    return f"{words} ({', '.join(dict.fromkeys(tried))})" if tried else words
