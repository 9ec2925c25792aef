"""A second opinion: what the two stores hold, read by plain SQL and plain boto3, with nothing of the product.

It knows the two schemas of config/ by heart, so that a fault of the product's mapping cannot hide in the mapping.
"""

import base64
import datetime
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg

from tests.standins.billio import HASH_KEY, dynamodb_client

Item = dict[str, dict[str, Any]]

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_STRINGS = {
    "type": "type",
    "id": "id",
    "shelf": "shelf",
    "title": "title",
    "external_id": "externalId",
    "notes": "notes",
    "category": "category",
    "series_id": "seriesId",
}
_NUMBERS = {"rating": "rating", "season_number": "seasonNumber"}
_TIMES = {"added_at": "addedAt", "moved_at": "movedAt"}
PLAN_COLUMNS = frozenset(
    {"type", "id", "shelf", "title", "rating", "image", "externalId", "notes", "addedAt", "movedAt", "seriesId"}
)
_TITLE = 500
_KINDS = {"SS": "a string set", "NS": "a number set", "BS": "a binary set", "B": "binary"}


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the plan's schema does not keep: in how many items, and the first of them in words."""

    field: str
    items: int
    sentence: str


def scan(endpoint: str, table: str) -> dict[str, Item]:
    """Every item DynamoDB holds, by its key."""
    client = dynamodb_client(endpoint)
    found: dict[str, Item] = {}
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        found |= {item[HASH_KEY]["S"]: item for item in page["Items"]}
    return found


async def rows(dsn: str) -> list[Mapping[str, Any]]:
    """Every row of `items`, `data` as text."""
    connection = await asyncpg.connect(dsn)
    try:
        found: list[Mapping[str, Any]] = await connection.fetch("SELECT * FROM items")
        return found
    finally:
        await connection.close()


def disagreements(items: Mapping[str, Item], held: list[Mapping[str, Any]]) -> list[str]:
    """What differs between DynamoDB's items and the rows of config/migrations, one sentence each; none if equal."""
    from_rows = {item[HASH_KEY]["S"]: item for item in map(_item, held)}
    found = [f"{key} is in DynamoDB only" for key in sorted(items.keys() - from_rows.keys())]
    found += [f"{key} is in SQL only" for key in sorted(from_rows.keys() - items.keys())]
    for key in sorted(items.keys() & from_rows.keys()):
        wanted, got = comparable(items[key]), comparable(from_rows[key])
        names = [name for name in sorted(wanted.keys() | got.keys()) if wanted.get(name) != got.get(name)]
        found += [f"{key}: {name} is {wanted.get(name)!r} against {got.get(name)!r}" for name in names]
    return found


def plan_losses(items: Mapping[str, Item], held: list[Mapping[str, Any]]) -> list[Loss]:
    """What the rows of config/migrations-plan no longer say of the items they were made from."""
    by_id = {str(row["id"]): row for row in held}
    told: dict[str, list[str]] = defaultdict(list)
    for item in items.values():
        title = item["title"]["S"]
        identity = item["id"]["S"]
        row = by_id.get(identity.lower())
        if row is None and identity != identity.lower():
            # SQL's item has another key, which DynamoDB does not have. Whichever key was repaired last decided whether
            # the row stays.
            told["id"].append(
                f"{_short(title)}: its id {identity[:8]}… became {identity[:8].lower()}…, and its row went"
            )
        elif row is None:
            why = f"a title of {len(title)} characters does not fit" if len(title) > _TITLE else "it was refused"
            told["(no row)"].append(f"{_short(title)}: no row at all, {why}")
        elif row["type"] != item["type"]["S"]:
            told["(shared row)"].append(
                f"{item['type']['S']} {_short(title)} is gone: the {row['type']} of the same id has its row"
            )
        else:
            for field, sentence in _item_losses(item, row):
                told[field].append(f"{_short(title)}: {sentence}")
    told["(order)"] = [f"{title}: {sentence}" for title, sentence in _season_orders(items, held)]
    return [Loss(field, len(sentences), sentences[0]) for field, sentences in sorted(told.items()) if sentences]


def _item_losses(item: Item, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if str(row["id"]) != item["id"]["S"]:
        found.append(("id", f"its id {item['id']['S'][:8]}… became {str(row['id'])[:8]}…"))
    rating = item.get("rating", {})
    if "N" in rating and (row["rating"] is None or Decimal(rating["N"]) != row["rating"]):
        found.append(("rating", f"a rating of {rating['N']} became {row['rating']}"))
    if "NULL" in rating:
        found.append(("rating", "a rating of NULL became no rating"))
    if row["title"] != item["title"]["S"]:
        found.append(("title", f"a title of {len(item['title']['S'])} characters was cut to {len(row['title'])}"))
    found += _image_losses(item.get("image", {}).get("M"), row)
    watching = item["type"]["S"] in ("Feature", "TvSeries")
    if watching != ("category" in item):
        found.append(("category", f"it has {'no' if watching else 'a'} category; the application would say otherwise"))
    data = json.loads(row["data"])
    for name, value in item.items():
        if name in PLAN_COLUMNS or name in (HASH_KEY, "type:shelf", "category"):
            continue
        kind = next(iter(value))
        if name not in data:
            found.append((name, f"{name} is gone"))
        elif kind in ("SS", "NS", "BS", "B"):
            form = "a string" if kind == "B" else "a list"
            found.append((name, f"{name} was {_KINDS[kind]} and became {form}"))
    return found


def _image_losses(image: Item | None, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    if image is None:
        return []
    if not image:
        return [("image", "an empty image became no image")]
    found = [("image", f"image.{name} is gone") for name in sorted(image.keys() - {"url", "width", "height"})]
    found += [
        ("image", f"image.{name} {image[name]['N']} became {row[f'image_{name}']}")
        for name in ("width", "height")
        if name in image and row[f"image_{name}"] != Decimal(image[name]["N"])
    ]
    return found


def _season_orders(items: Mapping[str, Item], held: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Series whose seasons `idx_series_id` (series, time moved) lists in another order than their numbers."""
    moved = {str(row["id"]): row["moved_at"] for row in held}
    by_series: dict[str, list[Item]] = defaultdict(list)
    for item in items.values():
        if "seriesId" in item and item["id"]["S"].lower() in moved:
            by_series[item["seriesId"]["S"]].append(item)
    found: list[tuple[str, str]] = []
    for seasons in by_series.values():
        numbers = [int(s["seasonNumber"]["N"]) for s in sorted(seasons, key=lambda s: moved[s["id"]["S"].lower()])]
        if numbers != sorted(numbers):
            listed = ", ".join(map(str, numbers))
            found.append((seasons[0]["title"]["S"], f"its seasons come as {listed}"))
    return sorted(found)


def _item(row: Mapping[str, Any]) -> Item:
    item: Item = {}
    data = json.loads(row["data"], parse_int=Decimal, parse_float=Decimal)
    # Composites that the item lacks, although their parts are there.
    absent = data.pop("$absent", [])
    for name, value in data.items():
        item[name.removeprefix("$")] = _value(value)
    for column, attribute in _STRINGS.items():
        if row[column] is not None:
            item[attribute] = {"S": row[column]}
    for column, attribute in _NUMBERS.items():
        if row[column] is not None:
            item[attribute] = {"N": str(row[column])}
    for column, attribute in _TIMES.items():
        if row[column] is not None:
            microseconds = (row[column] - _EPOCH) // datetime.timedelta(microseconds=1)
            item[attribute] = {"N": str(Decimal(microseconds) / 1000)}
    item.setdefault(HASH_KEY, {"S": f"{row['type']}:{row['id']}"})
    if row["shelf"] is not None:
        item.setdefault("type:shelf", {"S": f"{row['type']}:{row['shelf']}"})
    return {name: value for name, value in item.items() if name not in absent}


def _value(found: Any) -> dict[str, Any]:
    """An attribute value from the `data` column, whose form docs/ describes: JSON, with `$` tags where JSON cannot."""
    match found:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": found}
        case Decimal():
            return {"N": str(found)}
        case str():
            return {"S": found}
        case list():
            return {"L": [_value(element) for element in found]}
        case {"$S": text}:
            return {"S": base64.b64decode(text).decode()}
        case {"$N": text}:
            return {"N": text}
        case {"$B": text}:
            return {"B": base64.b64decode(text)}
        case {"$SS": members}:
            return {"SS": [_value(member)["S"] for member in members]}
        case {"$NS": members}:
            return {"NS": members}
        case {"$BS": members}:
            return {"BS": [base64.b64decode(member) for member in members]}
        case dict():
            return {"M": {name.removeprefix("$"): _value(value) for name, value in found.items()}}
    raise ValueError(f"no attribute value: {found!r}")


def comparable(item: Item) -> dict[str, Any]:
    """The item as Python values that are equal exactly when the items are: numbers by value, sets without order."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: dict[str, Any]) -> Any:
    (tag, content), *_ = value.items()
    match tag:
        case "N":
            return tag, Decimal(content)
        case "NS":
            return tag, frozenset(map(Decimal, content))
        case "SS" | "BS":
            return tag, frozenset(content)
        case "L":
            return tag, [_plain(element) for element in content]
        case "M":
            return tag, comparable(content)
    return tag, content


def _short(title: str) -> str:
    return title if len(title) <= 40 else title[:39] + "…"
