"""The catalogue as GraphQL, by graphql-core, GraphQL's reference implementation for Python. The schema is made of the
declared types, as the OpenAPI document is (`graphql_schema`).

    { items(type: Book, shelf: "Read", filter: {searchTerm: "dune", minRating: 8}) { items { title } nextPageCursor } }

A request may have so many tokens and so many fields at its root, and no more: each of these asks the stores.
"""

from __future__ import annotations

from collections.abc import Awaitable
from decimal import Decimal
from typing import Any, Final

import structlog
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    TokenKind,
    execute,
    parse,
    print_schema,
    validate,
)

from proxy.items.catalogue import Catalogue
from proxy.items.errors import ItemsAPIError, RuleViolation, invalid
from proxy.items.graphql_schema import GraphQLContext, schema

log = structlog.get_logger(__name__)

MOST_TOKENS: Final = 2000
MOST_CHARACTERS: Final = 200  # of a number: 38 digits, and zeros for its magnitude
MOST_ROOTS: Final = 10


class GraphQL:
    """One schema over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._schema = schema()
        self.sdl = print_schema(self._schema) + "\n"

    async def answer(self, request: Any, *, writes: bool) -> dict[str, Any]:
        """The answer to {"query", "variables", "operationName"}. Raises Refusal for what is no such request."""
        if not isinstance(request, dict) or not isinstance(request.get("query"), str):
            raise invalid(RuleViolation("query", "a text"))
        variables, name = request.get("variables"), request.get("operationName")
        if not isinstance(variables, dict | None) or not isinstance(name, str | None):
            raise invalid(RuleViolation("variables" if name is None else "operationName", "an object, and a text"))
        try:
            document = parse(request["query"], max_tokens=MOST_TOKENS, no_location=False)
        except GraphQLError as error:
            return {"data": None, "errors": [_told(error)]}
        too_long = _too_long_number(document)
        if too_long is not None:
            return {"data": None, "errors": [too_long]}
        wrong = validate(self._schema, document) or _too_many(document.definitions)
        if wrong:
            return {"data": None, "errors": [_told(each) for each in wrong]}
        executed = execute(
            self._schema,
            document,
            variable_values=_floats(variables),
            operation_name=name,
            context_value=GraphQLContext(self._catalogue, writes),
        )
        result = await executed if isinstance(executed, Awaitable) else executed
        errors = {"errors": [_told(each) for each in result.errors]} if result.errors else {}
        return {"data": result.data, **errors}


def _too_long_number(document: DocumentNode) -> dict[str, Any] | None:
    """The error for a number that no attribute can have: int() takes no more than 4,300 digits, and long for them."""
    token = document.loc.start_token if document.loc is not None else None
    while token is not None:
        if token.kind in (TokenKind.INT, TokenKind.FLOAT) and len(token.value or "") > MOST_CHARACTERS:
            place = {"line": token.line, "column": token.column}
            return {"message": "numbers of at most 38 digits", "locations": [place], "extensions": {"code": "INVALID"}}
        token = token.next
    return None


def _too_many(definitions: Any) -> list[GraphQLError]:
    roots = [
        field
        for each in definitions
        if isinstance(each, OperationDefinitionNode)
        for field in each.selection_set.selections
    ]
    fragments = any(not isinstance(field, FieldNode) for field in roots)
    if len(roots) <= MOST_ROOTS and not fragments:
        return []
    return [GraphQLError(f"at most {MOST_ROOTS} fields at the root of a request, and no fragment there")]


def _floats(variables: dict[str, Any] | None) -> dict[str, Any] | None:
    """Variables as GraphQL's own scalars want them: it knows no Decimal."""
    return None if variables is None else {name: _float(value) for name, value in variables.items()}


def _float(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _float(each) for name, each in value.items()}
    return [_float(each) for each in value] if isinstance(value, list) else value


def _told(error: GraphQLError) -> dict[str, Any]:
    document: dict[str, Any] = {**error.formatted}
    original = error.original_error
    if isinstance(original, ItemsAPIError):
        document["message"] = original.detail
        document["extensions"] = original.members()
    elif original is not None and not isinstance(original, GraphQLError):
        log.error("items_fault", exc_info=original)
        document["message"] = "a fault of Crossfade's own: see its log"
        document["extensions"] = {"code": "FAULT"}
    else:
        document.setdefault("extensions", {"code": "GRAPHQL"})
    return document
