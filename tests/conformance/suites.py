"""Which suites are run: where they come from, and which of their tests ask a DynamoDB something.

A suite is a source distribution on PyPI, by version and hash: none of it is in this repository. Left out are tests of
the project's own parts (parsers, models, its server) and of other AWS services.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One suite of another project."""

    name: str
    """The distribution's name, and its version."""
    version: str
    sha256: str
    """The hash of the source distribution."""
    tests: str
    """The folder or file of its tests, within the distribution."""
    left_out: tuple[str, ...] = ()
    """Files within `tests` that ask no DynamoDB, or other services too."""
    endpoint_variable: str = "AWS_ENDPOINT_URL_DYNAMODB"
    """The environment variable that says where to ask."""

    unstable: tuple[str, ...] = ()
    """Tests that pass or fail by chance."""
    shared_tables: bool = False
    """Whether tests use tables that others have made; else each begins without any."""

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pins the source distribution."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


SUITES: Final = (
    Suite(
        name="moto",
        version="5.2.5",
        sha256="391857257d5dac144334013c2c10e599def5f0562f553e979160140bd7bd9cf6",
        tests="tests/test_dynamodb",
        left_out=(
            "models",
            "test_dynamodb_account_mode.py",
            "test_dynamodb_cloudformation.py",
            "test_dynamodb_executor.py",
            "test_dynamodb_export_table.py",
            "test_dynamodb_expression_tokenizer.py",
            "test_dynamodb_expressions.py",
            "test_dynamodb_iam_permission.py",
            "test_dynamodb_import_table.py",
            "test_dynamodb_utils.py",
            "test_dynamodb_validation.py",
            "test_server.py",
        ),
        # It expects names that it draws at random in the order of their making; DynamoDB lists them by name.
        unstable=("test_dynamodb.py::test_list_tables[multiple-tables]",),
    ),
    Suite(
        name="ministack",
        version="1.5.33",
        sha256="75d36c6d3ce600cf3f93093e8471c0252aae16a411b22716b677a65399ce6f2e",
        tests="tests/test_dynamodb.py",
        endpoint_variable="MINISTACK_ENDPOINT",
        shared_tables=True,
    ),
)
