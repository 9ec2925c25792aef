"""`python -m tests.standins`: an empty DynamoDB and a DSQL on this machine, until Ctrl-C. For docs/getting-started.md.

What they hold is gone when they end.
"""

import argparse
import signal
import sys

from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres


def main() -> int:
    """Start them, say where they are, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins", description="Stores to try Crossfade on.")
    parser.add_argument("--dynamodb", type=int, default=4566, metavar="PORT", help="DynamoDB's (4566)")
    parser.add_argument("--dsql", type=int, default=5433, metavar="PORT", help="DSQL's (5433)")
    chosen = parser.parse_args()
    # Ctrl-C and SIGTERM alike unwind the stack, which stops every server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        Postgres() as server,
        Dsql(server, port=chosen.dsql) as gate,
        Ministack(port=chosen.dynamodb) as dynamodb,
    ):
        print(f"DynamoDB at {dynamodb.endpoint}, DSQL at {gate.dsn()}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
