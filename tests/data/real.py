"""Real data that none of us wrote: MDN's browser compatibility data, as an application would keep it in one table.

From the npm package @mdn/browser-compat-data (CC0-1.0, installed by `make node`): some 21,000 features of the web
platform and 1,700 releases of browsers. It is as irregular as data gets: a support statement is a map or a list of
maps, a version a text or false, a specification one text or a list of them; descriptions have markup and every script.
"""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from tests.node_clients import FOLDER, ClientsMissingError

TABLE = "compat"
_DATA = FOLDER / "node_modules" / "@mdn" / "browser-compat-data" / "data.json"
_MILLISECONDS_A_DAY = 86_400_000

# index → (hash key, range key, type of the range key)
INDEXES = {
    "area": ("kind:area", "path", "S"),
    "parent": ("parent", "path", "S"),
    "released": ("browser", "released", "N"),
}


def table_definition() -> dict[str, Any]:
    """The arguments of CreateTable: one hash key `kind#path`, three sparse indexes."""
    types = {"key": "S"}
    for hash_name, range_name, range_type in INDEXES.values():
        types |= {hash_name: "S", range_name: range_type}
    return {
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
        "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": hash_name, "KeyType": "HASH"},
                    {"AttributeName": range_name, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for name, (hash_name, range_name, _) in INDEXES.items()
        ],
    }


def items() -> Iterator[dict[str, Any]]:
    """Every item in DynamoDB's JSON, features with those that they are part of, then releases."""
    if not _DATA.is_file():
        raise ClientsMissingError("the packages in tests/node are not installed: run `make node`")
    data = json.loads(_DATA.read_text(encoding="utf-8"))
    areas = [name for name in data if name not in ("__meta", "browsers")]
    plain = [each for area in areas for each in _features(data[area], area, area, None)]
    plain += [each for name, browser in data["browsers"].items() for each in _releases(name, browser)]
    for item in plain:
        yield {name: _value(value) for name, value in item.items()}


def _value(plain: Any) -> dict[str, Any]:
    """A JSON value as an SDK would send it."""
    if isinstance(plain, bool):
        return {"BOOL": plain}
    if isinstance(plain, int):
        return {"N": str(plain)}
    if isinstance(plain, list):
        return {"L": [_value(each) for each in plain]}
    if isinstance(plain, dict):
        return {"M": {name: _value(each) for name, each in plain.items()}}
    return {"NULL": True} if plain is None else {"S": plain}


def _features(tree: dict[str, Any], path: str, area: str, parent: str | None) -> Iterator[dict[str, Any]]:
    here = tree.get("__compat")
    if here is not None:
        item = {"kind": "Feature", "path": path, "key": f"Feature#{path}", "area": area, "kind:area": f"Feature:{area}"}
        yield item | here | ({"parent": parent} if parent is not None else {})
        parent = path
    for name, below in tree.items():
        if name != "__compat" and isinstance(below, dict):
            yield from _features(below, f"{path}.{name}", area, parent)


def _releases(browser: str, tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for version, release in tree["releases"].items():
        path = f"{browser}.{version}"
        item = {"kind": "Release", "path": path, "key": f"Release#{path}", "browser": browser, "version": version}
        item |= {"type": tree["type"], "area": tree["type"], "kind:area": f"Release:{tree['type']}"}
        yield item | release | ({"released": _instant(release["release_date"])} if "release_date" in release else {})


def _instant(day: str) -> int:
    """Epoch milliseconds at the beginning of a day, as an application would keep them to sort by."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * _MILLISECONDS_A_DAY
