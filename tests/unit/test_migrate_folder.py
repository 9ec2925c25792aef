"""A folder of SQL files: what its statements are, and what may be told of each."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migrate.schema.migration_files import (
    MigrationError,
    changes_rows,
    created_index,
    read_folder,
    shipped_folder,
    statements_of,
    validated_constraint,
)


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", ()),
        ("-- nothing; at all\n", ()),
        ("SELECT 1", ("SELECT 1",)),
        ("SELECT 1;\nSELECT 2;\n", ("SELECT 1", "SELECT 2")),
        ("SELECT 1; SELECT 2", ("SELECT 1", "SELECT 2")),
        ("INSERT INTO a VALUES ('x;\n''y; --');", ("INSERT INTO a VALUES ('x;\n''y; --')",)),
        ('CREATE TABLE "a;""b" (c text); -- it; ends', ('CREATE TABLE "a;""b" (c text)',)),
        ("SELECT $$a;b$$; SELECT $t$;$$;$t$", ("SELECT $$a;b$$", "SELECT $t$;$$;$t$")),
        ("SELECT/* ; */1", ("SELECT 1",)),
        ("CREATE TABLE a (\n  b text, -- ; not here\n  c text\n);", ("CREATE TABLE a (\n  b text,  \n  c text\n)",)),
        (";;\n;", ()),
    ],
)
def test_statements_end_at_semicolons_that_are_not_quoted(text: str, statements: tuple[str, ...]) -> None:
    assert statements_of(text) == statements


_PIECES = st.sampled_from(["'a;b'", '"c;d"', "$$e;f$$", "$g$h;$$i$g$", "select", "1", "(1;2)", ")"])


@given(st.lists(st.lists(_PIECES, min_size=1), max_size=6), st.sampled_from([";", " ;\n", "; -- a; 'comment\n"]))
def test_what_is_joined_by_semicolons_comes_apart_again(statements: list[list[str]], end: str) -> None:
    texts = [" ".join(pieces) for pieces in statements]
    assert statements_of("".join(text + end for text in texts)) == tuple(texts)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE INDEX ASYNC a ON b (c)", "a"),
        ("create unique index async if not exists s.a on b (c)", "s.a"),
        ('CREATE INDEX ASYNC "my idx" ON "t" ("c") WHERE c IS NOT NULL', '"my idx"'),
        ("CREATE INDEX a ON b (c)", "a"),
        ("CREATE TABLE a (b text)", None),
        ("ALTER TABLE ASYNC a VALIDATE CONSTRAINT b", None),
    ],
)
def test_an_index_is_known_by_its_name(statement: str, name: str | None) -> None:
    assert created_index(statement) == name


def test_a_constraint_that_is_proven_is_known_by_its_name() -> None:
    assert validated_constraint("ALTER TABLE ASYNC s.items VALIDATE CONSTRAINT chk_a") == "chk_a"
    assert validated_constraint('alter table items\n  validate constraint "My check"') == '"My check"'
    assert validated_constraint("ALTER TABLE items ADD CONSTRAINT chk_a CHECK (a > 0) NOT VALID") is None


def test_rows_are_told_from_tables() -> None:
    assert all(map(changes_rows, ("UPDATE a SET b = 1", "insert into a values (1)", "DELETE FROM a", "WITH x AS …")))
    assert not any(map(changes_rows, ("CREATE TABLE a (b text)", "ALTER TABLE a ADD b text", "GRANT x TO y")))


def test_a_folder_that_cannot_be_says_so(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no such folder: give another --folder"):
        read_folder(tmp_path / "nothing")
    with pytest.raises(MigrationError, match=r"contains no \.sql files"):
        read_folder(tmp_path)
    (tmp_path / "0001_a.sql").write_bytes(b"\xff")
    with pytest.raises(MigrationError, match=r"0001_a\.sql: cannot be read"):
        read_folder(tmp_path)


def test_files_come_in_the_order_of_their_names_and_any_change_is_seen(tmp_path: Path) -> None:
    (tmp_path / "0010_b.sql").write_text("SELECT 2;")
    (tmp_path / "0009_a.sql").write_text("SELECT 1;")
    (tmp_path / "notes.txt").write_text("not SQL")
    before = read_folder(tmp_path)
    assert [each.name for each in before] == ["0009_a.sql", "0010_b.sql"]
    (tmp_path / "0009_a.sql").write_text("SELECT 1; ")
    assert read_folder(tmp_path)[0].checksum != before[0].checksum


def test_the_tables_that_come_along_are_billio_s() -> None:
    assert read_folder(shipped_folder())[0].name == "0001_items.sql"
