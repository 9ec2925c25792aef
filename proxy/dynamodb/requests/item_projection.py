"""Which attributes a GetItem, or a part of BatchGetItem or TransactGetItems, asks for.

Source: API reference, "GetItem", "KeysAndAttributes", "Get".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.parse import parse_projection
from proxy.dynamodb.expressions.placeholders import bindings
from proxy.dynamodb.values import Item


class ItemProjection:
    """Applies the projection of a request to items. Raises ValidationException for one that is not valid."""

    __slots__ = ("_paths",)

    def __init__(self, parameters: Mapping[str, Any], *, in_transaction: bool = False) -> None:
        older = () if in_transaction else ("AttributesToGet",)
        members = ("ProjectionExpression", "ExpressionAttributeNames", *older)
        request = {name: parameters[name] for name in members if parameters.get(name) is not None}
        self._paths = None
        if not request:
            return
        text = request.get("ProjectionExpression")
        legacy.refuse_mixture(request, () if text is None else ("ProjectionExpression",))
        legacy.refuse_idle_bindings(request, ("ProjectionExpression",))
        given = bindings(request.get("ExpressionAttributeNames"))
        if text is not None:
            self._paths = parse_projection(text, given).paths
        elif request.get("AttributesToGet") is not None:
            self._paths = legacy.paths_from_attributes_to_get(request["AttributesToGet"])
        given.check_all_used()

    def __call__(self, item: Item) -> Item:
        return item if self._paths is None else evaluate.project(self._paths, item)
