-- Serves DynamoDB's index `externalId`.
CREATE INDEX ASYNC idx_external_id ON items (external_id, moved_at, type, id) WHERE external_id IS NOT NULL;
