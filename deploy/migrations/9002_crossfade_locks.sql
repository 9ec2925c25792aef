CREATE TABLE IF NOT EXISTS crossfade_locks (stripe integer PRIMARY KEY, taken timestamptz NOT NULL);
