"""A stand-in for Aurora DSQL, held to what real clusters answered: PostgreSQL behind a gate. README.md says how."""

from tests.standins.dsql.gate import Dsql as Dsql
