-- The same within a shelf.
CREATE INDEX ASYNC idx_type_shelf_rating ON items (type, shelf, rating NULLS FIRST, id);
