"""What the role in DSQL may do: what proxies and the stream handler need, and whether it may do more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import asyncpg

from proxy.cli.doctor.findings import Finding, Status
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.system_tables.own_statements import own_definitions

NEEDED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_CREATED: Final = re.compile(r'IF NOT EXISTS "[^"]+"\."([^"]+)"')
_HAS: Final = "SELECT has_table_privilege($1::text, $2::text)"


async def examine_rights(
    connection: asyncpg.Connection, schema: str, tables: Sequence[str], *, follow_tables: bool
) -> list[Finding]:
    """Of each SQL table that Crossfade uses, and of the schema."""
    findings = []
    for name in tables:
        found = await _table_rights(connection, f"dsql: rights on {name}", qualified(schema, name))
        if found is None:
            check, remedy = f"dsql: rights on {name}", "run crossfade migrate with its migration"
            found = Finding(check, Status.REFUSED, "there is no such table", "it is not served", remedy, False)
        findings.append(found)
    may_create = await connection.fetchval("SELECT has_schema_privilege($1::text, 'CREATE')", schema)
    check = "dsql: rights on the schema"
    if may_create and not follow_tables:
        remedy = "give proxies the role of deploy/sql/runtime-role.sql, and this one to the migrator"
        meaning = "the role may make tables, which no proxy needs"
        findings.append(Finding(check, Status.DIFFERS, "CREATE", meaning, remedy))
    elif follow_tables and not may_create:
        meaning, remedy = "follow_tables makes tables, and this role may not", "use a role that may, or migrations"
        findings.append(Finding(check, Status.REFUSED, "no CREATE", meaning, remedy, False))
    else:
        findings.append(Finding(check, Status.OK, "CREATE" if may_create else "no more than is needed"))
    return findings


async def examine_own_tables(connection: asyncpg.Connection, pool: Pool, schema: str) -> list[Finding]:
    """Of each table of Crossfade's own. `pool` is not asked."""
    findings = []
    for definition in own_definitions(pool, schema):
        named = _CREATED.search(definition)
        assert named is not None
        check = f"dsql: rights on {named[1]}"
        found = await _table_rights(connection, check, qualified(schema, named[1]))
        if found is None:
            meaning = "the first process that needs it creates it, if its role may"
            remedy = "run crossfade migrate --folder deploy/migrations, then deploy/sql/runtime-role.sql"
            found = Finding(check, Status.DIFFERS, "not there yet", meaning, remedy)
        findings.append(found)
    return findings


async def _table_rights(connection: asyncpg.Connection, check: str, table: str) -> Finding | None:
    """None where there is no such table."""
    if not await connection.fetchval("SELECT to_regclass($1::text) IS NOT NULL", table):
        return None
    lacking = ", ".join([right for right in NEEDED if not await connection.fetchval(_HAS, table, right)])
    if not lacking:
        return Finding(check, Status.OK, ", ".join(NEEDED))
    meaning = "reads, writes or convergence of it are refused (42501)"
    remedy = "run deploy/sql/runtime-role.sql again: it grants on the tables that are there"
    return Finding(check, Status.REFUSED, f"lacks {lacking}", meaning, remedy, False)
