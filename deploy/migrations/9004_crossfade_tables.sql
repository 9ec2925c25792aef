CREATE TABLE IF NOT EXISTS crossfade_tables (name text PRIMARY KEY, description text NOT NULL, described timestamptz NOT NULL);
