"""Where one statement of a SQL file ends and the next begins: as PostgreSQL's scanner has it."""

from pathlib import Path

import pytest

from proxy.migrate.schema.migration_files import MigrationError, read_folder, statements_of

CASES = {
    "SELECT 1; SELECT 2": ["SELECT 1", "SELECT 2"],
    "SELECT 'a;b'; SELECT 'it''s;'": ["SELECT 'a;b'", "SELECT 'it''s;'"],
    r"SELECT E'it\'s;'; SELECT 2": [r"SELECT E'it\'s;'", "SELECT 2"],
    r"SELECT e'\\'; SELECT 2": [r"SELECT e'\\'", "SELECT 2"],
    r"SELECT '\'; SELECT 2": [r"SELECT '\'", "SELECT 2"],
    r"SELECT name'\'; SELECT 2": [r"SELECT name'\'", "SELECT 2"],
    "/* a /* b; */ c; */ SELECT 1; SELECT 2": ["SELECT 1", "SELECT 2"],
    "SELECT 1 -- one; two\n; SELECT 2": ["SELECT 1", "SELECT 2"],
    "SELECT $$a;b$$; SELECT 2": ["SELECT $$a;b$$", "SELECT 2"],
    "DO $body$ x; $$ y; $$ z; $body$; SELECT 2": ["DO $body$ x; $$ y; $$ z; $body$", "SELECT 2"],
    "SELECT a$b$c; SELECT d$b$e": ["SELECT a$b$c", "SELECT d$b$e"],
    "SELECT $1; SELECT $2": ["SELECT $1", "SELECT $2"],
    'SELECT "a;""b"; SELECT 2': ['SELECT "a;""b"', "SELECT 2"],
    "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3": [
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
        "SELECT 3",
    ],
    "\ufeffSELECT 1": ["SELECT 1"],
    "; ;\n-- nothing\n": [],
}


@pytest.mark.parametrize("text", CASES)
def test_statements_end_where_postgresql_ends_them(text: str) -> None:
    assert [" ".join(each.split()) for each in statements_of(text)] == CASES[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1;\nSELECT 'a", "a string that begins in line 2"),
        ("SELECT E'a\\'", "a string that begins in line 1"),
        ("/* a /* b */", "a comment that begins in line 1"),
        ('\n\nSELECT "a', "a quoted name that begins in line 3"),
        ("DO $x$ a $y$", "the body quoted by $x$ that begins in line 1"),
    ],
)
def test_what_does_not_end_is_named_with_its_file_and_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text(text)
    with pytest.raises(MigrationError) as caught:
        read_folder(tmp_path)
    assert str(tmp_path / "001_a.sql") in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_would_be_passed_over_is_named(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text("SELECT 1")
    (tmp_path / "002_b.SQL").write_text("SELECT 2")
    with pytest.raises(MigrationError, match=r"002_b\.SQL would be passed over"):
        read_folder(tmp_path)
