"""Time to live: which attribute says when an item expires, and which items have. Pure.

Sources: developer guide, "Using time to live (TTL) in DynamoDB" (a Number, in seconds since 1970; not older than five
years), "Enable time to live"; API reference, "UpdateTimeToLive", "DescribeTimeToLive".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.values import Item

DISABLED: Final[Mapping[str, Any]] = {"TimeToLiveStatus": "DISABLED"}
OLDEST_SECONDS: Final = 5 * 365 * 86_400
_MAX_NAME: Final = 255


def enabled(attribute: str) -> dict[str, Any]:
    """`TimeToLiveDescription` of a table whose items expire."""
    return {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}


def expiry_attribute(description: Mapping[str, Any] | None) -> str | None:
    """Return the attribute by which a table's items expire; None where they do not."""
    if description is None or description.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return None
    name = description.get("AttributeName")
    return name if isinstance(name, str) and name else None


def changed(request: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `TimeToLiveDescription` after an UpdateTimeToLive. Raises ValidationException for one that changes
    nothing, or another attribute than the table has."""
    specification = request.get("TimeToLiveSpecification")
    if not isinstance(specification, Mapping):
        raise errors.validation(_null("timeToLiveSpecification"))
    name, wanted = specification.get("AttributeName"), specification.get("Enabled")
    for member, value in (("attributeName", name), ("enabled", wanted)):
        if value is None:
            raise errors.validation(_null(f"timeToLiveSpecification.{member}"))
    if not isinstance(name, str) or not isinstance(wanted, bool):
        raise errors.serialization("TimeToLiveSpecification")
    if not 1 <= len(name) <= _MAX_NAME:
        bound = f"less than or equal to {_MAX_NAME}" if name else "greater than or equal to 1"
        raise errors.validation(
            f"1 validation error detected: Value '{name}' at 'timeToLiveSpecification.attributeName' failed to satisfy "
            f"constraint: Member must have length {bound}"
        )
    held = expiry_attribute(present)
    if wanted and held is not None:
        same = held == name
        raise errors.validation(
            "TimeToLive is already enabled"
            if same
            else f"TimeToLive is active on a different AttributeName: current AttributeName is {held}"
        )
    if not wanted and held is None:
        raise errors.validation("TimeToLive is already disabled")
    if not wanted and held != name:
        raise errors.validation(f"TimeToLive is active on a different AttributeName: current AttributeName is {held}")
    return enabled(name) if wanted else dict(DISABLED)


def bounds(now: float) -> tuple[str, str]:
    """Return from which time on, and until which, an item has expired: as Numbers, in whole seconds."""
    return str(int(now) - OLDEST_SECONDS), str(int(now))


def has_expired(item: Item, attribute: str, now: float) -> bool:
    """Return whether DynamoDB would delete the item."""
    value = item.get(attribute, {}).get("N")
    oldest, newest = bounds(now)
    return value is not None and int(oldest) <= float(value) <= int(newest)


def _null(member: str) -> str:
    return (
        f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
    )
