-- Proves the CHECK for the rows that were there before it; a job, as for an index.
ALTER TABLE ASYNC items VALIDATE CONSTRAINT chk_series_id;
