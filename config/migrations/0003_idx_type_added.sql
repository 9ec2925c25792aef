-- Serves DynamoDB's index `type-addedAt`.
CREATE INDEX ASYNC idx_type_added ON items (type, added_at, id);
