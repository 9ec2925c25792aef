-- Serves DynamoDB's index `category`.
CREATE INDEX ASYNC idx_category_moved ON items (category, moved_at, type, id) WHERE category IS NOT NULL;
