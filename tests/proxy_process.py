"""Crossfade as an operator runs it: the command `crossfade serve` in a process of its own, asked over its two ports.

For tests and the demo that treat it as a black box. Imports nothing of the product.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY
from tests.standins.processes import Child, StandinError, bare_environment
from tests.standins.standin import Standin

_ADDRESSES = re.compile(r"data (https?://\S+)\s+admin (https?://\S+)(?:\s+items (https?://\S+))?")
_READY_SECONDS = 120
_STOP_SECONDS = 120

Sample = tuple[dict[str, str], float]


def settings_text(
    *, dynamodb: str, dsql: str, journal: Path, stage: str, mappings: Iterable[Path], extra: str = ""
) -> str:
    """A settings file for stand-ins on this machine: free ports, and values shown in mismatches.

    `dsql` is an address with a password, or the endpoint of a cluster.
    """
    place = "dsn" if dsql.startswith("postgresql://") else "endpoint"
    listed = ", ".join(json.dumps(str(path)) for path in mappings)
    return f"""\
listen = "127.0.0.1:0"
stage = "{stage}"
mappings = [{listed}]

[admin]
listen = "127.0.0.1:0"
values = true

[dynamodb]
endpoint_url = "{dynamodb}"
streams_endpoint_url = "{dynamodb}"
region = "{REGION}"
access_key_id = "{ACCESS_KEY}"
secret_access_key = "{SECRET_KEY}"

[dsql]
{place} = "{dsql}"

[journal]
path = {json.dumps(str(journal))}

{extra}"""


class ProxyProcess(Standin):
    """`with ProxyProcess(dynamodb=…, dsql=…, stage="shadow", mappings=[…]) as proxy: client(proxy.data)`.

    `data`, `admin` and `items` (if any) are the addresses it said it listens on. The journal lives as long as this
    object, so that kill() and restart() find it again; the ports are new after a restart.
    """

    name = "crossfade"

    def __init__(
        self,
        *,
        dynamodb: str,
        dsql: str,
        mappings: Iterable[Path],
        stage: str = "shadow",
        environment: Mapping[str, str] | None = None,
        extra: str = "",
    ) -> None:
        self.data = self.admin = self.items = ""
        self._directory = Path(tempfile.mkdtemp(prefix="crossfade-proxy-"))
        self._environment = dict(environment or {})
        text = settings_text(
            dynamodb=dynamodb,
            dsql=dsql,
            journal=self.journal,
            stage=stage,
            mappings=mappings,
            extra=extra,
        )
        (self._directory / "crossfade.toml").write_text(text, encoding="utf-8")

    @property
    def log_file(self) -> Path:
        """Where the running proxy's log goes."""
        return self._directory / "proxy.log"

    @property
    def journal(self) -> Path:
        """Its journal's file."""
        return self._directory / "journal.sqlite"

    def start(self, *, ready: bool = True) -> Self:
        """Start it and wait until it is ready, or only until it listens."""
        self.log_file.unlink(missing_ok=True)
        command = [str(Path(sys.executable).with_name("crossfade")), "serve", "--config"]
        self._child = Child(
            self.name,
            [*command, str(self._directory / "crossfade.toml")],
            log_file=self.log_file,
            directory=self._directory,
            environment=bare_environment() | {"HOME": str(self._directory)} | self._environment,
        )
        self._child.wait_ready(lambda: self._listens() and (self.ready() or not ready), _READY_SECONDS)
        return self

    def stop(self) -> None:
        """End it in good order (it converges first) and remove its files."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM, _STOP_SECONDS)
        shutil.rmtree(self._directory, ignore_errors=True)

    def restart(self, environment: Mapping[str, str] | None = None, *, ready: bool = True) -> None:
        """Start again with the same journal and settings (and these variables), after kill() or in good order."""
        self.child.stop(signal.SIGTERM, _STOP_SECONDS)
        self._environment |= environment or {}
        self.start(ready=ready)

    def run(self, *command: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run one of Crossfade's commands with this proxy's settings, as an operator does beside it."""
        return subprocess.run(
            [
                str(Path(sys.executable).with_name("crossfade")),
                *command,
                "--config",
                str(self._directory / "crossfade.toml"),
            ],
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=self._directory,
            env=bare_environment() | {"HOME": str(self._directory)} | self._environment,
        )

    def ready(self) -> bool:
        """Whether `/readyz` says that it may get traffic."""
        try:
            self._get("/readyz")
        except (StandinError, OSError):
            return False
        return True

    def status(self) -> dict[str, Any]:
        """`/v1/status`."""
        document: dict[str, Any] = json.loads(self._get("/v1/status"))
        return document

    def mismatches(self, limit: int = 1000) -> list[dict[str, Any]]:
        """`/v1/mismatches`, newest first."""
        found: list[dict[str, Any]] = json.loads(self._get(f"/v1/mismatches?limit={limit}"))["mismatches"]
        return found

    def metrics(self) -> dict[str, list[Sample]]:
        """Every sample of `/metrics` by its name, with its labels."""
        samples: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(self._get("/metrics")):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
        return samples

    def settle(self, seconds: float = 120) -> None:
        """Return when the journal is empty and nothing waits behind an answer; StandinError after `seconds`."""
        deadline = time.monotonic() + seconds
        while (status := self.status())["journal"]["keys"] or status["behind"]:
            if time.monotonic() > deadline:
                raise StandinError(f"not settled after {seconds:g} s: {status}\n{self.child.log_tail()}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            log = self.log_file.read_text("utf-8", "replace")  # all of it: what it said may be far from its end by now
        except FileNotFoundError:
            return False
        said = _ADDRESSES.search(log)
        if said is None:
            return False
        self.data, self.admin = said[1], said[2]
        self.items = said[3] or ""
        return True

    def _get(self, path: str) -> str:
        token = self._environment.get("CROSSFADE_ADMIN__READ_TOKEN")
        request = urllib.request.Request(
            self.admin + path, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            with error:
                raise StandinError(
                    f"{path} answered {error.code}: {error.read().decode()}\n{self.child.log_tail()}"
                ) from None
