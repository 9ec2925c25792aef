-- Serves DynamoDB's index `shelf-addedAt`.
CREATE INDEX ASYNC idx_type_shelf_added ON items (type, shelf, added_at, id);
