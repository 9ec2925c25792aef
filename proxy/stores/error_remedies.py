"""What to do about a store's refusal, by its reason: a sentence for an operator. Asks nobody.

Reasons are SQLSTATEs ("PostgreSQL Error Codes", manual, Appendix A) and DynamoDB's codes ("Error handling with
DynamoDB", developer guide). Values are quoted by neither, so none can come in here.
"""

from __future__ import annotations

from typing import Final

_SQLSTATE: Final = 5
_COLUMNS: Final = "apply the migration that makes it so (crossfade migrate), or correct the mapping"
_DYNAMODB: Final = "see endpoint_url and region in [dynamodb]"
_REMEDIES: Final = {
    "42P01": "make the table (its migration, or follow_tables), or set the table's stage to off",
    "42703": f"the SQL table lacks a column that the mapping names: {_COLUMNS}",
    "42804": f"a column of the SQL table is of another type than the mapping says: {_COLUMNS}",
    "42883": f"a column of the SQL table is of another type than the mapping says: {_COLUMNS}",
    "42P10": f"the primary key of the SQL table is not the mapping's key: {_COLUMNS}",
    "42501": "the database's role lacks a right on the table: see deploy/sql/runtime-role.sql",
    "3F000": "there is no such schema: see schema in [dsql]",
    "ResourceNotFoundException": f"DynamoDB has no such table: {_DYNAMODB}",
    "AccessDeniedException": "the AWS identity may not do that: docs/operating.md has the policies",
    "UnrecognizedClientException": f"DynamoDB does not know the access key: {_DYNAMODB}, and the credentials",
}


_PARKED: Final = "change the item or the mapping, then run: crossfade parked retry"
_REFUSED_ITEM: Final = {
    "ValidationException": "DynamoDB does not take this item (a key, an attribute name, or over 400 KB)",
    "ItemCollectionSizeLimitExceededException": "the item collection exceeds 10 GB in DynamoDB",
    "22": "a column of the SQL table cannot hold a value of this item",
    "23": "a constraint of the SQL table refuses this item",
    "54": "the row or an index entry of this item is larger than the database allows",
}
"""What a store refuses because of the item, by DynamoDB's code or SQLSTATE class ("PostgreSQL Error Codes": 22 data
exception, 23 integrity constraint violation, 54 program limit exceeded)."""


def item_fault(reason: str) -> str | None:
    """Return what is wrong with an item that a store refuses for this reason; None if the refusal is not about it."""
    return _REFUSED_ITEM.get(reason) or (_REFUSED_ITEM.get(reason[:2]) if len(reason) == _SQLSTATE else None)


def parked_remedy(item_id: str) -> str:
    """Return what to do about a parked key."""
    return f"{_PARKED} {item_id}; to give it up, and leave the stores different there: crossfade parked drop {item_id}"


def remedy(reason: str) -> str:
    """The sentence for a reason, or an empty one."""
    return _REMEDIES.get(reason, "")
