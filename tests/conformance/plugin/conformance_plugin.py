"""A plugin for pytest that takes moto's mocks away: its tests ask the endpoint in AWS_ENDPOINT_URL_DYNAMODB instead.

Loaded with `-p conformance_plugin` into an environment that has none of Crossfade. Before each test, every table goes,
unless CONFORMANCE_SHARED_TABLES is set.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import boto3
import botocore.exceptions
import pytest

try:
    import moto  # type: ignore[import-not-found]
except ImportError:  # the suite does not use it
    moto = None


class _NoMock:
    """`mock_aws`, as decorator and as context manager, with no effect."""

    def __enter__(self) -> _NoMock:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, test: Any) -> Any:
        return test

    def start(self, *_: object, **__: object) -> None:
        pass

    def stop(self) -> None:
        pass


def _no_mock(*tests: Any, **_: object) -> Any:
    return tests[0] if tests and callable(tests[0]) else _NoMock()


if moto is not None:
    moto.mock_aws = _no_mock


@pytest.fixture
def ddb() -> Any:
    """The client that ministack's tests ask for; its source distribution lacks the file that makes it."""
    return boto3.client("dynamodb", region_name="us-east-1")


_last: list[object] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Delete every table before any fixture makes one: before each test, and before each class, whose tests share them.

    Not in a suite whose tests share tables throughout.
    """
    here = getattr(item, "cls", None)
    if "CONFORMANCE_SHARED_TABLES" in os.environ or (here is not None and _last == [here]):
        return
    _last[:] = [here]
    client = boto3.client("dynamodb", region_name="us-east-1")
    names = [name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    for name in names:
        with contextlib.suppress(botocore.exceptions.ClientError):
            client.update_table(TableName=name, DeletionProtectionEnabled=False)
        with contextlib.suppress(botocore.exceptions.ClientError):
            client.delete_table(TableName=name)
