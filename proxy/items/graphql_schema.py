"""The GraphQL schema over the catalogue: types made of the declared ones, and what answers each field.

`total` is counted only where it is asked for. What an item holds beside the declared fields is `extra`. What a request
may ask at once, and how errors are told, is `proxy.items.graphql`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
)

from proxy.dynamodb.values import Item
from proxy.items.catalogue import Catalogue, ItemPage
from proxy.items.errors import Code, ItemsAPIError, RuleViolation, invalid
from proxy.items.item_validation import shown_item
from proxy.items.queries import FIRST, SortBy, asked, page_size
from proxy.items.type_definitions import COMMON, KINDS, WATCHING, Field, FieldType

_DATE_TIME: Final = GraphQLScalarType(
    "DateTime", description="A time in RFC 3339, as in 2024-05-01T12:00:00Z.", serialize=lambda value: value
)
_JSON: Final = GraphQLScalarType("JSON", description="Any JSON.", serialize=lambda value: value)


@dataclass(frozen=True, slots=True)
class GraphQLContext:
    """Whom a request asks, and whether who sent it may change anything."""

    catalogue: Catalogue
    writes: bool


Info: TypeAlias = "GraphQLResolveInfo[GraphQLContext]"


class _Answered:
    """A page, and what it is a page of: counted once, however often and by whichever names it is asked for."""

    __slots__ = ("_count", "_counting", "page")

    def __init__(self, page: ItemPage, count: Callable[[], Coroutine[Any, Any, int]]) -> None:
        self.page = page
        self._count = count
        self._counting: asyncio.Task[int] | None = None

    async def total(self) -> int:
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())
        return await self._counting


def schema() -> GraphQLSchema:
    """The schema, made of `KINDS`."""
    kinds = GraphQLEnumType("ItemType", {kind: kind for kind in KINDS})
    orders = GraphQLEnumType("SortBy", {str(each): str(each) for each in SortBy})
    image = GraphQLObjectType(
        "Image",
        {
            "url": GraphQLField(GraphQLString, resolve=partial(_member, str)),
            "width": GraphQLField(GraphQLFloat, resolve=partial(_member, float)),
            "height": GraphQLField(GraphQLFloat, resolve=partial(_member, float)),
        },
    )
    image_input = GraphQLInputObjectType(
        "ImageInput",
        {
            "url": GraphQLInputField(GraphQLString),
            "width": GraphQLInputField(GraphQLInt),
            "height": GraphQLInputField(GraphQLInt),
        },
    )
    shared = {field.name: _output(field, image) for field in COMMON}
    shared |= {"type": GraphQLField(GraphQLNonNull(kinds), resolve=lambda item, _: item["type"])}
    shared |= {"category": GraphQLField(GraphQLString, resolve=partial(_text, "category"))}
    interface = GraphQLInterfaceType(
        "Item", {**shared, "extra": _extra("")}, resolve_type=lambda item, *_: str(item["type"])
    )
    types = {
        kind: GraphQLObjectType(
            kind,
            {**shared, **{field.name: _output(field, image) for field in fields}, "extra": _extra(kind)},
            interfaces=[interface],
        )
        for kind, fields in KINDS.items()
    }
    page = GraphQLObjectType(
        "ItemPage",
        {
            "items": GraphQLField(_listed(interface), resolve=lambda held, _: list(map(shown_item, held.page.items))),
            "total": GraphQLField(
                GraphQLNonNull(GraphQLInt),
                resolve=lambda held, _: held.total(),
                description="How many there are on all pages: counted only where it is asked for.",
            ),
            "hasNextPage": GraphQLField(
                GraphQLNonNull(GraphQLBoolean), resolve=lambda held, _: held.page.cursor is not None
            ),
            "nextPageCursor": GraphQLField(GraphQLString, resolve=lambda held, _: held.page.cursor),
        },
    )
    filters = GraphQLInputObjectType(
        "ItemFilterInput",
        {
            "searchTerm": GraphQLInputField(GraphQLString, description="In the title, in whichever case."),
            "startDate": GraphQLInputField(_DATE_TIME, description="Moved then or later."),
            "endDate": GraphQLInputField(_DATE_TIME, description="Moved then or earlier."),
            "minRating": GraphQLInputField(GraphQLFloat),
            "maxRating": GraphQLInputField(GraphQLFloat),
            "sortBy": GraphQLInputField(orders, default_value=str(SortBy.MOVED_AT)),
        },
    )
    pages = {
        "first": GraphQLArgument(GraphQLInt, default_value=FIRST),
        "after": GraphQLArgument(GraphQLString),
    }
    filtered = {"shelf": GraphQLArgument(GraphQLString), "filter": GraphQLArgument(filters), **pages}
    named = {"type": GraphQLArgument(GraphQLNonNull(kinds)), "id": GraphQLArgument(GraphQLNonNull(GraphQLID))}
    query = GraphQLObjectType(
        "Query",
        {
            "item": GraphQLField(interface, named, _item),
            "items": GraphQLField(GraphQLNonNull(page), {"type": named["type"], **filtered}, _items),
            "itemsWithExternalId": GraphQLField(
                _listed(interface), {"externalId": GraphQLArgument(GraphQLNonNull(GraphQLString))}, _external
            ),
            "seasons": GraphQLField(
                GraphQLNonNull(page), {"seriesId": GraphQLArgument(GraphQLNonNull(GraphQLID)), **pages}, _seasons
            ),
            "watching": GraphQLField(GraphQLNonNull(page), filtered, _watching),
        },
    )
    changes: dict[str, GraphQLField] = {}
    for kind in KINDS:
        given = _input(kind, "Input", image_input, new=True)
        changed = _input(kind, "Changes", image_input, new=False)
        changes[f"create{kind}"] = GraphQLField(
            GraphQLNonNull(types[kind]),
            {
                "item": GraphQLArgument(GraphQLNonNull(given)),
                "overwrite": GraphQLArgument(GraphQLBoolean, default_value=False),
            },
            partial(_create, kind),
        )
        changes[f"update{kind}"] = GraphQLField(
            GraphQLNonNull(types[kind]),
            {"id": named["id"], "changes": GraphQLArgument(GraphQLNonNull(changed))},
            partial(_update, kind),
        )
    changes["deleteItem"] = GraphQLField(GraphQLNonNull(GraphQLID), named, _delete)
    return GraphQLSchema(query, GraphQLObjectType("Mutation", changes), types=list(types.values()))


# -- fields ------------------------------------------------------------------------------------------------------------


def _output(field: Field, image: GraphQLObjectType) -> GraphQLField:
    """What stands in the field in another form than the declared is shown as none: `extra` and HTTP show it."""
    name = field.name
    match field.form:
        case FieldType.TEXT if name == "id":
            return GraphQLField(GraphQLNonNull(GraphQLID), resolve=lambda item, _: item["id"])
        case FieldType.TEXT:
            return GraphQLField(GraphQLString, resolve=partial(_text, name), description=field.about)
        case FieldType.TIME:
            return GraphQLField(_DATE_TIME, resolve=partial(_text, name), description=field.about)
        case FieldType.NUMBER | FieldType.WHOLE:
            return GraphQLField(GraphQLFloat, resolve=partial(_number, name), description=field.about)
        case FieldType.FLAG:
            return GraphQLField(GraphQLBoolean, resolve=partial(_typed, bool, name), description=field.about)
        case FieldType.TEXTS:
            return GraphQLField(
                GraphQLList(GraphQLNonNull(GraphQLString)), resolve=partial(_texts, name), description=field.about
            )
    return GraphQLField(image, resolve=partial(_typed, dict, name), description=field.about)


def _extra(kind: str) -> GraphQLField:
    declared = {"type", "category", *(field.name for field in (*COMMON, *KINDS.get(kind, ())))}

    def rest(item: Mapping[str, Any], _: Info) -> dict[str, Any]:
        known = declared if kind else declared | {field.name for field in KINDS[item["type"]]}
        return {name: value for name, value in item.items() if name not in known}

    return GraphQLField(GraphQLNonNull(_JSON), resolve=rest, description="Fields that are not declared.")


def _input(kind: str, suffix: str, image: GraphQLInputObjectType, *, new: bool) -> GraphQLInputObjectType:
    forms = {
        FieldType.TEXT: GraphQLString,
        FieldType.NUMBER: GraphQLFloat,
        FieldType.WHOLE: GraphQLInt,
        FieldType.FLAG: GraphQLBoolean,
        FieldType.TEXTS: GraphQLList(GraphQLNonNull(GraphQLString)),
        FieldType.TIME: _DATE_TIME,
        FieldType.IMAGE: image,
    }
    fields: dict[str, GraphQLInputField] = {}
    for field in (*COMMON, *KINDS[kind]):
        if field.name == "id" and not new:
            continue
        form: Any = forms[field.form] if field.name != "id" else GraphQLID
        fields[field.name] = GraphQLInputField(
            GraphQLNonNull(form) if new and field.given else form, description=field.about
        )
    fields["extra"] = GraphQLInputField(_JSON, description="Fields that are not declared.")
    return GraphQLInputObjectType(f"{kind}{suffix}", fields)


def _listed(of: GraphQLInterfaceType) -> GraphQLNonNull[Any]:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(of)))


def _typed(kind: type, name: str, item: Mapping[str, Any], _: Info) -> Any:
    value = item.get(name)
    return value if isinstance(value, kind) else None


_text = partial(_typed, str)


def _number(name: str, item: Mapping[str, Any], _: Info) -> float | None:
    value = item.get(name)
    return float(value) if isinstance(value, Decimal) else None


def _texts(name: str, item: Mapping[str, Any], _: Info) -> list[str] | None:
    value = item.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else None


def _member(kind: type, image: Mapping[str, Any], info: Info) -> Any:
    value = image.get(info.field_name)
    if kind is float:
        return float(value) if isinstance(value, Decimal) else None
    return value if isinstance(value, kind) else None


# -- what is asked -----------------------------------------------------------------------------------------------------


async def _item(_: Any, info: Info, type: str, id: str) -> Any:  # noqa: A002
    try:
        return shown_item(await info.context.catalogue.with_id(type, id))
    except ItemsAPIError as refusal:
        if refusal.code is Code.NOT_FOUND:
            return None
        raise


async def _items(_: Any, info: Info, type: str, **given: Any) -> _Answered:  # noqa: A002
    return await _asked(info, (type,), given)


async def _watching(_: Any, info: Info, **given: Any) -> _Answered:
    return await _asked(info, WATCHING, given)


async def _asked(info: Info, kinds: tuple[str, ...], given: dict[str, Any]) -> _Answered:
    catalogue: Catalogue = info.context.catalogue
    filters = dict(given.get("filter") or {})
    filters["search"] = filters.pop("searchTerm", None)
    question = asked({**filters, "shelf": given.get("shelf")}, kinds)
    found = await catalogue.page(question, page_size(given.get("first")), given.get("after"))
    return _Answered(found, partial(catalogue.total, question))


async def _external(_: Any, info: Info, externalId: str) -> list[dict[str, Any]]:  # noqa: N803
    found: list[Item] = await info.context.catalogue.with_external_id(externalId)
    return [shown_item(item) for item in found]


async def _seasons(_: Any, info: Info, seriesId: str, **given: Any) -> _Answered:  # noqa: N803
    catalogue: Catalogue = info.context.catalogue
    found = await catalogue.with_series_id(seriesId, page_size(given.get("first")), given.get("after"))
    return _Answered(found, partial(catalogue.total_of_series, seriesId))


async def _create(
    kind: str,
    _: Any,
    info: Info,
    item: dict[str, Any],
    overwrite: bool,
) -> dict[str, Any]:
    _writer(info)
    return shown_item(await info.context.catalogue.create({**_with_extra(item), "type": kind}, overwrite=overwrite))


async def _update(kind: str, _: Any, info: Info, id: str, changes: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    _writer(info)
    return shown_item(await info.context.catalogue.update(kind, id, _with_extra(changes)))


async def _delete(_: Any, info: Info, type: str, id: str) -> str:  # noqa: A002
    _writer(info)
    await info.context.catalogue.delete(type, id)
    return id


def _writer(info: Info) -> None:
    if not info.context.writes:
        raise GraphQLError("to change items takes the write token", extensions={"code": "FORBIDDEN"})


def _with_extra(given: dict[str, Any]) -> dict[str, Any]:
    extra = given.get("extra")
    if not isinstance(extra, dict | None):
        raise invalid(RuleViolation("extra", "an object"))
    return {**(extra or {}), **{name: value for name, value in given.items() if name != "extra"}}
