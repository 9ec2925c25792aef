"""One session of a client, at DynamoDB itself and through a proxy in a stage: what it is told must be the same.

In `complete` DynamoDB has nothing but the tables' descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.scenes import scene
from tests.standins.billio import billio_table, dynamodb_client
from tests.standins.dynamodb import Ministack

STAGES = ("off", "shadow", "live", "complete")
_SETS = ("SS", "NS")
_ENVELOPE = "1 validation error detected: "


@dataclass(frozen=True)
class Session:
    """`make` makes its table at an endpoint, `play` gives all that it was told there."""

    make: Callable[[str], Any]
    play: Callable[[str], Any]


def unordered(value: Any) -> Any:
    """Where a client shows a Scan, a batch or a set: its items in one order. And a refusal without the envelope that
    AWS puts around it nowadays, and ministack does not (`proxy.dynamodb.requests.wording`)."""
    if isinstance(value, str):
        return value.replace(_ENVELOPE, "")
    if isinstance(value, dict):
        kept = {name: unordered(inner) for name, inner in sorted(value.items())}
        return {name: sorted(inner) if name in _SETS else inner for name, inner in kept.items()}
    if isinstance(value, list | tuple):
        inner = [unordered(each) for each in value]
        return sorted(inner, key=repr) if inner and all(isinstance(each, dict) for each in inner) else inner
    return value


def told_directly(session: Session) -> Any:
    """By a stand-in of its own, without any proxy."""
    with Ministack() as alone:
        session.make(alone.endpoint)
        return unordered(session.play(alone.endpoint))


def check(session: Session, stage: str, expected: Any, *, dynamodb: str, database: str, dsql: str) -> None:
    """The same session through a proxy."""
    session.make(dynamodb)
    billio = session.make is billio_table
    follow = {"CROSSFADE_FOLLOW_TABLES": "true"}
    if stage == "complete":
        # What is known of tables then was told while there was a DynamoDB.
        with scene(dynamodb, dsql, rows=database, stage="shadow", billio=billio, environment=follow) as before:
            for table in before.client().list_tables()["TableNames"]:
                before.client().describe_table(TableName=table)
                before.client().scan(TableName=table)
            before.proxy.settle()
    with scene(dynamodb, dsql, rows=database, stage=stage, billio=billio, environment=follow) as here:
        told = unordered(session.play(here.proxy.data))
        for one, two in zip(told, expected, strict=False):
            assert one == two
        assert len(told) == len(expected)
        if stage in ("shadow", "live"):
            here.proxy.settle()
            assert here.proxy.mismatches() == []
            for table in dynamodb_client(dynamodb).list_tables()["TableNames"]:
                here.assert_equal(table)
