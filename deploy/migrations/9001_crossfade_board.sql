-- Crossfade's own tables, made by the migrator so that the proxies' role needs no right to make tables.
-- Each stands here as the code has it (tests/deploy/test_migrations.py compares them).
CREATE TABLE IF NOT EXISTS crossfade_board (subject text NOT NULL, process text NOT NULL, note text NOT NULL, posted timestamptz NOT NULL, PRIMARY KEY (subject, process));
