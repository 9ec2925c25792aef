CREATE TABLE IF NOT EXISTS crossfade_tokens (token text PRIMARY KEY, request text NOT NULL, answered timestamptz NOT NULL);
