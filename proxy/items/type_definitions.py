"""The five types of items, by their declared fields: what validates, what OpenAPI describes and GraphQL offers.

A field that is not declared is kept as it is. Rules are told by name, so that an error can say which one was broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FieldType(StrEnum):
    """How a field looks in JSON; its value in DynamoDB is S, N, N, BOOL, L of S, N of epoch milliseconds, M."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    FLAG = "flag"
    TEXTS = "texts"
    TIME = "time"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field. `low` and `high` bound a number, or the characters of a text; `given` says that a new item must
    have it, `made` that it has a value if none is given."""

    name: str
    form: FieldType
    about: str
    low: int = 0
    high: int = 0
    given: bool = False
    made: bool = False


ID: Final = Field("id", FieldType.TEXT, "A UUID; one is made if none is given.", 1, 255, made=True)
MOST_TEXT: Final = 100_000
DECIMALS: Final = 3
MOST_PIXELS: Final = 10**9
"""Of a rating: as many as the column holds."""

COMMON: Final = (
    ID,
    Field("shelf", FieldType.TEXT, "Where it stands. To name one moves the item there.", 1, 100, given=True),
    Field("title", FieldType.TEXT, "What it is called.", 1, 250, given=True),
    Field("rating", FieldType.NUMBER, "From 0 to 10, decimals allowed.", 0, 10),
    Field("image", FieldType.IMAGE, "A picture: its address, its size in pixels, and anything else."),
    Field("externalId", FieldType.TEXT, "Its name in the catalogue that it came from.", 1, 250),
    Field("notes", FieldType.TEXT, "Notes.", 0, MOST_TEXT),
    Field("addedAt", FieldType.TIME, "When it was added; now, if not given.", made=True),
    Field("movedAt", FieldType.TIME, "When it came to its shelf; now, if not given.", made=True),
)
_REWATCH: Final = Field("rewatch", FieldType.FLAG, "Whether it was watched before.")
_YEAR: Final = Field("releaseYear", FieldType.TEXT, "The year it came out.", 1, 20)

KINDS: Final[dict[str, tuple[Field, ...]]] = {
    "Book": (
        Field("author", FieldType.TEXT, "Who wrote it.", 0, 1000),
        Field("reread", FieldType.FLAG, "Whether it was read before."),
    ),
    "VideoGame": (
        Field("platforms", FieldType.TEXTS, "What it runs on."),
        Field("devices", FieldType.TEXTS, "What it was played on."),
        Field("hoursPlayed", FieldType.NUMBER, "For how long.", 0, 1_000_000),
        Field("replay", FieldType.FLAG, "Whether it was played before."),
    ),
    "Feature": (_YEAR, _REWATCH),
    "TvSeries": (_YEAR,),
    "TvSeason": (
        Field("seasonNumber", FieldType.WHOLE, "Its place among the seasons of its series.", 0, 100_000),
        Field("seasonTitle", FieldType.TEXT, "What the season is called.", 0, 1000),
        _YEAR,
        _REWATCH,
        Field("seriesId", FieldType.TEXT, "The id of its series.", 1, 255),
    ),
}

CATEGORIES: Final = {"watching": ("Feature", "TvSeries")}
WATCHING: Final = CATEGORIES["watching"]
CATEGORY_OF: Final = {kind: name for name, kinds in CATEGORIES.items() for kind in kinds}

# What an index is made of, so that it may not stand, in another form, on an item of another type.
ONLY: Final = {
    name: frozenset(kind for kind, fields in KINDS.items() if any(field.name == name for field in fields))
    for name in ("seriesId", "seasonNumber")
}


def fields_of(kind: str) -> dict[str, Field]:
    """The declared fields of a type, by name."""
    return {field.name: field for field in (*COMMON, *KINDS[kind])}
