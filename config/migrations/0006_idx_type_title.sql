-- Serves DynamoDB's index `title`.
CREATE INDEX ASYNC idx_type_title ON items (type, title, id);
