"""PostgreSQL's errors as the seam's: by what may have happened, and of DSQL's limits by their words."""

from __future__ import annotations

import asyncpg
import pytest

from proxy.dynamodb.schema import Key
from proxy.stores.dsql.sqlstates import to_store_error
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.interface import Unrepresentable

KEY = Key("things", '{"pk":{"S":"a"}}')


def error(state: str, message: str = "") -> asyncpg.PostgresError:
    made: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": state, "M": message, "S": "ERROR", "V": "ERROR"})
    return made


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("key size too large", Unrepresentable),
        ("maximum row size exceeded", Unrepresentable),
        ("datatype limit greater than 1048576 bytes not supported for jsonb", Unrepresentable),
        ("transaction row limit exceeded", Refused),
        ("transaction size limit 10mb exceeded", Refused),
        ("query requires more than allowed temp space of 131072 KB to execute", Refused),
        ("transaction age limit of 300s exceeded", Unreachable),
    ],
)
def test_of_dsqls_limits_only_an_items_own_parks_its_key(message: str, kind: type[StoreError]) -> None:
    """The messages are recorded (dsql-recorded.tsv): one SQLSTATE, and only the words tell what was too much."""
    assert type(to_store_error(error("54000", message), KEY)) is kind
    without_key = to_store_error(error("54000", message), None)
    assert type(without_key) is (Unreachable if kind is Unreachable else Refused)


@pytest.mark.parametrize(
    ("state", "reading", "kind"),
    [
        ("22021", False, Unrepresentable),
        ("23505", False, Unrepresentable),
        ("XX000", False, UnknownOutcome),
        ("XX000", True, Unreachable),
        ("08006", False, UnknownOutcome),
        ("53400", False, Unreachable),
        ("42P01", False, Refused),
    ],
)
def test_other_states_are_sorted_by_what_may_have_happened(state: str, reading: bool, kind: type[StoreError]) -> None:
    assert type(to_store_error(error(state), KEY, reading=reading)) is kind
