"""Fixtures that every kind of test shares: the embedded stores, one of each for the whole session.

A test that kills or hangs a store starts its own (`Postgres()`, `Ministack()`); these must stay whole.

Hypothesis shows every run of the suite the same examples, on any machine: what is searched for by chance is searched
for by `make fuzz`, where finding it holds up nobody's change.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

import proxy
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

SAME = "same"
SEARCH = "search"
_ON_ANY_MACHINE: Any = {"database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile(SAME, derandomize=True, **_ON_ANY_MACHINE)
settings.register_profile(SEARCH, derandomize=False, print_blob=True, **_ON_ANY_MACHINE)
settings.load_profile(SAME)
# Hypothesis also draws constants that stand in the modules loaded so far. What the product loads only when it is needed
# would be there or not by which tests the worker had before.
for _module in pkgutil.walk_packages(proxy.__path__, "proxy."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

_configure = structlog.configure


def _configure_for_a_test(*arguments: Any, **settings: Any) -> None:
    """A logger that is cached would go on writing to the output of the test that configured it, which is closed."""
    _configure(*arguments, **(settings | {"cache_logger_on_first_use": False}))


structlog.configure = _configure_for_a_test


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary parameters by their length: workers refuse to begin where names differ, and gzip writes the time."""
    return f"{argname}-of-{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def logging_as_it_comes() -> Iterator[None]:
    """What a test makes of the log ends with it; what a fixture of its module has made of it does not."""
    before = structlog.get_config() if structlog.is_configured() else None
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, for all tests of the session."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def dsql_gate(postgres: Postgres) -> Iterator[Dsql]:
    """The gate that refuses what DSQL refuses, in front of the session's PostgreSQL."""
    with Dsql(postgres) as gate:
        yield gate


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    """A running ministack; use `dynamodb` for one without tables."""
    with Ministack() as store:
        yield store


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The DSN of a fresh, empty database, dropped afterwards."""
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def dsql_database(dsql_gate: Dsql, database: str) -> str:
    """The DSN of the same fresh database, through the DSQL gate."""
    return dsql_gate.dsn(database.rsplit("/", 1)[1])


@pytest.fixture
def dynamodb(ministack: Ministack) -> str:
    """The endpoint of a DynamoDB with no tables."""
    ministack.reset()
    return ministack.endpoint
