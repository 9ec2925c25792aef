"""The dashboards and rules against the real programs: a proxy under load, a flip on the way, Debian's Prometheus.

`make observe` does the same for longer, and shows what each query gives.
"""

import time
from pathlib import Path

from tests.integration.scenes import wait_until
from tests.observed.asked import faults, firing, invented
from tests.observed.scenery import scenery

ACT_SECONDS = 6


def test_every_query_and_rule_gives_what_it_should(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    with scenery(dynamodb, database, dsql_database, tmp_path) as scene:
        began = time.monotonic()
        scene.act(ACT_SECONDS)
        proxy = scene.here.proxy.admin.removeprefix("http://")
        wait_until(lambda: scene.prometheus.targets()[proxy] == "", 120, "a scrape that goes well")
        assert list(faults(scene.prometheus, time.monotonic() - began + 10)) == []
        assert list(invented(scene.prometheus)) == []
        meant = {"CrossfadeMismatch", "CrossfadeUnrepresentable"}
        wait_until(lambda: firing(scene.prometheus) >= meant, 120, "both alerts")
        assert firing(scene.prometheus) <= meant | {"CrossfadeConflictsExhausted"}  # conflicts are up to chance
