"""Settings with which nothing that the demo shows depends on how fast the machine is.

A product's time limits tell a store that fails from one that is slow. Here the stores are stand-ins on a machine that
may be busy with something else, so a slow one must not count as a failing one.
"""

from __future__ import annotations

from typing import Final

_LONG: Final = "300"

PATIENT: Final = {
    "CROSSFADE_DYNAMODB__TIMEOUT_SECONDS": _LONG,
    "CROSSFADE_DYNAMODB__CONNECT_TIMEOUT_SECONDS": _LONG,
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": _LONG,
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": _LONG,
    # A busy process would rightly leave comparisons out.
    "CROSSFADE_MIRROR__MAX_TURN_SECONDS": "60",
    "CROSSFADE_SHUTDOWN__CONVERGE_SECONDS": _LONG,
}
WAIT_SECONDS: Final = 900.0
"""After so long without an end, something hangs, and the demo says what it waited for."""
