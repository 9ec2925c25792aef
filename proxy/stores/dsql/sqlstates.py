"""What PostgreSQL and its driver raise, sorted into the seam's errors by what may have happened. Raises nothing, asks
nobody.

Besides PostgreSQL's own errors, asyncpg raises what says that the driver and the server no longer speak with each
other: an operating system's error, the end of a stream, a connection that is closed (InterfaceError), and a protocol
that is out of step, as after a cut in the middle of an answer (InternalClientError, ProtocolError).

Sources: PostgreSQL manual, "PostgreSQL Error Codes"; "Concurrency control in Aurora DSQL" (user guide) for XX000,
which DSQL gives when it cannot say. Conflicts are for `occ`.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from proxy.dynamodb.schema import Key
from proxy.mapping.interface import Fault
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.interface import Unrepresentable

LOST_CONNECTION: Final = (OSError, EOFError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The connection is of no more use, or (a ValueError) a parameter was never sent."""
DRIVER_ERRORS: Final = (asyncpg.PostgresError, *LOST_CONNECTION)
"""Whatever a statement or a connect may raise, but for cancellation."""

# "57014" is a cancelled statement; class 57P is a server going away, 53 one that is full, 08 a connection lost.
_AWAY: Final = ("57", "53", "08", "XX000", "25006")
# Class 22: the value is not one the column's type has (NUL in text, out of range); class 23: a constraint refuses it.
_UNFIT: Final = ("22", "23")
_LIMIT: Final = "54000"
# DSQL has one SQLSTATE for all its limits (recorded): of these an item is too large for its row, whatever else happens.
# The others are of the transaction: its rows, its size, its age, the space that a query works in.
_ITEM_LIMITS: Final = ("key size", "maximum row size", "datatype limit", "index row")
_AGE_LIMIT: Final = "transaction age limit"
# A form of words that the server does not have.
UNSUPPORTED: Final = ("0A000", "42601")
NO_TABLE: Final = "42P01"
# No such table, or column of it: whoever made it so long ago finds it gone, or another in its place.
MISSING: Final = frozenset({NO_TABLE, "42703"})
# `CREATE … IF NOT EXISTS` looks before it makes and locks nothing between: of two sessions one finds the name of the
# relation, type or column taken.
_MADE_MEANWHILE: Final = frozenset({"42P07", "42710", "42701"})
_DUPLICATE: Final = "23505"
_CATALOG: Final = "pg_"
# PostgreSQL's words for a row of the catalog that two sessions change at once, and for a relation that goes meanwhile:
# both are internal errors (XX000), which DSQL also gives when it cannot say what happened.
_CATALOG_RACE: Final = ("tuple concurrently ", "cache lookup failed for ", "could not open relation with OID ")


def is_ddl_race(error: BaseException) -> bool:
    """Whether a DDL statement lost to another session's: it had no effect, and what is there must be looked at again.

    A duplicate counts where it is the catalog's; a unique index that its rows do not allow is the operator's to mend.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return False
    if is_conflict(error) or error.sqlstate in _MADE_MEANWHILE:
        return True
    if error.sqlstate == _DUPLICATE:
        return (getattr(error, "constraint_name", None) or _CATALOG).startswith(_CATALOG)
    return error.sqlstate == "XX000" and str(error).startswith(_CATALOG_RACE)


def is_unfit(error: asyncpg.PostgresError) -> bool:
    """Whether the statement's row will never be taken, because of what is in it."""
    state = error.sqlstate or ""
    if state == _LIMIT:
        return str(error).lower().startswith(_ITEM_LIMITS)
    return state.startswith(_UNFIT)


def to_store_error(error: asyncpg.PostgresError, key: Key | None, *, reading: bool = False) -> StoreError:
    """The seam's error for PostgreSQL's. Messages carry SQLSTATE and not the text: that may quote values."""
    state = error.sqlstate or "?????"
    detail = f"{state} {type(error).__name__}"
    if state.startswith(_AWAY):
        # A server that goes away in the middle of a write may have committed it.
        if not reading and (state.startswith(("57P", "08")) or state == "XX000"):
            return UnknownOutcome("connection", detail)
        return Unreachable("server", detail)
    if state == _LIMIT and _AGE_LIMIT in str(error):
        return Unreachable("age", detail)  # refused as a whole: nothing of it has happened
    if key is not None and is_unfit(error):
        return Unrepresentable(key, (Fault(next(iter(key.attributes)), f"DSQL refuses the row ({detail})"),))
    return Refused(state, detail)


def to_unsent_error(error: Exception, key: Key | None) -> StoreError:
    """asyncpg's own refusals are ValueErrors: a parameter that it cannot encode was never sent."""
    if isinstance(error, ValueError):
        if key is not None:
            return Unrepresentable(key, (Fault(next(iter(key.attributes)), "a value cannot be sent to PostgreSQL"),))
        return Refused("parameter", "a value cannot be sent to PostgreSQL")
    return Unreachable("connection", type(error).__name__)


def is_out_of_step(error: BaseException) -> bool:
    """Return whether a connection cannot be used again after this error, whether or not it looks open."""
    return isinstance(error, LOST_CONNECTION) and not isinstance(error, ValueError)
