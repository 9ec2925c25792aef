"""Apply a folder of SQL files as an operator does: by `crossfade migrate`, through the DSQL gate."""

import subprocess
import sys
from pathlib import Path

from tests.standins.processes import bare_environment


def apply(folder: Path, dsn: str) -> None:
    """Raises CalledProcessError, with what the command said on stderr."""
    command = [str(Path(sys.executable).with_name("crossfade")), "migrate", "--folder", str(folder)]
    environment = bare_environment() | {"CROSSFADE_DSQL__DSN": dsn, "CROSSFADE_LOG__LEVEL": "error"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=300)
