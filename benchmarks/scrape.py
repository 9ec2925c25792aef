"""(i) how long a scrape takes: the text of all metrics after many keys and attributes, and after all operations too.

The time of `Metrics.text`, which the admin port has made on a thread; HTTP adds what any answer costs.
"""

import time
from collections.abc import Callable
from typing import Any

from proxy.dynamodb.operations import ACTIONS
from proxy.metrics.registry import Metrics
from tests.observed.test_cardinality import ATTRIBUTES, series, told


def scrape(say: Callable[[str], None], keys: int, scrapes: int) -> dict[str, Any]:
    """What was seen → series, bytes, and milliseconds of each scrape, sorted."""
    seen = told(keys, ATTRIBUTES)
    found = {f"{keys:,} keys, {ATTRIBUTES} attributes": _measure(seen, scrapes)}
    for action in ACTIONS:
        for status in (200, 400, 500):
            seen.wire.proxy_seconds(action, status, 0.001)
        for store in ("dynamodb", "dsql"):
            seen.stores.store_seconds(store, action, 0.001)
    found["and every operation on items, in three statuses, of both stores"] = _measure(seen, scrapes)
    for name, each in found.items():
        say(f"{name}: {each['series']:,} series, {each['ms'][len(each['ms']) // 2]:.1f} ms")
    return found


def _measure(seen: Metrics, scrapes: int) -> dict[str, Any]:
    took = []
    for _ in range(scrapes):
        began = time.perf_counter()
        text = seen.text()
        took.append((time.perf_counter() - began) * 1000)
    return {"series": series(seen), "bytes": len(text), "ms": sorted(took)}
