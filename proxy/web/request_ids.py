"""Names for requests: 52 letters and digits, as DynamoDB's are, never the same twice, in any process."""

import itertools
import secrets
from collections.abc import Iterator

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def request_ids() -> Iterator[str]:
    """An endless run of names: 40 random characters for this run, then a count of 12 hexadecimal digits."""
    prefix = "".join(secrets.choice(_DIGITS) for _ in range(40))
    for count in itertools.count():
        yield f"{prefix}{count:012X}"
