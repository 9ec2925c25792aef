"""The stores that tests, the demo and the benchmarks run against: real servers, started as children of this process.

Nothing here is part of the product, and nothing here may be imported by it. Each module launches one kind of server:
`postgres` (PostgreSQL 16), `dynamodb` (ministack, and DynamoDB Local where it can be fetched) and `dsql` (a gate in
front of PostgreSQL that refuses what Aurora DSQL refuses). All listen on 127.0.0.1 only and die with their parent.
"""
