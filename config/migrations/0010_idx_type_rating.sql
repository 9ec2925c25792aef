-- Serves the plan's ORDER BY rating DESC NULLS LAST, read backwards, which turns the nulls round too; and a least rating.
CREATE INDEX ASYNC idx_type_rating ON items (type, rating NULLS FIRST, id);
