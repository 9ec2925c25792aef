CREATE TABLE IF NOT EXISTS crossfade_table_properties (name text NOT NULL, property text NOT NULL, document text NOT NULL, noted timestamptz NOT NULL, PRIMARY KEY (property, name));
