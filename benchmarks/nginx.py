"""nginx in its three parts here: the constant upstream, `proxy_pass`, and `mirror`."""

import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

from benchmarks.documents import TARGET
from tests.standins.processes import LOOPBACK, Child, accepts_connections, free_port

# nginx reads its configuration through a buffer of 4 KB: longer texts must come in parts.
_PART = 3000

_FRAME = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  proxy_buffers 16 64k;
  proxy_buffer_size 64k;
  map_hash_bucket_size 256;
{parts}
}}
"""

_PROXY = """\
  upstream dynamodb {{ server {upstream}; keepalive 64; }}
  upstream mirrored {{ server {upstream}; keepalive 64; }}
  server {{
    listen {listen};
    location / {{
      {mirror}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass http://dynamodb;
    }}
    location = /mirror {{
      internal;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass http://mirrored$request_uri;
    }}
  }}
"""


def available() -> bool:
    """Whether nginx is installed (Debian: nginx-light)."""
    return shutil.which("nginx") is not None


class Nginx:
    """`with Nginx.constant(answers) as server: server.address`. One worker, a child of `child`."""

    def __init__(self, parts: str, listen: str) -> None:
        self.address = listen
        self._folder = Path(tempfile.mkdtemp(prefix="crossfade-nginx-"))
        user = "user root;" if Path.home() == Path("/root") else ""
        self._file = self._folder / "nginx.conf"
        self._file.write_text(_FRAME.format(folder=self._folder, parts=parts, user=user), encoding="utf-8")
        self.child: Child

    @classmethod
    def constant(cls, answers: Mapping[str, bytes]) -> Self:
        """Answers each action with its document, whatever is asked."""
        listen = f"{LOOPBACK}:{free_port()}"
        number = count()
        lines = []
        chosen = []
        for action, document in answers.items():
            text = document.decode()
            assert "'" not in text
            assert "$" not in text
            names = []
            for start in range(0, len(text), _PART):
                names.append(f"$part{next(number)}")
                lines.append(f"  map '' {names[-1]} {{ default '{text[start : start + _PART]}'; }}")
            chosen.append(f'"{TARGET}{action}" "{"".join(names)}";')
        sums = [f'"{TARGET}{action}" {crc32(document)};' for action, document in answers.items()]
        lines.append(f"  map $http_x_amz_target $answer {{ default '{{}}'; {' '.join(chosen)} }}")
        lines.append(f"  map $http_x_amz_target $sum {{ default {crc32(b'{}')}; {' '.join(sums)} }}")
        lines.append(
            f"  server {{ listen {listen}; default_type application/x-amz-json-1.0;\n"
            "    add_header x-amzn-RequestId 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF;\n"
            "    add_header x-amz-crc32 $sum;\n"
            "    location / { return 200 $answer; } }"
        )
        return cls("\n".join(lines), listen)

    @classmethod
    def proxy(cls, upstream: str, *, mirror: bool) -> Self:
        """Proxies to an upstream; with `mirror` each request goes to it a second time, its answer thrown away."""
        listen = f"{LOOPBACK}:{free_port()}"
        line = "mirror /mirror;" if mirror else ""
        return cls(_PROXY.format(upstream=upstream, listen=listen, mirror=line), listen)

    def __enter__(self) -> Self:
        command = [shutil.which("nginx") or "nginx", "-p", str(self._folder), "-c", str(self._file)]
        self.child = Child("nginx", command, log_file=self._folder / "log", directory=self._folder)
        port = int(self.address.rpartition(":")[2])
        self.child.wait_ready(lambda: accepts_connections(port), 10)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
