-- Serves DynamoDB's index `type`.
CREATE INDEX ASYNC idx_type_moved ON items (type, moved_at, id);
