"""How those rows of group `elsewhere` are played that give a condition instead of statements, and which cannot be.

A row that is not named here is played as it is written. `{job}` stands for the job id that a step has brought before.
"""

from dataclasses import dataclass, field
from typing import Any, Final

Step = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """Statements in the place of a row's. Of a step of several the last answer counts, and the others must succeed.

    `settings` are the gate's; `server` is done after the setup, by the server's superuser.
    """

    steps: tuple[Step, ...]
    setup: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def script(*steps: Step, setup: tuple[str, ...] = (), server: tuple[str, ...] = (), **settings: Any) -> Script:
    """A script; what is not said is as it always is."""
    return Script(steps, setup, server, settings)


def inserts(size: int, rows: int, table: str = "t", batch: int = 100) -> tuple[str, ...]:
    """INSERTs that bring so many rows of so many bytes with them."""
    found = []
    for first in range(0, rows, batch):
        values = ", ".join(f"({n}, '{chr(97 + n % 26) * size}')" for n in range(first, min(first + batch, rows)))
        found.append(f"INSERT INTO {table} VALUES {values}")
    return tuple(found)


def noise(size: int) -> str:
    """An expression for text that does not compress."""
    drawn = (
        f"SELECT string_agg(replace(gen_random_uuid()::text, '-', ''), '') AS s FROM generate_series(1, {size // 16})"
    )
    return f"(SELECT substr(translate(encode(decode(s, 'hex'), 'base64'), E'\\n', ''), 1, {size}) FROM ({drawn}) AS x)"


def noisy_bytes(size: int) -> str:
    """The same as bytea."""
    return f"convert_to({noise(size)}, 'UTF8')"


def many(count: int, statement: str) -> str:
    """One statement for the superuser that makes so many of something: {n} is its number."""
    return f"DO $$ BEGIN FOR n IN 1..{count} LOOP EXECUTE format('{statement}', n); END LOOP; END $$"


_T: Final = ("CREATE TABLE t (id int PRIMARY KEY, c text)",)
_ROWS: Final = ("CREATE TABLE t (id int PRIMARY KEY, pad text)", "CREATE TABLE u (id int PRIMARY KEY, pad text)")
_FIVE_THOUSAND: Final = tuple(
    f"INSERT INTO t SELECT g, 'x' FROM generate_series({first}, {first + 2499}) g" for first in (1, 2501)
)
_DOCUMENT: Final = ("CREATE TABLE spike_doc (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), doc jsonb NOT NULL)",)
_ACCOUNTS: Final = (
    "CREATE TABLE acct (id int PRIMARY KEY, v int NOT NULL, version int NOT NULL DEFAULT 0)",
    "INSERT INTO acct VALUES (1, 100), (2, 0), (3, 0)",
)
_JOB: Final = "CALL sys.wait_for_job('{job}')"
_JOB_ROW: Final = "SELECT job_id, status, job_type FROM sys.jobs WHERE job_id = '{job}'"
_JOB_END: Final = "SELECT status, details FROM sys.jobs WHERE job_id = '{job}'"
_COLUMNS: Final = ", ".join(f"c{n} int" for n in range(256))
_NINE: Final = "a int, b int, c int, d int, e int, f int, g int, h int, i int"
_INDEXED: Final = (
    "CREATE TABLE spike_idx (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL, k text)"
)
_GUARDED: Final = (
    "CREATE TABLE og2 (id int PRIMARY KEY, family_id text, role text, owner_guard text GENERATED ALWAYS AS "
    "(CASE WHEN role = 'owner' THEN family_id END) STORED)"
)
_FOREIGN_KEY: Final = (
    "ALTER TABLE spike_child2 ADD CONSTRAINT fk_child2_parent FOREIGN KEY (parent_id) "
    "REFERENCES spike_parent(id) NOT VALID"
)
_EVERY_FORM: Final = (
    "CREATE TABLE child (a int, b int, c int REFERENCES child (c2) ON DELETE CASCADE ON UPDATE RESTRICT, "
    "c2 int UNIQUE, FOREIGN KEY (a, b) REFERENCES parent (a, b) MATCH FULL DEFERRABLE INITIALLY DEFERRED)"
)
_PARENT: Final = "CREATE TABLE spike_parent (id uuid PRIMARY KEY, name text NOT NULL)"

SCRIPTS: Final[dict[str, Script]] = {
    "limit_rows_update_5000": script("UPDATE t SET pad = 'y'", setup=(*_ROWS, *_FIVE_THOUSAND)),
    "limit_rows_delete_3001": script("DELETE FROM t WHERE id <= 3001", setup=(*_ROWS, *_FIVE_THOUSAND)),
    "limit_size_8mib": script("BEGIN", inserts(256 * 1024, 32, batch=1), "COMMIT", setup=_ROWS),
    "limit_size_16mib": script("BEGIN", inserts(256 * 1024, 64, batch=1), "COMMIT", "ROLLBACK", setup=_ROWS),
    "limit_size_detail": script(("BEGIN", *inserts(350_000, 64, batch=1), "COMMIT"), setup=_ROWS),
    "limit_size_accounting": script(("BEGIN", *inserts(20_820, 500, batch=50), "COMMIT"), setup=_ROWS),
    "limit_size_9_5_and_11_3": script(
        ("BEGIN", *inserts(5000, 2000), "COMMIT"), ("BEGIN", *inserts(4096, 2900, "u"), "COMMIT"), setup=_ROWS
    ),
    "limit_key_value": script(
        f"INSERT INTO t VALUES ({noise(1982)})", setup=("CREATE TABLE t (k text PRIMARY KEY, v text)",)
    ),
    "limit_key_declared": script("CREATE TABLE t (k varchar(2001) PRIMARY KEY)"),
    "limit_row": script(
        f"INSERT INTO t VALUES (1, {noise(900_000)}, {noise(900_000)}, {noise(900_000)})",
        setup=("CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text)",),
    ),
    "limit_value_text": script(f"INSERT INTO t VALUES (1, {noise(1_048_577)})", setup=_T),
    "limit_value_bytea": script(
        f"INSERT INTO t VALUES (1, {noisy_bytes(1_048_577)})", setup=("CREATE TABLE t (id int PRIMARY KEY, c bytea)",)
    ),
    "limit_value_jsonb": script(
        f"INSERT INTO t VALUES (1, to_jsonb({noise(1_600_000)}))",
        setup=("CREATE TABLE t (id int PRIMARY KEY, c jsonb)",),
    ),
    "limit_value_jsonb_run": script(
        "INSERT INTO spike_doc (doc) VALUES (jsonb_build_object('blob', repeat('x', 2097152)))",
        f"INSERT INTO spike_doc (doc) VALUES (jsonb_build_object('blob', {noise(838_860)}))",
        f"INSERT INTO spike_doc (doc) VALUES (jsonb_build_object('blob', {noise(1_677_721)}))",
        setup=_DOCUMENT,
    ),
    "limit_key_columns": script(f"CREATE TABLE t ({_NINE}, PRIMARY KEY (a, b, c, d, e, f, g, h, i))"),
    "limit_columns_no_pk": script(f"CREATE TABLE t (id int, {_COLUMNS})"),
    "limit_columns_pk": script(f"CREATE TABLE t (id int PRIMARY KEY, {_COLUMNS})"),
    "limit_indexes": script(
        "CREATE INDEX ASYNC i25 ON t (c)", setup=_T, server=(many(23, "CREATE INDEX i%s ON t (c)"),)
    ),
    "limit_schemas": script("CREATE SCHEMA s11", server=(many(10, "CREATE SCHEMA s%s"),)),
    "limit_statistics": script(
        "CREATE STATISTICS s6 ON id, c FROM t", setup=_T, server=(many(5, "CREATE STATISTICS s%s ON id, c FROM t"),)
    ),
    "limit_statistics_target": script(
        "ALTER STATISTICS s SET STATISTICS 101", setup=(*_T, "CREATE STATISTICS s ON id, c FROM t")
    ),
    "limit_view": script(f"CREATE VIEW v AS SELECT '{'x' * 140_000}' AS x"),
    "limit_nesting": script(f"SELECT 1{' + 1' * 20_000}"),
    "limit_tables": script("CREATE TABLE one_more (id int)", server=(many(1000, "CREATE TABLE t%s ()"),)),
    "limit_views": script("CREATE VIEW one_more AS SELECT 1", server=(many(5000, "CREATE VIEW v%s AS SELECT 1"),)),
    "limit_sequences": script("CREATE SEQUENCE one_more CACHE 1", server=(many(5000, "CREATE SEQUENCE s%s"),)),
    "identifier_63": script(f"CREATE TABLE {'x' * 64} (id int)"),
    "server_unavailable": script("SELECT 1", unavailable=1),
    "set_role": script("SET ROLE app_role"),
    "lock_table": script("LOCK TABLE t IN ACCESS SHARE MODE", setup=_T),
    "conflict_update_after_other_committed": script(
        "A: BEGIN",
        "A: SELECT * FROM acct WHERE id = 1",
        "B: UPDATE acct SET v = 7 WHERE id = 1",
        "A: UPDATE acct SET v = 8 WHERE id = 1",
        "A: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_versioned_update": script(
        "A: BEGIN",
        "A: SELECT * FROM acct WHERE id = 1",
        "B: BEGIN",
        "B: SELECT * FROM acct WHERE id = 1",
        "A: UPDATE acct SET version = 1 WHERE id = 1 AND version = 0",
        "A: COMMIT",
        "B: UPDATE acct SET version = 1 WHERE id = 1 AND version = 0",
        "B: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_for_update_other_rows": script(
        "A: BEGIN",
        "B: BEGIN",
        "A: SELECT * FROM acct WHERE id = 1 FOR UPDATE",
        "B: SELECT * FROM acct WHERE id = 1 FOR UPDATE",
        "A: UPDATE acct SET v = 1 WHERE id = 2",
        "B: UPDATE acct SET v = 1 WHERE id = 3",
        "A: COMMIT",
        "B: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_plain_read_other_rows": script(
        "A: BEGIN",
        "B: BEGIN",
        "A: SELECT * FROM acct WHERE id = 1",
        "B: SELECT * FROM acct WHERE id = 1",
        "A: UPDATE acct SET v = 1 WHERE id = 2",
        "B: UPDATE acct SET v = 1 WHERE id = 3",
        "A: COMMIT",
        "B: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_same_row_kusa": script(
        "A: BEGIN",
        "B: BEGIN",
        "A: UPDATE acct SET v = v + 1 WHERE id = 1",
        "B: UPDATE acct SET v = v + 1 WHERE id = 1",
        "A: COMMIT",
        "B: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_disjoint_keys": script(
        tuple(
            step
            for _ in range(15)
            for step in (
                "A: BEGIN",
                "B: BEGIN",
                "A: UPDATE acct SET v = v + 1 WHERE id = 2",
                "B: UPDATE acct SET v = v + 1 WHERE id = 3",
                "B: COMMIT",
                "A: COMMIT",
            )
        ),
        setup=_ACCOUNTS,
    ),
    "conflict_e001_for_update_vs_write": script(
        "A: BEGIN",
        "A: SELECT * FROM acct WHERE id = 1 FOR UPDATE",
        "A: UPDATE acct SET v = v + 1 WHERE id = 1",
        "B: UPDATE acct SET v = v + 10 WHERE id = 1",
        "A: COMMIT",
        setup=_ACCOUNTS,
    ),
    "conflict_ddl_oc001": script(("A: CREATE TABLE made (id int)", "B: SELECT 1")),
    "conflict_oc001_scope": script("A: GRANT SELECT ON acct TO PUBLIC", "B: SELECT * FROM acct", setup=_ACCOUNTS),
    "lock_for_update_forms": script(
        "SELECT * FROM t FOR UPDATE OF t",
        "SELECT * FROM t FOR UPDATE NOWAIT",
        "SELECT * FROM t FOR UPDATE SKIP LOCKED",
        "SELECT * FROM t JOIN bare ON bare.id < t.id + 3 WHERE t.c LIKE 'x%' FOR UPDATE",
        setup=(*_T, "CREATE TABLE bare (id int)", "INSERT INTO t VALUES (1, 'x')", "INSERT INTO bare VALUES (1)"),
    ),
    "lock_share_nested": script("WITH x AS (SELECT * FROM t FOR SHARE) SELECT * FROM x", setup=_T),
    "key_bytea": script("CREATE TABLE b (id bytea PRIMARY KEY)"),
    "index_sort": script("CREATE INDEX ASYNC i ON t (c ASC)", "CREATE INDEX ASYNC i ON t (c DESC)", setup=_T),
    "index_not_immutable": script("CREATE INDEX ASYNC i ON t ((random()::text || c))", setup=_T),
    "index_catalog": script(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'spike_idx' ORDER BY 1",
        setup=(
            _INDEXED,
            "CREATE INDEX ASYNC ix_spike_idx_tenant_k ON spike_idx (tenant_id, k)",
        ),
    ),
    "index_async_wait": script(
        "CREATE INDEX ASYNC ix_spike_idx_tenant_k ON spike_idx (tenant_id, k)",
        _JOB,
        _JOB_ROW,
        setup=(_INDEXED,),
    ),
    "unique_index_building": script(
        "CREATE UNIQUE INDEX ASYNC u ON t (c)",
        ("INSERT INTO t VALUES (1, 'x')", "INSERT INTO t VALUES (2, 'x')"),
        (_JOB, _JOB_END),
        setup=_T,
        unique_while_building="accepted",
        job_seconds=1.0,
    ),
    "unique_index_valid": script(
        "INSERT INTO og2 VALUES (2, 'f', 'owner')",
        setup=(
            _GUARDED,
            "CREATE UNIQUE INDEX ASYNC og2_owner_uniq ON og2 (owner_guard)",
            "INSERT INTO og2 VALUES (1, 'f', 'owner')",
        ),
    ),
    "unique_using_index_valid": script(
        "CREATE UNIQUE INDEX ASYNC u ON t (c)", _JOB, "ALTER TABLE t ADD CONSTRAINT c_uq UNIQUE USING INDEX u", setup=_T
    ),
    "index_visible_before_valid": script(
        "CREATE INDEX ASYNC i ON t (c)",
        ("SELECT 1 / count(*) FROM pg_index WHERE indexrelid = 'i'::regclass AND NOT indisvalid", "SELECT 1"),
        setup=_T,
        job_seconds=5.0,
    ),
    "index_alter_drop": script(
        "ALTER INDEX i RENAME TO j", "DROP INDEX j", setup=(*_T, "CREATE INDEX ASYNC i ON t (c)")
    ),
    "fk_not_valid_then_validate": script(
        _FOREIGN_KEY,
        "ALTER TABLE ASYNC spike_child2 VALIDATE CONSTRAINT fk_child2_parent",
        _JOB,
        _JOB_ROW,
        "INSERT INTO spike_child2 (parent_id) VALUES ('00000000-0000-4000-8000-00000000dead')",
        setup=(_PARENT, "CREATE TABLE spike_child2 (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), parent_id uuid)"),
    ),
    "fk_forms": script(
        _EVERY_FORM,
        setup=("CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b))",),
    ),
    "deferrable_others": script(
        "CREATE TABLE d (id int PRIMARY KEY, c int UNIQUE DEFERRABLE)",
        "CREATE TABLE d (id int PRIMARY KEY, c int, CHECK (c > 0) DEFERRABLE)",
    ),
    "add_column_null_and_collate": script(
        "ALTER TABLE t ADD COLUMN n text NULL", 'ALTER TABLE t ADD COLUMN d text COLLATE "C"', setup=_T
    ),
    "drop_constraint": script(
        ("ALTER TABLE t DROP CONSTRAINT t_c_check", "ALTER TABLE t DROP CONSTRAINT t_c_key"),
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        setup=("CREATE TABLE t (id int PRIMARY KEY, c text UNIQUE CHECK (c <> ''))",),
    ),
    "identity_alter": script(
        "ALTER TABLE t ALTER COLUMN n ADD GENERATED BY DEFAULT AS IDENTITY (CACHE 1)",
        "ALTER TABLE t ALTER COLUMN n SET GENERATED ALWAYS",
        "ALTER TABLE t ALTER COLUMN n RESTART",
        "ALTER TABLE t ALTER COLUMN n DROP IDENTITY",
        setup=("CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL)",),
    ),
    "validate_fails": script(
        "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
        (_JOB, _JOB_END),
        setup=(*_T, "INSERT INTO t VALUES (1, '')", "ALTER TABLE t ADD CONSTRAINT c CHECK (c <> '') NOT VALID"),
    ),
    "domain_cascade": script("DROP DOMAIN d CASCADE", setup=("CREATE DOMAIN d AS int",)),
    "domain_alter": script(
        "ALTER DOMAIN d SET DEFAULT 1",
        "ALTER DOMAIN d DROP NOT NULL",
        "ALTER DOMAIN d SET NOT NULL",
        "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)",
        setup=("CREATE DOMAIN d AS int",),
    ),
    "generated_column": script(
        "CREATE TABLE og2 (id uuid PRIMARY KEY, family_id uuid, role text, owner_guard uuid GENERATED ALWAYS AS "
        "(CASE WHEN role='owner' THEN family_id END) STORED)",
        "CREATE TABLE g (t text, x timestamptz GENERATED ALWAYS AS (CAST(t AS timestamptz)) STORED)",
    ),
    "grant_all_tables_public": script(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
        setup=_T,
    ),
    "grant_is_ddl": script("BEGIN", "GRANT SELECT ON t TO PUBLIC", "GRANT INSERT ON t TO PUBLIC", setup=_T),
    "comment_on": script("COMMENT ON TABLE t IS 'x'", "COMMENT ON COLUMN t.c IS 'x'", setup=_T),
    "alter_several_actions": script("ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int", setup=_T),
    "set_statistics": script("ALTER TABLE t ALTER COLUMN c SET STATISTICS 10", setup=_T),
    "index_opclass": script("CREATE INDEX ASYNC i ON t (c text_pattern_ops)", setup=_T),
    "index_concurrently": script("CREATE INDEX CONCURRENTLY i ON t (c)", setup=_T),
    "index_if_not_exists_unnamed": script("CREATE INDEX ASYNC IF NOT EXISTS ON t (c)", setup=_T),
    "index_include_expression": script("CREATE INDEX ASYNC i ON t (c) INCLUDE ((lower(c)))", setup=_T),
    "row_level_security": script(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (true)", setup=_T
    ),
    "catalog_empty": script("SELECT count(*) FROM pg_available_extensions"),
}

NOT_PLAYED: Final[dict[str, str]] = {
    "limit_temp_space": "PostgreSQL has no limit on work space that fails a statement",
    "limit_storage": "nobody fills a disk in a test",
    "connect_old_note_28000": "two notes against the records of 08006",
    "connect_1000_at_once": "the PostgreSQL of the tests takes 200 connections",
    "conflict_e004_write_skew": "doubtful: seen once, contradicted by two records that are played",
    "conflict_old_texts": "texts that clusters no longer answer",
    "lock_old_text": "a text that clusters no longer answer",
    "enum_old_text": "a text that clusters no longer answer",
    "explain_nodes": "plans are PostgreSQL's",
    "explain_full_scan": "plans are PostgreSQL's",
    "explain_index_scan": "plans are PostgreSQL's",
    "explain_pk": "plans are PostgreSQL's",
    "explain_order_by": "plans are PostgreSQL's",
    "explain_cross_type": "plans are PostgreSQL's",
    "explain_row_comparison": "no answer is recorded",
    "index_precedence": "a sentence about refusals, each of which is played",
    "jobs_rows": "an enumeration of what was seen in many runs",
}
