-- The plan's CHECK. To a table that is there DSQL adds one unproven only, and proves it afterwards (the next file).
-- The mapping knows it (`only` in config/billio.toml), so that what breaks it is told before anything is written.
ALTER TABLE items ADD CONSTRAINT chk_series_id CHECK (series_id IS NULL OR type = 'TvSeason') NOT VALID;
