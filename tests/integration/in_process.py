"""`crossfade` as a shell runs it, but in this process: most of what a short command costs is to start it.

For tests that run command after command; that the installed program starts is proven elsewhere. Not where a loop runs.
"""

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from proxy.cli import main


@dataclass(slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


def crossfade(*words: str, environment: Mapping[str, str], folder: Path) -> Ran:
    """Run the command with this environment and no other, in this folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(words)
        except SystemExit as wrong:  # argparse's way to say that a word is wrong
            code = int(wrong.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())
