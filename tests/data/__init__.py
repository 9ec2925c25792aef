"""Billio's catalogue as it would be read from DynamoDB: real titles, made-up shelves, and the oddities real data has.

`catalogue.json` holds one item a line in DynamoDB's JSON. It is written by hand and by a throw-away script, and is
now simply data: change it line by line. What is odd in it, on purpose: ratings in halves and quarters, and one that is
NULL; images with more or fewer keys than three; ids shared by two types, and two in upper case; external ids shared by
two items; times shared by whole import batches; seasons that were not watched in order, specials (season 0) and a
season 10; a title of more than 500 characters; empty notes; sets, binary and attributes that no schema knows.
"""

import json
from pathlib import Path
from typing import Any

_CATALOGUE = Path(__file__).with_name("catalogue.json")


def catalogue() -> list[dict[str, dict[str, Any]]]:
    """All items, a fresh copy each time: seasons come after the series they belong to."""
    items: list[dict[str, dict[str, Any]]] = json.loads(_CATALOGUE.read_text(encoding="utf-8"))
    return items
