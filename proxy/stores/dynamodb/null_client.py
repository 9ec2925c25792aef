"""Where DynamoDB was: for a proxy whose tables are all `complete`, and which needs it for nothing.

Whatever is asked of it all the same has certainly not been done.
"""

from __future__ import annotations

from typing import NoReturn, Self

from proxy.stores.errors import Unreachable


class NullDynamoDBClient:
    """Stands where an `Upstream` stands. `region` is what clients sign for."""

    def __init__(self, region: str) -> None:
        self.region = region

    def control(self) -> Self:
        """There are no connections to tell apart."""
        return self

    async def request(self, *_: object, **__: object) -> NoReturn:
        raise Unreachable("gone", "every table is complete: this proxy has no DynamoDB")

    async def request_raw(self, *_: object, **__: object) -> NoReturn:
        raise Unreachable("gone", "every table is complete: this proxy has no DynamoDB")

    async def reach(self, **_: object) -> None:
        """There is nothing that would have to be reached."""

    async def close(self) -> None:
        return None
