CREATE INDEX ASYNC idx_type_shelf_moved ON items (type, shelf, moved_at);
