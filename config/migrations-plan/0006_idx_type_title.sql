CREATE INDEX ASYNC idx_type_title ON items (type, title);
