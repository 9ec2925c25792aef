"""The description of the items port for programs: OpenAPI 3.1, made of the declared types and of what may be asked.

Types and filters come from the modules that check them, so that they cannot drift apart; paths are written out, and a
test asks the port all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.items.errors import Code
from proxy.items.item_validation import KEY, ON_SHELF
from proxy.items.queries import FIRST, LONGEST_SEARCH, MOST, SortBy
from proxy.items.type_definitions import CATEGORY_OF, COMMON, DECIMALS, KINDS, MOST_PIXELS, ONLY, Field, FieldType
from proxy.web.openapi_frame import Schema, frame, parameter, problem, ref

_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TEXT: Final[Schema] = {"type": "string"}
_WORD: Final = r"^[^\u0000]*$"
_STEP: Final = 10**-DECIMALS


def document(version: str) -> Schema:
    """The whole description, of this version."""
    return frame(
        "Crossfade items API",
        version,
        "Items by type, shelf, dates, rating and a text in their titles, all at once; over whichever store is the "
        "authority. Unknown fields are kept.",
        tokens="items.read_token to look, items.write_token to change too. With no token set the port is a loopback "
        "one.",
        paths=_paths(),
        schemas={**_schemas(), **{f"{kind}Patch": _patch(kind) for kind in KINDS}},
        problems={name: text for name, (_, text) in _PROBLEMS.items()},
    )


_PROBLEMS: Final = {
    "Invalid": ("400", "A field, parameter or cursor breaks a rule: `errors` names both."),
    "Unauthorized": ("401", "A token is missing or not known."),
    "Forbidden": ("403", "The token may only read, or another web page sent the request."),
    "NotFound": ("404", "There is no such item."),
    "TooSlow": ("408", "The body did not come in time."),
    "Exists": ("409", "There is one already, or others go on changing it."),
    "TooLarge": ("413", "The body is larger than 1 MiB."),
    "NoJson": ("415", "The body is not application/json."),
    "Unknown": ("500", "It is not known whether it was done."),
    "Unavailable": ("503", "Nothing was done: try again."),
}
_READS: Final = ("Invalid", "Unauthorized", "Forbidden", "Unknown", "Unavailable")
_WRITES: Final = (*_READS, "TooSlow", "TooLarge", "NoJson")


def _paths() -> Schema:
    one = [
        parameter("type", "path", {"type": "string", "enum": list(KINDS)}, "Its type."),
        parameter("id", "path", {**_TEXT, "minLength": 1, "maxLength": 255, "pattern": _WORD}, "Its id."),
    ]
    filters = [
        parameter("shelf", "query", {**_TEXT, "minLength": 1, "maxLength": 100, "pattern": _WORD}, "On this shelf."),
        parameter(
            "search",
            "query",
            {**_TEXT, "maxLength": LONGEST_SEARCH, "pattern": _WORD},
            "A text anywhere in the title, in any case (Unicode case folding).",
        ),
        parameter("startDate", "query", _TIME, "Moved then or later."),
        parameter("endDate", "query", _TIME, "Moved then or earlier."),
        parameter("minRating", "query", _rating(), "Rated so, or better."),
        parameter("maxRating", "query", _rating(), "Rated so, or worse."),
        parameter(
            "sortBy",
            "query",
            {"type": "string", "enum": [str(each) for each in SortBy], "default": str(SortBy.MOVED_AT)},
            "The latest or best first, titles from the first on. Equal ones are in the order of their ids.",
        ),
        *_paged(),
        parameter("total", "query", {"type": "boolean", "default": False}, "Whether to count all of them too."),
    ]
    of_type = parameter("type", "query", {"type": "string", "enum": list(KINDS)}, "Of this type.")
    external = parameter(
        "externalId",
        "query",
        {**_TEXT, "pattern": _WORD},
        "Instead of all else: all items of this external id.",
    )
    item = ref("Item")
    pages = ref("Page")
    # One patch may fit several types: which one it is of, the path says.
    patches = {"anyOf": [ref(f"{kind}Patch") for kind in KINDS]}
    series = [parameter("id", "path", {**_TEXT, "minLength": 1, "maxLength": 255, "pattern": _WORD}, "Its id.")]
    overwrite = parameter(
        "overwrite", "query", {"type": "boolean", "default": False}, "Whether to put it where there is one already."
    )
    return {
        "/items": {
            "get": _operation("list", "A page of items of a type", _READS, pages, [of_type, *filters, external]),
            "post": _operation("create", "A new item", (*_WRITES, "Exists"), item, [overwrite], item, "201"),
        },
        "/items/{type}/{id}": {
            "get": _operation("get", "One item", (*_READS, "NotFound"), item, one),
            "patch": _operation(
                "update",
                "Change what is given (RFC 7396: null takes a field away, an object changes what it names)",
                (*_WRITES, "NotFound", "Exists"),
                item,
                one,
                patches,
            ),
            "delete": _operation("delete", "Delete it", (*_READS, "NotFound"), None, one, None, "204"),
        },
        "/series/{id}/seasons": {
            "get": _operation("seasons", "A series's seasons by their numbers", _READS, pages, [*series, *_paged()])
        },
        "/watching": {"get": _operation("watching", "Features and series together", _READS, pages, filters)},
        "/graphql": {
            "post": _operation(
                "graphql",
                "The same as GraphQL (/schema.graphql)",
                _WRITES,
                {"type": "object", "additionalProperties": True},
                [],
                ref("GraphQL"),
            )
        },
    }


def _paged() -> list[Schema]:
    size = {"type": "integer", "minimum": 1, "maximum": MOST, "default": FIRST}
    return [
        parameter("first", "query", size, "The most items of a page."),
        parameter("after", "query", {**_TEXT, "minLength": 1, "pattern": r"^[A-Za-z0-9_-]+$"}, "A nextPageCursor."),
    ]


def _operation(
    name: str,
    summary: str,
    problems: Iterable[str],
    answered: Schema | None,
    parameters: list[Schema],
    body: Schema | None = None,
    status: str = "200",
) -> Schema:
    content = {} if answered is None else {"content": {"application/json": {"schema": answered}}}
    by_status: dict[str, Schema] = {status: {"description": summary, **content}}
    for each in problems:
        by_status[_PROBLEMS[each][0]] = problem(each)
    operation: Schema = {"operationId": name, "summary": summary, "parameters": parameters, "responses": by_status}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _schemas() -> Schema:
    kinds = {kind: _kind(kind) for kind in KINDS}
    return {
        **kinds,
        "Item": {
            "oneOf": [ref(kind) for kind in KINDS],
            "discriminator": {"propertyName": "type"},
        },
        "Image": {
            "type": "object",
            "required": ["url"],
            "properties": {
                "url": {**_TEXT, "minLength": 1, "pattern": _WORD},
                "width": {"type": "integer", "minimum": 0, "maximum": MOST_PIXELS},
                "height": {"type": "integer", "minimum": 0, "maximum": MOST_PIXELS},
            },
        },
        "Page": {
            "type": "object",
            "required": ["items", "hasNextPage", "nextPageCursor"],
            "properties": {
                "items": {"type": "array", "items": ref("Item")},
                "hasNextPage": {"type": "boolean"},
                "nextPageCursor": {"type": ["string", "null"]},
                "total": {"type": "integer", "minimum": 0},
            },
        },
        "GraphQL": {
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": _TEXT,
                "variables": {"type": ["object", "null"]},
                "operationName": {"type": ["string", "null"]},
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer"},
                "detail": _TEXT,
                "code": {**_TEXT, "examples": [str(each) for each in Code]},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "rule"],
                        "properties": {"field": _TEXT, "rule": _TEXT},
                    },
                },
            },
        },
    }


def _kind(kind: str) -> Schema:
    fields = (*COMMON, *KINDS[kind])
    # Null is as if it were not given; and what the wire left as null is told so.
    forms = {field.name: _field(field) if field.given else _or_null(_field(field)) for field in fields}
    properties: Schema = {"type": {"const": kind}, **forms}
    if kind in CATEGORY_OF:
        properties["category"] = _or_null({"const": CATEGORY_OF[kind], "description": "Made of the type."})
    properties |= _never(kind)
    required = ["type", *(field.name for field in fields if field.given)]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": True}


def _patch(kind: str) -> Schema:
    """Any of the fields; `null` for those that may go."""
    properties: Schema = {}
    for field in (*COMMON, *KINDS[kind]):
        schema = {"type": "object"} if field.form is FieldType.IMAGE else _field(field)
        fixed = field.given or field.made
        properties[field.name] = schema if fixed else _or_null(schema)
    return {"type": "object", "properties": {**properties, **_never(kind)}, "additionalProperties": True}


def _or_null(schema: Schema) -> Schema:
    form = dict(schema)
    about = form.pop("description", "")
    return {"anyOf": [form, {"type": "null"}], "description": about}


def _never(kind: str) -> Schema:
    """What an item of the type may not have."""
    made = {KEY: False, ON_SHELF: False, **({"category": False} if kind not in CATEGORY_OF else {})}
    return made | {name: False for name, kinds in ONLY.items() if kind not in kinds}


def _field(field: Field) -> Schema:
    return {**_form(field), "description": field.about}


def _form(field: Field) -> Schema:
    match field.form:
        case FieldType.TEXT if field.name == "id":
            return {**_TEXT, "format": "uuid"}
        case FieldType.TEXT:
            return {**_TEXT, "minLength": field.low, "maxLength": field.high, "pattern": _WORD}
        case FieldType.NUMBER:
            return {"type": "number", "minimum": field.low, "maximum": field.high, "multipleOf": _STEP}
        case FieldType.WHOLE:
            return {"type": "integer", "minimum": field.low, "maximum": field.high}
        case FieldType.FLAG:
            return {"type": "boolean"}
        case FieldType.TEXTS:
            return {"type": "array", "items": {**_TEXT, "pattern": _WORD}}
        case FieldType.TIME:
            return _TIME
    return ref("Image")


def _rating() -> Schema:
    return {"type": "number", "minimum": 0, "maximum": 10, "multipleOf": _STEP}
