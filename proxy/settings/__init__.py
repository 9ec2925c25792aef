"""What an operator can set, from one TOML file and `CROSSFADE_…` environment variables, as frozen dataclasses.

A variable overrides the file: `CROSSFADE_DSQL__DSN` is `dsn` in `[dsql]`, `CROSSFADE_TABLES__items__TYPES__Book__STAGE`
is `stage` in `[tables.items.types.Book]`. Paths in the file are relative to the file, paths in variables to the working
directory. Unknown keys and values out of range are refused (`proxy.settings.validation`). Nothing here opens a
connection, and nothing here prints a secret: `repr` leaves secrets out and `shown()` masks them."""

from proxy.settings.file import load, load_admin_tokens
from proxy.settings.ports import PREFIX, SHORTEST_TOKEN, AccessKey, Address, Admin, AdminTokens, Auth, Items
from proxy.settings.settings import Log, Settings
from proxy.settings.shadow import (
    BreakerSettings,
    CompareSettings,
    ExpirySettings,
    JournalSettings,
    Mirror,
    Shutdown,
    Stage,
    StagesSettings,
    Stream,
    TableSettings,
    TypeSettings,
)
from proxy.settings.stores import DSQL, MASK, DynamoDB, without_password

__all__ = [
    "DSQL",
    "MASK",
    "PREFIX",
    "SHORTEST_TOKEN",
    "AccessKey",
    "Address",
    "Admin",
    "AdminTokens",
    "Auth",
    "BreakerSettings",
    "CompareSettings",
    "DynamoDB",
    "ExpirySettings",
    "Items",
    "JournalSettings",
    "Log",
    "Mirror",
    "Settings",
    "Shutdown",
    "Stage",
    "StagesSettings",
    "Stream",
    "TableSettings",
    "TypeSettings",
    "load",
    "load_admin_tokens",
    "without_password",
]
