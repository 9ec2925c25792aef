-- Serves DynamoDB's index `seriesId`: seasons in the order of their numbers.
CREATE INDEX ASYNC idx_series_season ON items (series_id, season_number, type, id) WHERE series_id IS NOT NULL;
