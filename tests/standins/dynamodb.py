"""ministack's DynamoDB under uvicorn, as a child process: an in-memory DynamoDB that pip alone can install.

It answers on 127.0.0.1 and opens no other port. Where it differs from AWS is in its own documentation and in our
facts: never compare it with another stand-in, only with itself asked through the proxy.
"""

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.standins.processes import LOOPBACK, Child, StandinError, free_port, standins_python
from tests.standins.standin import Standin

REGION = "us-east-1"
ACCESS_KEY = "local"
# Not a secret: the stand-in takes any. It is here so that clients and proxy sign with the same words.
SECRET_KEY = "local"
_READY_SECONDS = 120


class Ministack(Standin):
    """An empty DynamoDB: `with Ministack() as store: boto3.client("dynamodb", endpoint_url=store.endpoint, …)`.

    kill() loses everything it held; restart() comes back empty on the same port.
    """

    name = "ministack"

    def __init__(self, *, port: int = 0) -> None:
        self.port = port or free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="crossfade-ministack-"))

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`, for an SDK's endpoint_url."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """Where the server's log goes."""
        return self._directory / "server.log"

    def start(self) -> Self:
        """Start it and wait until it answers (about 1 s)."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        environment = kept | {
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "dynamodb,dynamodbstreams",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": f"unix://{self._directory}/no-docker",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(self._directory),
        }
        serve = ["-m", "uvicorn", "ministack.app:app", "--host", LOOPBACK, "--port", str(self.port)]
        quiet = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "60"]
        self._child = Child(
            self.name,
            [standins_python(), *serve, *quiet],
            log_file=self.log_file,
            environment=environment,
            directory=self._directory,
        )
        self._child.wait_ready(self._answers, _READY_SECONDS)
        return self

    def stop(self) -> None:
        """End it and remove its files."""
        if self._child is not None:
            self._child.stop(seconds=3)
        shutil.rmtree(self._directory, ignore_errors=True)

    def reset(self) -> None:
        """Drop every table (a few milliseconds)."""
        request = urllib.request.Request(f"{self.endpoint}/_ministack/reset", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            if json.load(answer) != {"reset": "ok"}:
                raise StandinError("ministack did not reset")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=20) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
