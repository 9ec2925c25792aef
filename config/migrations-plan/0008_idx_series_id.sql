CREATE INDEX ASYNC idx_series_id ON items (series_id, moved_at) WHERE series_id IS NOT NULL;
