"""Where the command begins. As long as nothing is at work Ctrl-C ends it without a word, as it ends any program, not
with a traceback that tells which import it met. What is at work hears of it by itself, and ends in order."""

import signal
import sys
from typing import Final

INTERRUPTED: Final = 128 + signal.SIGINT


def main() -> int:
    """Load the command and run it; the exit code is its own, or 130. Where its caller ignores SIGINT, so does it."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from proxy.cli import main as cli

    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return cli.main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
