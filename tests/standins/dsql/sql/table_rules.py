"""What DSQL refuses of CREATE TABLE, ALTER TABLE and CREATE INDEX, as far as the statement alone shows it.

`catalog` refuses what depends on what is there. ASYNC and USING are no part of the tree: `statements` looks for them.
"""

from typing import Any, Final

from pglast import ast, enums

from tests.standins.dsql.sql import sqltypes
from tests.standins.dsql.sql.trees import Refusal, options, text, unsupported

_KINDS: Final = enums.ConstrType
_ALTER: Final = enums.AlterTableType
MAX_KEY_COLUMNS: Final = 8
_MAX_COLUMNS: Final = 256
_MAX_CHAR: Final = 4096
_MAX_VARCHAR: Final = 65535
MAX_DECLARED_KEY: Final = 2000
_BIG_CACHE: Final = 65536
_NO_ADD: Final = unsupported("unsupported ALTER TABLE ADD CONSTRAINT statement")
_WITH_CONSTRAINT: Final = unsupported("ALTER TABLE ADD COLUMN with constraint not supported")
_DEFERRABLE: Final = unsupported("DEFERRABLE constraint not supported")
_CHECK_DEFERRABLE: Final = unsupported("CHECK constraints cannot be marked DEFERRABLE")
_COLLATE: Final = unsupported("COLLATE clause not supported")
_DEFERS: Final = {_KINDS.CONSTR_ATTR_DEFERRABLE, _KINDS.CONSTR_ATTR_DEFERRED}
_CARRIED_OUT: Final = {
    _ALTER.AT_AddColumn,
    _ALTER.AT_AddConstraint,
    _ALTER.AT_DropColumn,
    _ALTER.AT_DropConstraint,
    _ALTER.AT_ColumnDefault,
    _ALTER.AT_DropNotNull,
    _ALTER.AT_SetStorage,
    _ALTER.AT_AddIdentity,
    _ALTER.AT_SetIdentity,
    _ALTER.AT_DropIdentity,
    _ALTER.AT_ChangeOwner,
    _ALTER.AT_EnableTrigAll,
    _ALTER.AT_EnableTrigUser,
    _ALTER.AT_DisableTrigAll,
    _ALTER.AT_DisableTrigUser,
}
_SAID: Final = {
    _ALTER.AT_AlterColumnType: "ALTER COLUMN ... SET DATA TYPE",
    _ALTER.AT_SetNotNull: "ALTER COLUMN ... SET NOT NULL",
    _ALTER.AT_SetStatistics: "ALTER COLUMN ... SET STATISTICS",
    _ALTER.AT_SetCompression: "ALTER COLUMN ... SET COMPRESSION",
    _ALTER.AT_ValidateConstraint: "VALIDATE CONSTRAINT",
    _ALTER.AT_EnableRowSecurity: "ENABLE ROW SECURITY",
    _ALTER.AT_ReplicaIdentity: "REPLICA IDENTITY",
}


def cache_fault(given: dict[str, Any], said: str | None) -> Refusal | None:
    """Sequences take CACHE 1 or at least 65536; `said` is what must give it, None where it may be left out."""
    cache = text(given.get("cache"))
    if cache is None and said is None:
        return None
    if cache is not None and (int(cache) == 1 or int(cache) >= _BIG_CACHE):
        return None
    what = "CREATE SEQUENCE is" if said == "CREATE SEQUENCE" else "identity column is"
    return unsupported(
        f"{what} not supported without an explicit cache size. "
        f"please define CACHE greater than or equal to {_BIG_CACHE} or equal to 1"
    )


def create_table(tree: Any) -> Refusal | None:
    """Why this table cannot be made."""
    columns = [each for each in tree.tableElts or () if isinstance(each, ast.ColumnDef)]
    return (
        _table_form(tree)
        or next((found for column in columns if (found := _column(column))), None)
        or next((found for each in _constraints(tree) if (found := _constraint(each))), None)
        or _too_wide(tree, columns)
        or _keys(tree, columns)
    )


def alter_table(tree: Any) -> Refusal | None:
    """Why this change of a table cannot be made."""
    return next((found for each in tree.cmds if (found := _command(each))), None)


def create_index(tree: Any) -> Refusal | None:
    """Why this index cannot be made, whether ASYNC or not."""
    if tree.concurrent:
        return unsupported("CONCURRENTLY not supported for CREATE INDEX")
    for element in tree.indexParams:
        if element.ordering != enums.SortByDir.SORTBY_DEFAULT:
            return unsupported("specifying sort order not supported for index keys")
        if element.opclass:
            return unsupported("opclass not supported for index keys")
    if any(element.expr is not None for element in tree.indexIncludingParams or ()):
        return unsupported("expressions are not supported in included columns")
    return _too_many(len(tree.indexParams))


def _too_many(columns: int) -> Refusal | None:
    if columns > MAX_KEY_COLUMNS:
        return Refusal("54011", f"more than {MAX_KEY_COLUMNS} column keys in an index are not supported")
    return None


def _table_form(tree: Any) -> Refusal | None:
    form = {
        "TEMPORARY or TEMP table": tree.relation.relpersistence == "t",
        "UNLOGGED table": tree.relation.relpersistence == "u",
        "PARTITION BY clause": tree.partspec is not None,
        "PARTITION OF clause": tree.partbound is not None,
        "INHERITS clause": bool(tree.inhRelations) and tree.partbound is None,
        "TABLESPACE clause": tree.tablespacename is not None,
        "ON COMMIT clause": tree.oncommit != enums.OnCommitAction.ONCOMMIT_NOOP,
        "WITH clause": bool(tree.options),
    }
    found = next((name for name, there in form.items() if there), None)
    return unsupported(f"{found} not supported for CREATE TABLE") if found else None


def _column(column: Any) -> Refusal | None:
    return _type(column.typeName) or _collation(column) or _identity(column)


def _type(type_name: Any) -> Refusal | None:
    plain = sqltypes.plain_name(type_name)
    if plain in sqltypes.SERIALS:
        return Refusal("42704", f'type "{plain}" does not exist')
    if sqltypes.is_no_column_type(type_name):
        return unsupported(f"datatype {sqltypes.name_of(type_name)} not supported")
    length = sqltypes.declared_length(type_name)
    most = _MAX_CHAR if plain == "bpchar" else _MAX_VARCHAR
    if length is not None and length > most:
        what = "char" if plain == "bpchar" else "varchar"
        return Refusal("54000", f"Datatype limit greater than {most} bytes not supported for {what}")
    return None


def _collation(column: Any) -> Refusal | None:
    clause = column.collClause
    return _COLLATE if clause is not None and text(clause.collname) != "C" else None


def _identity(column: Any) -> Refusal | None:
    for each in column.constraints or ():
        if each.contype == _KINDS.CONSTR_IDENTITY:
            type_name = sqltypes.name_of(column.typeName)
            fault = cache_fault(options(each.options), "identity")
            if fault is None and type_name != "bigint":
                return unsupported(f"datatype {type_name} not supported, identity column type must be bigint")
            return fault
    return None


def _constraints(tree: Any) -> list[Any]:
    """All constraints of a CREATE TABLE; one on a column is followed by its attributes (DEFERRABLE)."""
    found = []
    for each in tree.tableElts or ():
        found += list(each.constraints or ()) if isinstance(each, ast.ColumnDef) else [each]
    before = None
    for each in found:
        if getattr(each, "contype", None) in _DEFERS and before is not None:
            before.deferrable = True
        else:
            before = each
    return [each for each in found if isinstance(each, ast.Constraint)]


def _constraint(constraint: Any) -> Refusal | None:
    if constraint.deferrable and constraint.contype in (_KINDS.CONSTR_PRIMARY, _KINDS.CONSTR_UNIQUE):
        return _DEFERRABLE
    if constraint.deferrable and constraint.contype == _KINDS.CONSTR_CHECK:
        return _CHECK_DEFERRABLE
    return None


def _too_wide(tree: Any, columns: list[Any]) -> Refusal | None:
    if len(columns) <= _MAX_COLUMNS:
        return None
    if any(each.contype == _KINDS.CONSTR_PRIMARY for each in _constraints(tree)):
        return Refusal("54011", f"cannot use more than {_MAX_COLUMNS} columns in an index")
    return Refusal("54011", "tables can have at most 255 columns")


def _keys(tree: Any, columns: list[Any]) -> Refusal | None:
    by_name = {column.colname: column for column in columns}
    unique = (_KINDS.CONSTR_PRIMARY, _KINDS.CONSTR_UNIQUE)
    keys = [
        [part.sval for part in each.keys or ()]
        for each in tree.tableElts or ()
        if isinstance(each, ast.Constraint) and each.contype in unique
    ]
    keys += [[c.colname] for c in columns if any(each.contype in unique for each in c.constraints or ())]
    for key in keys:
        if found := _too_many(len(key)):
            return found
        types = [by_name[name].typeName for name in key if name in by_name]
        for each in types:
            if sqltypes.name_of(each) in sqltypes.NO_KEY:
                return key_type(sqltypes.name_of(each))
        if sum(sqltypes.declared_length(each) or 0 for each in types) > MAX_DECLARED_KEY:
            return declared_key()
    return None


def declared_key() -> Refusal:
    """A key whose columns are declared too long."""
    return Refusal("54000", f"key size greater than {MAX_DECLARED_KEY} bytes not supported")


def key_type(name: str) -> Refusal:
    """A type that no key may have."""
    return unsupported(f"datatype {name} is not supported in a key")


def _command(command: Any) -> Refusal | None:
    kind = command.subtype
    if kind not in _CARRIED_OUT:
        return unsupported(f"unsupported ALTER TABLE {_SAID.get(kind) or _words(kind.name)} statement")
    if kind == _ALTER.AT_AddColumn:
        return _add_column(command.def_)
    if kind == _ALTER.AT_AddConstraint:
        return _add_constraint(command.def_)
    return None


def _words(name: str) -> str:
    """AT_DropExpression → DROP EXPRESSION."""
    return "".join(f" {letter}" if letter.isupper() else letter for letter in name[3:]).strip().upper()


def _add_column(column: Any) -> Refusal | None:
    if any(each.contype != _KINDS.CONSTR_NULL for each in column.constraints or ()):
        return _type(column.typeName) or _WITH_CONSTRAINT
    return _type(column.typeName) or (_COLLATE if column.collClause is not None else None)


def _add_constraint(constraint: Any) -> Refusal | None:
    if constraint.contype in (_KINDS.CONSTR_CHECK, _KINDS.CONSTR_FOREIGN):
        return None if constraint.skip_validation else _NO_ADD
    return None if constraint.contype == _KINDS.CONSTR_UNIQUE and constraint.indexname else _NO_ADD
