"""What to do about a store's refusal, by its reason: a sentence for an operator. Asks nobody.

Reasons are SQLSTATEs ("PostgreSQL Error Codes", manual, Appendix A) and DynamoDB's codes ("Error handling with
DynamoDB", developer guide). Values are quoted by neither, so none can come in here.
"""

from __future__ import annotations

from typing import Final

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


def remedy(reason: str) -> str:
    """The sentence for a reason, or an empty one."""
    return _REMEDIES.get(reason, "")
