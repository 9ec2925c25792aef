"""Pages in an order of their own, as DynamoDB's are: a Scan by a hash of the key, and so equal sort keys of an index.

ministack has them in the order of keys, which is DSQL's: no test would notice a page of the wrong store.
"""

import json
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from tests.standins.unruly import Carry, Forward


def in_hash_order(key_name: str, sort_names: Mapping[str, str]) -> Carry:
    """What answers requests to a table of one hash attribute whose indexes sort by Numbers, without filters."""

    def answer(action: str, body: bytes, forward: Forward) -> tuple[int, bytes]:
        request = json.loads(body)
        index = request.get("IndexName")
        if action != "Scan" and (action != "Query" or index is None):
            return forward(body)

        def place(item: Mapping[str, Any]) -> tuple[float, int]:
            sort = float(item[sort_names[index]]["N"]) if action == "Query" else 0.0
            return sort, crc32(item[key_name]["S"].encode())

        start, limit = request.pop("ExclusiveStartKey", None), request.pop("Limit", None)
        forward_again = request.pop("ScanIndexForward", True)
        items: list[dict[str, Any]] = []
        page: dict[str, Any] = {"LastEvaluatedKey": None}
        while "LastEvaluatedKey" in page:
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if page["LastEvaluatedKey"] else {}
            status, found = forward(json.dumps(request | more).encode())
            page = json.loads(found)
            if status != 200:
                return status, found
            items += page["Items"]
        items.sort(key=place, reverse=not forward_again)
        if start is not None:
            after = place(start)
            items = [item for item in items if (place(item) > after if forward_again else place(item) < after)]
        shown = items[:limit]
        document: dict[str, Any] = {"Items": shown, "Count": len(shown), "ScannedCount": len(shown)}
        if limit is not None and len(shown) == limit:
            names = [key_name, *(("type", sort_names[index]) if index is not None else ())]
            document["LastEvaluatedKey"] = {name: shown[-1][name] for name in names}
        return 200, json.dumps(document).encode()

    return answer
