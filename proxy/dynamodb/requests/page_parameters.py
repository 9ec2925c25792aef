"""What a Query or Scan asks for, read from its parameters.

Sources: API reference, "Query", "Scan". The order of the checks is DynamoDB's (dynalite's validations;
dynamodb-conformance, tier 3, validation-ordering), and so are the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, ValidationFault, validation
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.ast import Condition, Path
from proxy.dynamodb.expressions.key_conditions import KeyTerms, key_terms
from proxy.dynamodb.expressions.parse import parse_filter, parse_key_condition, parse_projection
from proxy.dynamodb.expressions.placeholders import Bindings, bindings
from proxy.dynamodb.requests.wording import enveloped, older_words, worded
from proxy.dynamodb.values import Item, canonical_item

_MEMBERS: Final = frozenset(
    {
        "AttributesToGet",
        "ConditionalOperator",
        "ConsistentRead",
        "ExclusiveStartKey",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "FilterExpression",
        "IndexName",
        "Limit",
        "ProjectionExpression",
        "Select",
    }
)
# What Query and Scan have of their own. DynamoDB takes no notice of the other's, or of anything else.
_QUERY_MEMBERS: Final = _MEMBERS | {"KeyConditionExpression", "KeyConditions", "QueryFilter", "ScanIndexForward"}
_SCAN_MEMBERS: Final = _MEMBERS | {"ScanFilter", "Segment", "TotalSegments"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParameters:
    """The parameters of a Query or Scan, valid as far as that can be told without its table."""

    index_name: str | None
    consistent: bool
    key_terms: KeyTerms | None
    """The conditions on a Query's key, by attribute name; None for a Scan."""
    filter: Condition | None
    filter_member: str
    """What DynamoDB calls the filter in its messages."""
    projection: tuple[Path, ...] | None
    select: str | None
    forward: bool
    limit: int | None
    start: Item | None
    segment: int | None
    segments: int | None


def read_page_parameters(action: str, parameters: Mapping[str, Any]) -> PageParameters:
    """Read the parameters of a Query or Scan. Raises ValidationException in the operation's words."""
    try:
        return _query(parameters) if action == "Query" else _scan(parameters)
    except DynamoDBError as error:
        raise worded(error, action) from error


def _query(parameters: Mapping[str, Any]) -> PageParameters:
    request = {name: value for name, value in parameters.items() if name in _QUERY_MEMBERS and value is not None}
    _check_together(request, "KeyConditionExpression")
    older_filter = _older_filter(request, "QueryFilter")
    older_projection = _older_projection(request)
    start = _start(request)
    if "KeyConditionExpression" not in request and "KeyConditions" not in request:
        raise validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    given = _bindings(request)
    terms: KeyTerms | None = None
    if "KeyConditionExpression" in request:
        tree = parse_key_condition(request["KeyConditionExpression"], given)
        terms = key_terms(tree)
    chosen = _filter(request, given)
    projection = _projection(request, given)
    given.check_all_used()
    if terms is None:
        terms = legacy.key_terms_from_conditions(request["KeyConditions"])
    return PageParameters(
        index_name=request.get("IndexName"),
        consistent=bool(request.get("ConsistentRead")),
        key_terms=terms,
        filter=chosen or older_filter,
        filter_member="QueryFilter" if chosen is None else "Filter Expression",
        projection=projection or older_projection,
        select=_select(request, projection or older_projection),
        forward=request.get("ScanIndexForward", True),
        limit=request.get("Limit"),
        start=start,
        segment=None,
        segments=None,
    )


def _scan(parameters: Mapping[str, Any]) -> PageParameters:
    request = {name: value for name, value in parameters.items() if name in _SCAN_MEMBERS and value is not None}
    _check_together(request)
    older_filter = _older_filter(request, "ScanFilter")
    older_projection = _older_projection(request)
    start = _start(request)
    _check_segments(request.get("Segment"), request.get("TotalSegments"))
    given = _bindings(request)
    chosen = _filter(request, given)
    projection = _projection(request, given)
    given.check_all_used()
    return PageParameters(
        index_name=request.get("IndexName"),
        consistent=bool(request.get("ConsistentRead")),
        key_terms=None,
        filter=chosen or older_filter,
        filter_member="ScanFilter" if chosen is None else "Filter Expression",
        projection=projection or older_projection,
        select=_select(request, projection or older_projection),
        forward=True,
        limit=request.get("Limit"),
        start=start,
        segment=request.get("Segment"),
        segments=request.get("TotalSegments"),
    )


def _check_together(request: Mapping[str, Any], *more: str) -> None:
    """Refuse parameters that do not go together."""
    accepted = (*more, "FilterExpression", "ProjectionExpression")
    legacy.refuse_mixture(request, [name for name in accepted if name in request])
    legacy.refuse_idle_bindings(request, accepted)


def _bindings(request: Mapping[str, Any]) -> Bindings:
    return bindings(request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues"))


def _filter(request: Mapping[str, Any], given: Bindings) -> Condition | None:
    return parse_filter(request["FilterExpression"], given) if "FilterExpression" in request else None


def _older_filter(request: Mapping[str, Any], member: str) -> Condition | None:
    if "FilterExpression" in request:
        return None
    parameter = f"{member[0].lower()}{member[1:]}"
    return legacy.condition_from_filter(request.get(member), request.get("ConditionalOperator"), parameter=parameter)


def _projection(request: Mapping[str, Any], given: Bindings) -> tuple[Path, ...] | None:
    return parse_projection(request["ProjectionExpression"], given).paths if "ProjectionExpression" in request else None


def _older_projection(request: Mapping[str, Any]) -> tuple[Path, ...] | None:
    if "AttributesToGet" not in request:
        return None
    return legacy.paths_from_attributes_to_get(request["AttributesToGet"])


def _start(request: Mapping[str, Any]) -> Item | None:
    if "ExclusiveStartKey" not in request:
        return None
    try:
        return canonical_item(request["ExclusiveStartKey"])
    except DynamoDBError as error:
        if error.code != "ValidationException":
            raise
        older = f"The provided starting key is invalid: {older_words(error)}"
        raise ValidationFault(error.message, older) from error


def _select(request: Mapping[str, Any], projection: tuple[Path, ...] | None) -> str | None:
    select: str | None = request.get("Select")
    if projection is not None and select not in (None, "SPECIFIC_ATTRIBUTES"):
        named = "ProjectionExpression" if "ProjectionExpression" in request else "AttributesToGet"
        wanted = "only the Count" if select == "COUNT" else select
        raise validation(enveloped(f"Cannot specify the {named} when choosing to get {wanted}"))
    if select == "ALL_PROJECTED_ATTRIBUTES" and "IndexName" not in request:
        raise validation(enveloped("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"))
    if projection is None and select == "SPECIFIC_ATTRIBUTES":
        raise validation(
            enveloped(
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
            )
        )
    return select


def _check_segments(segment: int | None, segments: int | None) -> None:
    if segments is not None and segment is None:
        raise validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments "
            "is present"
        )
    if segment is not None and segments is None:
        raise validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter "
            "is present"
        )
    if segment is not None and segments is not None and segment >= segments:
        raise validation("The Segment parameter is zero-based and must be less than parameter TotalSegments")
