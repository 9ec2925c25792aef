"""A disk that can be filled: a tmpfs of a few megabytes, which only root may mount."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(size: int, *, owner_of: Path | None = None) -> Iterator[Path]:
    """An empty folder of `size` bytes that belongs to whom `owner_of` belongs to; the test is skipped without leave to
    mount."""
    folder = Path(tempfile.mkdtemp(prefix="crossfade-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        disk = folder / "disk"
        disk.mkdir(mode=0o700)
        folder.chmod(0o755)
        if owner_of is not None:
            about = owner_of.stat()
            os.chown(disk, about.st_uid, about.st_gid)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def fill(disk: Path) -> None:
    """Write `filler` until there is no room for one byte more."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue
