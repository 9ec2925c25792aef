-- Billio's items, as near to the migration plan as can be without losing anything (config/billio.toml maps to it).
--
-- id and series_id are text: a uuid column gives an upper-case UUID back in lower case.
-- shelf and title may be NULL, timestamps have no default: DynamoDB's items may lack them, and a default makes them up.
-- rating and season_number are exact: the plan's INTEGER turns 8.5 into 9.
-- The key is (type, id), as in DynamoDB: by id alone, two items of different types would share a row.
CREATE TABLE items (
  type text NOT NULL,
  id text NOT NULL,
  shelf text,
  title text,
  rating numeric(6, 3),
  external_id text,
  notes text,
  added_at timestamptz,
  moved_at timestamptz,
  category text,
  series_id text,
  season_number numeric(20, 4),
  data jsonb NOT NULL DEFAULT '{}'::jsonb,
  PRIMARY KEY (type, id)
);
