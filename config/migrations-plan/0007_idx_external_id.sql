CREATE INDEX ASYNC idx_external_id ON items (external_id) WHERE external_id IS NOT NULL;
