-- The migration plan's table, taken literally, so that the demo can show what it would lose.
-- Only what DSQL refuses is written otherwise: indexes are ASYNC and have no direction, the CHECK stands in the table.
-- The plan's reference from series_id to items(id) is left out: rows arrive in any order while traffic is shadowed.
CREATE TABLE items (
  id uuid PRIMARY KEY,
  type varchar(50) NOT NULL,
  shelf varchar(50) NOT NULL,
  title varchar(500) NOT NULL,
  rating integer,
  image_url text,
  image_width integer,
  image_height integer,
  external_id varchar(255),
  notes text,
  added_at timestamptz NOT NULL DEFAULT now(),
  moved_at timestamptz NOT NULL DEFAULT now(),
  series_id uuid,
  data jsonb DEFAULT '{}'::jsonb,
  CONSTRAINT chk_series_id CHECK (series_id IS NULL OR type = 'TvSeason')
);
