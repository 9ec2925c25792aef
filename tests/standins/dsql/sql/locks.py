"""SELECT … FOR UPDATE and FOR KEY SHARE: which rows they mark, and the statements that find those rows.

In DSQL a locking clause makes nobody wait: its rows take part in the conflicts that COMMIT decides. So the gate takes
the clause out (FOR UPDATE) and marks the rows by itself; the rows are those of the same FROM and WHERE.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pglast import ast, enums
from pglast.parser import parse_sql
from pglast.stream import RawStream

from tests.standins.dsql.sql.trees import Relation, relation

_BLOCK = enums.LockWaitPolicy.LockWaitBlock
_UPDATE = enums.LockClauseStrength.LCS_FORUPDATE


@dataclass(frozen=True, slots=True)
class RowLock:
    """One table of a locking clause: `rows` with its {target} filled in selects of its rows, named by `reference`."""

    table: Relation
    reference: str
    for_update: bool
    rows: str


def row_locks(tree: Any, sql: str) -> Iterator[RowLock]:
    """What the locking clauses of a SELECT lock. Clauses inside of it stay PostgreSQL's business."""
    if not isinstance(tree, ast.SelectStmt):
        return
    for clause in tree.lockingClause or ():
        wanted = {each.relname for each in clause.lockedRels or ()}
        for table in _from(tree.fromClause):
            reference = table.alias.aliasname if table.alias else table.relname
            if not wanted or reference in wanted:
                rows = _rows(sql, reference)
                yield RowLock(relation(table), reference, clause.strength == _UPDATE, rows)


def without_waiting(sql: str, tree: Any) -> str:
    """The statement without FOR UPDATE, NOWAIT and SKIP LOCKED at its top."""
    if not isinstance(tree, ast.SelectStmt) or not tree.lockingClause:
        return sql
    copy = parse_sql(sql)[0].stmt
    kept = tuple(clause for clause in copy.lockingClause if clause.strength != _UPDATE)
    for clause in kept:
        clause.waitPolicy = _BLOCK
    copy.lockingClause = kept or None
    return str(RawStream()(copy))


def _from(clause: Any) -> Iterator[Any]:
    """The tables of a FROM clause, without those of subqueries."""
    for each in clause or ():
        if isinstance(each, ast.RangeVar):
            yield each
        elif isinstance(each, ast.JoinExpr):
            yield from _from((each.larg, each.rarg))


def _rows(sql: str, reference: str) -> str:
    copy = parse_sql(sql)[0].stmt
    copy.lockingClause = None
    wanted = ast.ColumnRef(fields=(ast.String(sval=reference), ast.String(sval="cf_target")))
    copy.targetList = (ast.ResTarget(val=wanted),)
    # By name or place of what it selects: no order is needed to find rows, unless LIMIT depends on it.
    if copy.limitCount is None and copy.limitOffset is None:
        copy.sortClause = None
    return str(RawStream()(copy))
