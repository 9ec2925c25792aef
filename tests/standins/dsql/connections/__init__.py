"""PostgreSQL's wire protocol: messages, and connections of a client's and to a server. Knows no SQL."""
