"""Aurora DSQL's rules for SQL, one by one, as they can be read off a statement's text.

From AWS's user guide: "Supported SQL for Aurora DSQL", "Unsupported PostgreSQL features", "Supported data types",
"Concurrency control", "Cluster quotas and database limits". A rule looks at one statement, with what stands between
quotation marks taken out; `violations` names every rule that a statement breaks.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_SETTABLE: Final = frozenset(
    {
        "application_name",
        "client_encoding",
        "datestyle",
        "extra_float_digits",
        "intervalstyle",
        "timezone",
        "search_path",
    }
)
# A text, a name in quotes or a comment, whichever begins first.
_QUOTED: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*""")
_MAX_IDENTIFIER_BYTES: Final = 63
_MAX_KEY_COLUMNS: Final = 8
_MAX_COLUMNS: Final = 255


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` gets the statement bare (texts and names in quotes emptied, upper case) and as it is.

    `bad` are statements that break this rule, to show that it can be broken.
    """

    name: str
    broken: Callable[[str, str], bool]
    bad: tuple[str, ...]


def bare(statement: str) -> str:
    """Texts become '', names in quotes "q", comments go, blanks shrink, all in upper case."""
    without = _QUOTED.sub(lambda found: {"'": "''", '"': '"q"'}.get(found[0][0], " "), statement)
    return " ".join(without.split()).upper()


def violations(statement: str) -> list[str]:
    """The names of the rules that the statement breaks."""
    text = bare(statement)
    return [rule.name for rule in RULES if rule.broken(text, statement)]


def mixed(batch: Sequence[str]) -> list[str]:
    """What is wrong with the statements of one transaction: DSQL takes one DDL statement, alone, or any DML."""
    kinds = [is_ddl(bare(each)) for each in batch]
    if not any(kinds):
        return []
    return [] if len(kinds) == 1 else ["DDL beside another statement in one transaction"]


def is_ddl(text: str) -> bool:
    return re.match(r"(CREATE|ALTER|DROP|GRANT|REVOKE|COMMENT)\b", text) is not None


def _has(pattern: str) -> Callable[[str, str], bool]:
    compiled = re.compile(pattern)
    return lambda text, _: compiled.search(text) is not None


def _unlisted_setting(text: str, _: str) -> bool:
    match = re.match(r"(?:SET|RESET)(?: SESSION| LOCAL)? ([A-Z_.]+)", text)
    if match is None or match[1] == "ALL":
        return False
    return match[1].lower() not in _SETTABLE


def _locks_loosely(text: str, _: str) -> bool:
    """FOR UPDATE wants equality for each condition (whether on the whole key, the caller knows): of one table, or of
    one that is joined with the keys, which clusters take since August 2026."""
    joined = re.search(r" JOIN [^ ]+ AS HELD ON (.+) FOR UPDATE OF HELD$", text)
    if joined is not None:
        return any(re.fullmatch(r'[\w".]+ = [\w".]+', each) is None for each in joined[1].split(" AND "))
    match = re.search(r" FROM (.+?)(?: WHERE (.+?))? FOR (?:UPDATE|KEY SHARE)", text)
    if match is None:
        return "FOR UPDATE" in text
    table, conditions = match[1], match[2]
    if conditions is None or "," in table or "JOIN" in table:
        return True
    return any(re.fullmatch(r'[\w".]+ = \$\d+', each) is None for each in conditions.split(" AND "))


def _index_keys(text: str) -> str | None:
    match = re.match(
        r"CREATE (?:UNIQUE )?INDEX .*? ON [^(]+?(?: USING \w+)? ?\((.*?)\)(?: WHERE| INCLUDE|$| NULLS)", text
    )
    return None if match is None else match[1]


def _index_direction(text: str, _: str) -> bool:
    keys = _index_keys(text)
    return keys is not None and re.search(r"\b(ASC|DESC)\b", keys) is not None


def _wide_index(text: str, _: str) -> bool:
    keys = _index_keys(text)
    return keys is not None and keys.count(",") >= _MAX_KEY_COLUMNS


def _wide_table(text: str, _: str) -> bool:
    match = re.match(r"CREATE TABLE [^(]+\((.*)\)$", text)
    return match is not None and re.sub(r"\([^()]*\)", "", match[1]).count(",") > _MAX_COLUMNS


def _binary_key(_: str, statement: str) -> bool:
    """`0A000 datatype bytea is not supported in a key`; jsonb and interval likewise."""
    key = re.search(r"PRIMARY KEY \(([^)]*)\)", statement)
    kinds = dict(re.findall(r"(\"(?:[^\"]|\"\")*\"|\w+) (bytea|jsonb|interval)\b", statement))
    return key is not None and any(name in kinds for name in re.findall(r"\"(?:[^\"]|\"\")*\"|\w+", key[1]))


def _long_name(_: str, statement: str) -> bool:
    names = [found[1:-1].replace('""', '"') for found in _QUOTED.findall(statement) if found.startswith('"')]
    return any(len(name.encode()) > _MAX_IDENTIFIER_BYTES for name in names)


def _several(text: str, _: str) -> bool:
    return ";" in text.rstrip("; ")


_UNLISTED: Final = r"(?<!\w)(?:HASHTEXT(EXTENDED)?|PG_SLEEP|SET_CONFIG|LO_\w+|DBLINK|TXID_CURRENT|RANDOM)\("

RULES: Final = (
    Rule(
        "savepoint",
        _has(r"^(SAVEPOINT|RELEASE|ROLLBACK (WORK )?TO)\b"),
        ("SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO a"),
    ),
    Rule(
        "arrays",
        _has(r"\[ ?\d* ?\]|\bARRAY\b|\b(ANY|ALL) ?\( ?\$|\bUNNEST\b|\bARRAY_AGG\b"),
        ("CREATE TABLE a (b text[])", "SELECT * FROM a WHERE b = ANY($1)", "SELECT ARRAY[1]"),
    ),
    Rule(
        "SET TRANSACTION",
        _has(r"^SET (SESSION CHARACTERISTICS|(LOCAL )?TRANSACTION)|ISOLATION LEVEL"),
        ("SET TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
    ),
    Rule("TRUNCATE", _has(r"^TRUNCATE\b"), ("TRUNCATE a",)),
    Rule(
        "temporary and unlogged tables",
        _has(r"^CREATE (GLOBAL |LOCAL )?(TEMP|TEMPORARY|UNLOGGED)\b|\bINTO (TEMP|TEMPORARY)\b"),
        ("CREATE TEMP TABLE a (b text)", "CREATE UNLOGGED TABLE a (b text)", "SELECT 1 INTO TEMP a"),
    ),
    Rule(
        "LISTEN and NOTIFY",
        _has(r"^(LISTEN|UNLISTEN|NOTIFY)\b|\bPG_NOTIFY\("),
        ("LISTEN a", "SELECT pg_notify('a', 'b')"),
    ),
    Rule(
        "advisory locks",
        _has(r"\bPG_(TRY_)?ADVISORY_\w+\("),
        ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock_all()"),
    ),
    Rule("LOCK TABLE", _has(r"^LOCK\b"), ("LOCK TABLE a",)),
    Rule(
        "direction in an index key",
        _index_direction,
        ("CREATE INDEX ASYNC i ON a (b, c DESC)", 'CREATE INDEX ASYNC i ON a ("b" ASC) WHERE b IS NOT NULL'),
    ),
    Rule(
        "index without ASYNC",
        _has(r"^CREATE (UNIQUE )?INDEX (?!ASYNC\b)"),
        ("CREATE INDEX i ON a (b)", "CREATE UNIQUE INDEX CONCURRENTLY i ON a (b)"),
    ),
    Rule("too many index keys", _wide_index, ("CREATE INDEX ASYNC i ON a (a, b, c, d, e, f, g, h, i)",)),
    Rule(
        "bare numeric",
        _has(r"\b(NUMERIC|DECIMAL)\b(?! ?\()"),
        ("CREATE TABLE a (b numeric)", "SELECT $1::text::numeric"),
    ),
    Rule(
        "types that are none",
        _has(r"\b(SERIAL|BIGSERIAL|SMALLSERIAL|MONEY|XML|INET|CIDR|TSVECTOR|HSTORE|POINT|BIT VARYING|VARBIT|CITEXT)\b"),
        ("CREATE TABLE a (b serial)",),
    ),
    Rule(
        "locks beyond a key",
        _locks_loosely,
        (
            "SELECT * FROM a FOR UPDATE",
            "SELECT * FROM a WHERE b > $1 FOR UPDATE",
            "SELECT * FROM a, b WHERE c = $1 FOR UPDATE",
            "SELECT * FROM b JOIN a AS held ON held.c > b.c FOR UPDATE OF held",
        ),
    ),
    Rule(
        "locks that are none",
        _has(r"\bFOR (SHARE|NO KEY UPDATE)\b|\b(NOWAIT|SKIP LOCKED)\b"),
        ("SELECT * FROM a WHERE b = $1 FOR SHARE",),
    ),
    Rule(
        "settings that cannot be set",
        _unlisted_setting,
        ("SET statement_timeout = 5", "SET LOCAL lock_timeout = 5", "SET jit = off", "RESET jit"),
    ),
    Rule("LATERAL", _has(r"\bLATERAL\b"), ("SELECT * FROM a LEFT JOIN LATERAL (SELECT 1) b ON true",)),
    Rule("MERGE", _has(r"^MERGE\b"), ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",)),
    Rule(
        "procedures and triggers",
        _has(
            r"^DO\b|^CREATE (OR REPLACE )?(TRIGGER|PROCEDURE|EXTENSION|RULE|TYPE|DATABASE|TABLESPACE|MATERIALIZED)"
            r"|PLPGSQL"
        ),
        ("DO $$ BEGIN END $$", "CREATE EXTENSION pgcrypto", "CREATE TRIGGER a AFTER INSERT ON b EXECUTE FUNCTION c()"),
    ),
    Rule(
        "partitions",
        _has(r"\bPARTITION (BY|OF)\b(?!.*\bOVER\b)|\bINHERITS\b"),
        ("CREATE TABLE a (b text) PARTITION BY HASH (b)",),
    ),
    Rule(
        "constraints added and validated at once",
        _has(r"^ALTER TABLE .* ADD (CONSTRAINT .*)?(CHECK|FOREIGN KEY)\b(?!.*NOT VALID)"),
        ("ALTER TABLE a ADD CHECK (b > 1)", "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES d"),
    ),
    Rule(
        "columns added with more than a type",
        _has(r"^ALTER TABLE .* ADD COLUMN .*\b(DEFAULT|NOT NULL|PRIMARY KEY|UNIQUE|REFERENCES|CHECK)\b"),
        ("ALTER TABLE a ADD COLUMN b text NOT NULL",),
    ),
    Rule(
        "column types changed",
        _has(r"^ALTER TABLE .* ALTER (COLUMN )?.* TYPE\b"),
        ("ALTER TABLE a ALTER COLUMN b TYPE text",),
    ),
    Rule("collations", _has(r"\bCOLLATE\b(?! \"Q\")"), ("SELECT b FROM a ORDER BY b COLLATE german",)),
    Rule(
        "unconfirmed",
        _has(r"\bILIKE\b|^COPY\b|^DECLARE\b|^VACUUM\b|^REINDEX\b|^CLUSTER\b"),
        ("COPY a FROM STDIN", "SELECT 1 WHERE a ILIKE $1"),
    ),
    Rule(
        "functions that no manual lists",
        _has(_UNLISTED),
        ("SELECT abs(hashtext(a)) FROM b", "SELECT set_config('jit', 'off', false)"),
    ),
    Rule(
        "several statements in one",
        _several,
        ("SELECT 1; SELECT 2", "CREATE TABLE a (b text); INSERT INTO a VALUES ($1)"),
    ),
    Rule("too many columns", _wide_table, (f"CREATE TABLE a ({', '.join(f'c{n} text' for n in range(300))})",)),
    Rule(
        "binary in a key",
        _binary_key,
        (
            "CREATE TABLE a (b bytea, PRIMARY KEY (b))",
            'CREATE TABLE a (b text, "c" jsonb NOT NULL, PRIMARY KEY (b, "c"))',
        ),
    ),
    Rule("names too long", _long_name, (f'SELECT * FROM "{"é" * 32}"',)),
)
