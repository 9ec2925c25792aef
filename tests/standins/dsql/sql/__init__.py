"""SQL as DSQL takes it: statements read with PostgreSQL's parser, what is refused of them, how PostgreSQL gets them.

Pure: no connection, and nothing of what a database holds.
"""
