"""What DSQL refuses in a statement, whatever tables there are: the texts that clusters were heard to answer.

tests/data/dsql-recorded has the recordings. Tables and indexes are `table_rules`'s. Asks no database.
"""

from collections.abc import Callable
from typing import Any, Final

from pglast import ast, enums

from tests.standins.dsql.sql import sqltypes, table_rules
from tests.standins.dsql.sql.trees import Refusal, below, names, options, text, unsupported

SETTABLE: Final = frozenset(
    {
        "application_name",
        "client_encoding",
        "datestyle",
        "extra_float_digits",
        "intervalstyle",
        "timezone",
        "search_path",
        "disable_sync_create_index",
    }
)
# Statements that are carried out; every other kind is refused by its PostgreSQL name.
_CARRIED_OUT: Final = (
    ast.SelectStmt,
    ast.InsertStmt,
    ast.UpdateStmt,
    ast.DeleteStmt,
    ast.ExplainStmt,
    ast.CallStmt,
    ast.VariableShowStmt,
    ast.ConstraintsSetStmt,
    ast.TransactionStmt,
    ast.CreateSchemaStmt,
    ast.CreateDomainStmt,
    ast.ViewStmt,
    ast.CreateRoleStmt,
    ast.DropRoleStmt,
    ast.GrantRoleStmt,
    ast.CommentStmt,
    ast.AlterOwnerStmt,
    ast.AlterObjectSchemaStmt,
    ast.CreateStatsStmt,
)
_ISOLATION: Final = "transaction_isolation"
_LOCKS: Final = (enums.LockClauseStrength.LCS_FORUPDATE, enums.LockClauseStrength.LCS_FORKEYSHARE)
_WRONG_LOCK: Final = "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"
_MAX_STATISTICS_TARGET: Final = 100
_MAX_CACHE_UNSAID: Final = 65536


def refusal(tree: Any) -> Refusal | None:
    """Why DSQL does not carry the statement out; None if it does."""
    by_kind = _BY_KIND.get(type(tree))
    if by_kind is not None:
        found = by_kind(tree)
    elif isinstance(tree, _CARRIED_OUT):
        found = None
    else:
        kind = type(tree).__name__
        found = unsupported(f"unsupported statement: {kind.removesuffix('Stmt')}")
    return found or _inside(tree)


def setting_refusal(name: str) -> Refusal | None:
    """Why a setting cannot be set."""
    lower = name.lower()
    if lower in SETTABLE or lower.startswith("enable_"):
        return None
    return unsupported(f'setting configuration parameter "{name}" not supported')


def isolation_refusal(defs: Any) -> Refusal | None:
    """Why a transaction cannot have the isolation that is asked for."""
    wanted = text(options(defs).get(_ISOLATION))
    if wanted is None or wanted == "repeatable read":
        return None
    return unsupported(f"Unsupported isolation level: {wanted.upper()}")


def _inside(tree: Any) -> Refusal | None:
    for node in below(tree, ast.Node):
        check = _INSIDE.get(type(node))
        found = check(node) if check else None
        if found:
            return found
    return None


def _select(node: Any) -> Refusal | None:
    if node.intoClause is not None:
        return unsupported("unsupported statement: CreateTableAs")
    if node.fromClause and any(clause.strength not in _LOCKS for clause in node.lockingClause or ()):
        return unsupported(_WRONG_LOCK)
    return None


def _function(node: Any) -> Refusal | None:
    name = names(node.funcname)[-1]
    if name in sqltypes.GEOMETRY:
        return unsupported(f"datatype {name} not supported")
    if name.startswith(("pg_advisory_", "pg_try_advisory_")):
        return unsupported(f"function {name} not supported")
    if name == "set_config" and node.args:
        return unsupported(f'setting configuration parameter "{text(node.args[0])}" not supported')
    return None


def _cast(node: Any) -> Refusal | None:
    name = sqltypes.name_of(node.typeName)
    return unsupported(f"datatype {name} not supported") if name in sqltypes.GEOMETRY else None


def _lateral(node: Any) -> Refusal | None:
    """LEFT JOIN LATERAL with a column of the outer table in its target list: a fault of the service, as recorded."""
    inner = node.rarg
    if node.jointype != enums.JoinType.JOIN_LEFT or not getattr(inner, "lateral", False):
        return None
    tables = list(below(inner.subquery.fromClause, ast.RangeVar))
    here = {each.alias.aliasname if each.alias else each.relname for each in tables}
    outer = {each.alias.aliasname if each.alias else each.relname for each in below(node.larg, ast.RangeVar)} - here
    for column in below(inner.subquery.targetList, ast.ColumnRef):
        if tables and len(column.fields) > 1 and names(column.fields)[0] in outer:
            return Refusal("42804", f"attribute 1 of type {tables[0].relname} has wrong type")
    return None


_INSIDE: Final[dict[type, Callable[[Any], Refusal | None]]] = {
    ast.SelectStmt: _select,
    ast.FuncCall: _function,
    ast.TypeCast: _cast,
    ast.JoinExpr: _lateral,
    ast.RangeTableSample: lambda _: unsupported("TABLESAMPLE clause not supported"),
}


def _set(tree: Any) -> Refusal | None:
    if tree.kind == enums.VariableSetKind.VAR_RESET_ALL:
        return None
    return isolation_refusal(tree.args) if _isolated(tree) else setting_refusal(tree.name)


def _isolated(tree: Any) -> bool:
    """SET TRANSACTION and SET SESSION CHARACTERISTICS with a level that is no level of DSQL's."""
    return tree.kind == enums.VariableSetKind.VAR_SET_MULTI and isolation_refusal(tree.args) is not None


def _transaction(tree: Any) -> Refusal | None:
    kinds = enums.TransactionStmtKind
    if tree.kind in (kinds.TRANS_STMT_BEGIN, kinds.TRANS_STMT_START):
        return isolation_refusal(tree.options)
    said = {
        kinds.TRANS_STMT_SAVEPOINT: "SAVEPOINT",
        kinds.TRANS_STMT_RELEASE: "RELEASE",
        kinds.TRANS_STMT_ROLLBACK_TO: "ROLLBACK TO",
        kinds.TRANS_STMT_PREPARE: "PREPARE TRANSACTION",
        kinds.TRANS_STMT_COMMIT_PREPARED: "COMMIT PREPARED",
        kinds.TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
    }.get(tree.kind)
    return unsupported(f"unsupported transaction statement: {said}") if said else None


def _function_ddl(tree: Any) -> Refusal | None:
    if tree.is_procedure:
        return unsupported("PROCEDURE is not supported")
    language = text(options(tree.options).get("language")) or "sql"
    return None if language == "sql" else unsupported(f"CREATE FUNCTION with language {language} not supported")


def _sequence(tree: Any) -> Refusal | None:
    given = options(tree.options)
    fault = table_rules.cache_fault(given, "CREATE SEQUENCE")
    if fault is None and "as" in given and sqltypes.name_of(given["as"]) != "bigint":
        return unsupported(f"datatype {sqltypes.name_of(given['as'])} not supported, sequence type must be bigint")
    return fault


def _view(tree: Any) -> Refusal | None:
    if tree.view.relpersistence != "p":
        return unsupported("TEMPORARY or TEMP not supported for CREATE VIEW")
    return None


def _drop(tree: Any) -> Refusal | None:
    kinds = enums.ObjectType
    if tree.removeType == kinds.OBJECT_DOMAIN and tree.behavior == enums.DropBehavior.DROP_CASCADE:
        return unsupported("DROP DOMAIN with CASCADE unsupported")
    carried_out = {
        kinds.OBJECT_TABLE,
        kinds.OBJECT_INDEX,
        kinds.OBJECT_VIEW,
        kinds.OBJECT_SCHEMA,
        kinds.OBJECT_SEQUENCE,
        kinds.OBJECT_FUNCTION,
        kinds.OBJECT_DOMAIN,
        kinds.OBJECT_STATISTIC_EXT,
    }
    harmless = tree.removeType == kinds.OBJECT_TRIGGER and tree.missing_ok
    return None if tree.removeType in carried_out or harmless else unsupported("unsupported object in DROP statement")


def _rename(tree: Any) -> Refusal | None:
    kinds = enums.ObjectType
    if tree.renameType in (kinds.OBJECT_TYPE, kinds.OBJECT_ATTRIBUTE, kinds.OBJECT_TRIGGER, kinds.OBJECT_MATVIEW):
        return unsupported("unsupported object in RENAME statement")
    return None


def _grant(tree: Any) -> Refusal | None:
    kinds = enums
    schemas = tree.objtype == kinds.ObjectType.OBJECT_SCHEMA
    whole = tree.targtype == kinds.GrantTargetType.ACL_TARGET_ALL_IN_SCHEMA
    if (schemas or whole) and {"public", "sys", "pg_catalog"} & set(names(tree.objects)):
        return unsupported("feature not supported on system entity")
    return None


def _default_rights(tree: Any) -> Refusal | None:
    schemas = options(tree.options).get("schemas") or ()
    return unsupported("feature not supported on system entity") if "public" in names(schemas) else None


def _domain(tree: Any) -> Refusal | None:
    said = {"O": "SET NOT NULL", "C": "ADD CONSTRAINT", "V": "VALIDATE CONSTRAINT"}.get(tree.subtype)
    return unsupported(f"unsupported ALTER DOMAIN {said} statement") if said else None


def _role(tree: Any) -> Refusal | None:
    return unsupported("unsupported option PASSWORD of a role") if "password" in options(tree.options) else None


def _statistics(tree: Any) -> Refusal | None:
    target = int(text(tree.stxstattarget) or 0)
    if target > _MAX_STATISTICS_TARGET:
        return Refusal("22023", f"statistics target {target} exceeds maximum allowed value of {_MAX_STATISTICS_TARGET}")
    return None


def _vacuum(tree: Any) -> Refusal | None:
    return unsupported("unsupported VACUUM statement") if tree.is_vacuumcmd else None


def _deallocate(tree: Any) -> Refusal | None:
    return None if tree.name is None else unsupported("unsupported statement: Deallocate")


_BY_KIND: Final[dict[type, Callable[[Any], Refusal | None]]] = {
    ast.VariableSetStmt: _set,
    ast.TransactionStmt: _transaction,
    ast.CreateTrigStmt: lambda _: unsupported("CREATE TRIGGER not supported"),
    ast.CreateEnumStmt: lambda _: unsupported("CREATE TYPE not supported"),
    ast.AlterEnumStmt: lambda _: unsupported("ALTER TYPE not supported"),
    ast.MergeStmt: lambda _: unsupported("unsupported statement type: MERGE"),
    ast.CreateFunctionStmt: _function_ddl,
    ast.CreateSeqStmt: _sequence,
    ast.AlterSeqStmt: lambda tree: table_rules.cache_fault(options(tree.options), None),
    ast.ViewStmt: _view,
    ast.DropStmt: _drop,
    ast.RenameStmt: _rename,
    ast.GrantStmt: _grant,
    ast.AlterDefaultPrivilegesStmt: _default_rights,
    ast.AlterDomainStmt: _domain,
    ast.CreateRoleStmt: _role,
    ast.AlterRoleStmt: _role,
    ast.AlterStatsStmt: _statistics,
    ast.VacuumStmt: _vacuum,
    ast.DeallocateStmt: _deallocate,
    ast.CreateStmt: table_rules.create_table,
    ast.AlterTableStmt: table_rules.alter_table,
    ast.IndexStmt: table_rules.create_index,
}
