"""`python -m tests.observed [--seconds 60] [--stay]`: a cutover under load, watched by Prometheus, and what it showed.

Prints each panel's query with the number of series it gave, and what the rules say; with --stay it goes on until
Ctrl-C, for whoever wants to look. Exit code 1 if a query or a rule did not give what it should.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.observed.asked import faults, firing
from tests.observed.empty import reason
from tests.observed.questions import questions
from tests.observed.scenery import Scenery, scenery
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.observed", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--stay", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Postgres() as postgres, Dsql(postgres) as gate, Ministack() as store, tempfile.TemporaryDirectory() as folder:
        database = postgres.create_database()
        dsql = gate.dsn(database.rsplit("/", 1)[1])
        with scenery(store.endpoint, database, dsql, Path(folder)) as scene:
            print(f"Prometheus: {scene.prometheus.url}/classic/graph   proxy: {scene.here.proxy.admin}", flush=True)
            with suppress(KeyboardInterrupt):
                scene.act(arguments.seconds)
                wrong = _tell(scene, arguments.seconds + 10)
                while arguments.stay:
                    time.sleep(1)
                return 1 if wrong else 0
    return 0


def _tell(scene: Scenery, seconds: float) -> list[str]:
    print("\n".join(scene.told))
    for each in questions():
        found = scene.prometheus.now(each.expr) if each.instant else scene.prometheus.over(each.expr, seconds)
        print(f"{len(found):5} series  {each}" + ("" if found else f"   ({reason(each) or 'SHOULD HAVE SOME'})"))
    for rule in scene.prometheus.rules():
        if rule["type"] == "recording":
            print(f"{len(scene.prometheus.now(rule['name'])):5} series  rule {rule['name']}")
    print(f"alerts that fire: {', '.join(sorted(firing(scene.prometheus))) or 'none'}")
    print(f"the slowest scrape took {scene.prometheus.scrape_seconds() * 1000:.0f} ms")
    wrong = list(faults(scene.prometheus, seconds))
    print("\n".join(wrong) or "Every query and rule gives what it should.", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
