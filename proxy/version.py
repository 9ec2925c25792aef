"""The version, for logs, the status page and `crossfade version`. A test holds it equal to the package's."""

from typing import Final

VERSION: Final = "0.1.0"
