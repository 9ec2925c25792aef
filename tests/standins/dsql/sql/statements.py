"""What the gate must know of a statement before it is carried out, found once for each text. Asks no database."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final

from pglast import ast, enums
from pglast.parser import ParseError, parse_sql, scan

from tests.standins.dsql import settings
from tests.standins.dsql.sql import refusals, spelling
from tests.standins.dsql.sql.locks import RowLock, row_locks, without_waiting
from tests.standins.dsql.sql.trees import Refusal, Relation, below, names, relation, text, unsupported

_REMEMBERED: Final = 20_000
# A view's limit was seen between 131 and 524 KiB of text, by its shape.
_MAX_VIEW: Final = 131 * 1024


class Kind(Enum):
    """How the gate carries a statement out."""

    READ = auto()
    WRITE = auto()
    LOCK = auto()
    DDL = auto()
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SHOWN = auto()
    """Answered by the gate: `shown` is the column and the value."""
    AWS_IAM = auto()
    UTILITY = auto()
    EMPTY = auto()
    UNPARSED = auto()
    """No statement of PostgreSQL's: it shall say so itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an ASYNC statement leaves to a job; the name of an index may be left to the server."""

    index: bool
    table: Relation
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: `text` is what the client wrote, `sql` what PostgreSQL gets in its place."""

    text: str
    kind: Kind
    sql: str = ""
    tree: Any = None
    refusal: Refusal | None = None
    tag: str = ""
    """What BEGIN, COMMIT and ROLLBACK answer."""
    options: str = ""
    """BEGIN's, beyond the isolation level."""
    shown: tuple[str, str] = ("", "")
    tables: frozenset[Relation] = frozenset()
    targets: tuple[Relation, ...] = ()
    """The tables that it writes."""
    removes_keys: bool = False
    """It deletes rows or may change their keys."""
    most_rows: int | None = None
    """How many rows it can write, where its text shows that; the rows of `by_key` are in it."""
    by_key: tuple[tuple[Relation, frozenset[str]], ...] = ()
    """UPDATE and DELETE with equality on these columns: one row each if they are the whole key."""
    locks: tuple[RowLock, ...] = ()
    creates: frozenset[str] = frozenset()
    job: Job | None = None
    waits_for: str | int | None = None
    """The job of CALL sys.wait_for_job: its id, or the number of its parameter."""


@lru_cache(_REMEMBERED)
def split(sql: str) -> tuple[str, ...]:
    """The statements of a simple query; the whole, where PostgreSQL must say what is wrong with it."""
    try:
        tokens = scan(sql)
    except ParseError:
        return (sql,)
    found, start = [], 0
    for token in tokens:
        if token.name == "ASCII_59":
            found.append(sql[start : token.start])
            start = token.end + 1
    found.append(sql[start:])
    wanted = tuple(each for each in found if each.strip())
    if len(wanted) > 1 and any(analyze(each).kind is Kind.UNPARSED for each in wanted):
        return (sql,)
    return wanted


@lru_cache(_REMEMBERED)
def analyze(sql: str) -> Statement:
    """Everything about one statement."""
    if spelling.is_aws_iam(sql):
        return Statement(text=sql, kind=Kind.AWS_IAM)
    plain, is_async = spelling.without_async(sql)
    try:
        parsed = parse_sql(plain)
    except ParseError:
        return Statement(text=sql, kind=Kind.UNPARSED, sql=plain)
    if not parsed:
        return Statement(text=sql, kind=Kind.EMPTY, sql=sql)
    if len(parsed) > 1:
        return Statement(text=sql, kind=Kind.UNPARSED, sql=sql)
    tree = parsed[0].stmt
    refusal = _refused(tree, plain, is_async) or _too_large(tree, plain)
    if refusal:
        return Statement(text=sql, kind=Kind.UTILITY, refusal=refusal)
    return _accepted(sql, plain, tree, is_async)


def _refused(tree: Any, plain: str, is_async: bool) -> Refusal | None:
    if isinstance(tree, ast.AlterTableStmt) and is_async:
        kinds = {each.subtype for each in tree.cmds}
        return None if kinds == {enums.AlterTableType.AT_ValidateConstraint} else unsupported("unsupported mode ASYNC")
    if isinstance(tree, ast.IndexStmt):
        found = refusals.refusal(tree)
        if found and "CONCURRENTLY" in found.message:
            return found
        if spelling.says_using(plain):
            return unsupported("USING not supported for CREATE INDEX")
        return found or (None if is_async else unsupported("unsupported mode. please use CREATE INDEX ASYNC."))
    return refusals.refusal(tree)


def _too_large(tree: Any, plain: str) -> Refusal | None:
    large = isinstance(tree, ast.ViewStmt) and len(plain) > _MAX_VIEW
    return Refusal("54000", "view definition too large") if large else None


def _accepted(sql: str, plain: str, tree: Any, is_async: bool) -> Statement:
    if isinstance(tree, ast.TransactionStmt):
        return _transaction(sql, tree)
    if isinstance(tree, ast.VariableShowStmt) and tree.name.lower() in _SHOWN:
        return Statement(text=sql, kind=Kind.SHOWN, shown=(tree.name.lower(), _SHOWN[tree.name.lower()]))
    held = tuple(row_locks(tree, plain))
    kind = _kind(tree, held)
    tables = frozenset(_tables(tree))
    writes = list(_writes(tree))
    by_key, most = _bounds(writes)
    return Statement(
        text=sql,
        kind=kind,
        sql=spelling.for_postgresql(without_waiting(plain, tree), tree, relocated=bool(held)),
        tree=tree,
        tables=tables,
        targets=tuple(dict.fromkeys(relation(each.relation) for each in writes)),
        removes_keys=any(not isinstance(each, ast.InsertStmt) for each in writes),
        most_rows=most,
        by_key=by_key,
        locks=held,
        creates=frozenset(_created(tree)),
        job=_job(tree) if is_async else None,
        waits_for=_waits_for(tree),
    )


_SHOWN: Final = {
    "server_version": settings.SERVER_VERSION,
    "server_version_num": settings.SERVER_VERSION_NUMBER,
    "max_connections": settings.MAX_CONNECTIONS,
}
_OPERATOR: Final = enums.A_Expr_Kind.AEXPR_OP
_UTILITY: Final = (
    ast.ExplainStmt,
    ast.CallStmt,
    ast.VariableShowStmt,
    ast.VariableSetStmt,
    ast.ConstraintsSetStmt,
    ast.VacuumStmt,
    ast.DeallocateStmt,
)


def _kind(tree: Any, held: tuple[RowLock, ...]) -> Kind:
    if any(True for _ in _writes(tree)):
        return Kind.WRITE
    if isinstance(tree, ast.SelectStmt):
        return Kind.LOCK if held else Kind.READ
    return Kind.UTILITY if isinstance(tree, _UTILITY) else Kind.DDL


def _transaction(sql: str, tree: Any) -> Statement:
    kinds = enums.TransactionStmtKind
    if tree.kind in (kinds.TRANS_STMT_BEGIN, kinds.TRANS_STMT_START):
        said = {each.defname: text(each.arg) for each in tree.options or ()}
        options = " READ ONLY" if said.get("transaction_read_only") == "1" else ""
        tag = "BEGIN" if tree.kind == kinds.TRANS_STMT_BEGIN else "START TRANSACTION"
        return Statement(text=sql, kind=Kind.BEGIN, tag=tag, options=options)
    commits = tree.kind == kinds.TRANS_STMT_COMMIT
    return Statement(text=sql, kind=Kind.COMMIT if commits else Kind.ROLLBACK, tag="COMMIT" if commits else "ROLLBACK")


def _writes(tree: Any) -> Iterator[Any]:
    for kind in (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt):
        yield from below(tree, kind)


def _tables(tree: Any) -> Iterator[Relation]:
    named = {each.ctename for each in below(tree, ast.CommonTableExpr)}
    for each in below(tree, ast.RangeVar):
        if each.schemaname is not None or each.relname not in named:
            yield relation(each)


def _bounds(writes: list[Any]) -> tuple[tuple[tuple[Relation, frozenset[str]], ...], int | None]:
    by_key, most = [], 0
    for each in writes:
        if not isinstance(each, ast.InsertStmt):
            by_key.append((relation(each.relation), frozenset(_equal_columns(each.whereClause))))
            most += 1
        elif each.selectStmt is not None and each.selectStmt.valuesLists:
            most += len(each.selectStmt.valuesLists)
        else:
            return (), None
    return tuple(by_key), most


def _equal_columns(condition: Any) -> Iterator[str]:
    """Columns that must equal a value, by the conditions that AND joins."""
    if isinstance(condition, ast.BoolExpr) and condition.boolop == enums.BoolExprType.AND_EXPR:
        for each in condition.args:
            yield from _equal_columns(each)
    elif isinstance(condition, ast.A_Expr) and condition.kind == _OPERATOR and names(condition.name) == ["="]:
        left, right = condition.lexpr, condition.rexpr
        value = right.arg if isinstance(right, ast.TypeCast) else right
        while isinstance(value, ast.TypeCast):
            value = value.arg
        if isinstance(left, ast.ColumnRef) and isinstance(value, ast.ParamRef | ast.A_Const):
            yield names(left.fields)[-1]


def _created(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.CreateStmt):
        yield tree.relation.relname
    elif isinstance(tree, ast.ViewStmt):
        yield tree.view.relname


def _job(tree: Any) -> Job:
    if isinstance(tree, ast.IndexStmt):
        return Job(True, relation(tree.relation), tree.idxname)
    return Job(False, relation(tree.relation), tree.cmds[0].name)


def _waits_for(tree: Any) -> str | int | None:
    if not isinstance(tree, ast.CallStmt) or names(tree.funccall.funcname) != ["sys", "wait_for_job"]:
        return None
    argument = tree.funccall.args[0] if tree.funccall.args else None
    while isinstance(argument, ast.TypeCast):
        argument = argument.arg
    return int(argument.number) if isinstance(argument, ast.ParamRef) else text(argument)
