"""A certificate authority of the tests' own, made by `openssl`: what a proxy shows, and what a client trusts.

Imports nothing of the product.
"""

import subprocess
from pathlib import Path


class Authority:
    """`file` is what clients trust; `issue` makes what a server shows, good for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._issued = 0
        self.file = folder / "ca.pem"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-keyout", str(folder / "ca.key"), "-out", str(self.file), "-subj", "/CN=Authority of the tests"),
        )

    def issue(self, cert: Path, key: Path) -> None:
        """Write a new certificate and key to these files; each has a serial number of its own."""
        self._issued += 1
        request, names = self._folder / "request.pem", self._folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n", encoding="ascii")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(request), "-subj", "/CN=127.0.0.1"),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._folder / "ca.key")),
            *("-set_serial", str(self._issued), "-days", "2", "-extfile", str(names), "-out", str(cert)),
        )


def lock(key: Path) -> None:
    """Put a password on a key."""
    locked = key.with_suffix(".locked")
    _openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", "pass:secret")
    locked.replace(key)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
