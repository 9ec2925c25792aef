"""Load on an address: by wrk where it is (it costs little beside what it measures), else by `benchmarks.steady`."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.documents import Request

_SECONDS_OVER = 30


@dataclass(frozen=True, slots=True)
class Result:
    """What a load came to. `milliseconds` has p50, p99, p999 and most, and `late` is by how many of them the load was
    late at worst, by its own fault or its machine's; both only from `steady`."""

    answered: int
    errors: int
    seconds: float
    milliseconds: dict[str, float]
    late: float = 0.0

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


def wrk_available() -> bool:
    return shutil.which("wrk") is not None


def saturate(address: str, requests: Sequence[Request], seconds: float, connections: int = 16) -> Result:
    """As many requests as the connections carry, in turn, for so long."""
    if not wrk_available():
        return steady(address, requests, seconds=seconds, connections=connections)
    with tempfile.TemporaryDirectory(prefix="crossfade-wrk-") as folder:
        script = Path(folder, "requests.lua")
        made = ",\n".join(map(_lua_request, requests))
        script.write_text(
            "local requests, n\n"
            f"init = function() requests = {{{made}}}; n = 0 end\n"
            "request = function() n = n % #requests + 1; return requests[n] end\n",
            encoding="utf-8",
        )
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        said = subprocess.run(
            [*command, f"http://{address}/"],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + _SECONDS_OVER,
        ).stdout
    counted = re.search(r"(\d+) requests in ([\d.]+)s", said)
    assert counted is not None, said
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", said))
    errors = broken + (int(wrong.group(1)) if wrong else 0)
    return Result(int(counted.group(1)), errors, float(counted.group(2)), {})


def steady(
    address: str,
    requests: Sequence[Request],
    *,
    rate: float = 0,
    seconds: float = 0,
    count: int = 0,
    connections: int = 64,
) -> Result:
    """See `benchmarks.steady`."""
    running = steadily(address, requests, rate=rate, seconds=seconds, count=count, connections=connections)
    return result_of(running)


def steadily(
    address: str,
    requests: Sequence[Request],
    *,
    rate: float = 0,
    seconds: float = 0,
    count: int = 0,
    connections: int = 64,
) -> subprocess.Popen[str]:
    """The same under way; `result_of` waits for its end."""
    plan = {
        "address": address,
        "requests": [_http(address, request) for request in requests],
        "rate": rate,
        "seconds": seconds,
        "count": count,
        "connections": connections,
    }
    with tempfile.NamedTemporaryFile("w", prefix="crossfade-plan-", suffix=".json", delete=False) as file:
        json.dump(plan, file)
    return subprocess.Popen([sys.executable, "-m", "benchmarks.steady", file.name], stdout=subprocess.PIPE, text=True)


def result_of(running: subprocess.Popen[str]) -> Result:
    said, _ = running.communicate()
    assert isinstance(running.args, list)
    Path(str(running.args[-1])).unlink()
    return Result(**json.loads(said))


def _http(address: str, request: Request) -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.body.decode()
    first = f"{request.method} {request.path} HTTP/1.1\r\nHost: {address}\r\n"
    return f"{first}{lines}Content-Length: {len(request.body)}\r\n\r\n{body}"


def _lua_request(request: Request) -> str:
    body = f"[==[{request.body.decode()}]==]"
    return f"wrk.format('{request.method}', {json.dumps(request.path)}, {_lua(request.headers)}, {body})"


def _lua(headers: dict[str, str]) -> str:
    return "{" + ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()) + "}"
