"""Where DSQL spells SQL otherwise than PostgreSQL, and how the gate spells it for the PostgreSQL behind it.

It edits texts at the places that the parser names, and leaves the rest as the client wrote it.
"""

from typing import Any, Final

from pglast import ast
from pglast.parser import ParseError, scan
from pglast.stream import RawStream

from tests.standins.dsql.sql import sqltypes
from tests.standins.dsql.sql.trees import Relation, below, names, relation

# What DSQL answers otherwise than PostgreSQL: `bootstrap.sql` has the standin's own.
_FUNCTIONS: Final = frozenset({"version", "current_setting", "pg_get_indexdef", "pg_get_constraintdef"})
_VIEWS: Final = frozenset({"pg_indexes", "pg_available_extensions"})
_OWN_SETTING: Final = "disable_sync_create_index"
_BARE_NUMERIC: Final = "(18,6)"


def is_aws_iam(sql: str) -> bool:
    """AWS IAM GRANT role TO 'arn' and AWS IAM REVOKE role FROM 'arn'."""
    return sql.split(maxsplit=2)[:2] in (["AWS", "IAM"], ["aws", "iam"])


def without_async(sql: str) -> tuple[str, bool]:
    """The statement with blanks for the ASYNC of CREATE INDEX or ALTER TABLE, and whether it had one."""
    if "async" not in sql.lower():
        return sql, False
    try:
        tokens = [(token.name, token.start, token.end) for token in scan(sql) if "COMMENT" not in token.name]
    except ParseError:
        return sql, False
    kinds = [name for name, _, _ in tokens]
    place = 3 if kinds[:3] == ["CREATE", "UNIQUE", "INDEX"] else 2
    if kinds[:place] not in (["CREATE", "UNIQUE", "INDEX"], ["CREATE", "INDEX"], ["ALTER", "TABLE"]):
        return sql, False
    if len(tokens) <= place:
        return sql, False
    _, start, end = tokens[place]
    if sql[start : end + 1].lower() != "async":
        return sql, False
    return sql[:start] + " " * (end + 1 - start) + sql[end + 1 :], True


def says_using(sql: str) -> bool:
    """Whether a CREATE INDEX names an access method."""
    kinds = [token.name for token in scan(sql)]
    return "USING" in kinds[: kinds.index("ASCII_40")] if "ASCII_40" in kinds else False


def for_postgresql(sql: str, tree: Any, *, relocated: bool) -> str:
    """The statement as the PostgreSQL behind the gate gets it. `relocated`: `sql` was printed from the tree anew, so
    that the tree's places are not its places."""
    if relocated:
        return sql
    inserts: list[tuple[int, int, str]] = []
    for call in below(tree, ast.FuncCall):
        parts = names(call.funcname)
        if parts[-1] in _FUNCTIONS and parts[:-1] in ([], ["pg_catalog"]):
            inserts.append((call.location, call.location + len("pg_catalog.") * (len(parts) - 1), "standin."))
    for table in below(tree, ast.RangeVar):
        if table.relname in _VIEWS and table.schemaname in (None, "pg_catalog"):
            qualifier = len("pg_catalog.") if table.schemaname else 0
            inserts.append((table.location, table.location + qualifier, "standin."))
    if isinstance(tree, ast.CreateStmt | ast.AlterTableStmt):
        inserts += _numerics(sql, tree)
    if isinstance(tree, ast.VariableSetStmt) and tree.name == _OWN_SETTING:
        at = sql.lower().index(_OWN_SETTING)
        inserts.append((at, at, "standin."))
    for start, end, new in sorted(inserts, reverse=True):
        sql = sql[:start] + new + sql[end:]
    return sql


def _numerics(sql: str, tree: Any) -> list[tuple[int, int, str]]:
    bare = {c.typeName.location for c in below(tree, ast.ColumnDef) if sqltypes.is_bare_numeric(c.typeName)}
    if not bare:
        return []
    ends = {token.start: token.end + 1 for token in scan(sql)}
    return [(ends[at], ends[at], _BARE_NUMERIC) for at in bare if at in ends]


def redirected(tree: Any, to: dict[Relation, str]) -> str:
    """The statement with other tables in the place of some. The tree is changed: give one that nobody else has."""
    named = {each.ctename for each in below(tree, ast.CommonTableExpr)}
    for table in below(tree, ast.RangeVar):
        if table.schemaname is None and table.relname in named:
            continue
        new = to.get(relation(table))
        if new is not None:
            table.alias = table.alias or ast.Alias(aliasname=table.relname)
            table.schemaname, table.relname = "pg_temp", new
    return str(RawStream()(tree))
