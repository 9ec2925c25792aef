"""The ways in which asking a store can fail, by what may have happened there. The words of the seam; no code.

`Unreachable` certainly had no effect; of `UnknownOutcome` nobody can tell (RFC 9110, 9.2.2: such a request must not be
repeated unless repeating is known to do no harm).
"""


class StoreError(Exception):
    """A store could not do what was asked. `reason` is a short label for metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class Unreachable(StoreError):
    """Nothing has happened in the store, and nothing will: it may be asked again."""


class TooMuchContention(Unreachable):
    """Other writers were faster, each time that it was tried.

    `parts` is how many parts the transaction has that gave up; 0 for an operation that is none.
    """

    def __init__(self, detail: str, parts: int = 0) -> None:
        super().__init__("occ", detail)
        self.parts = parts


class UnknownOutcome(StoreError):
    """The write may have happened, or may still happen until the store's settle time has passed."""


class Refused(StoreError):
    """The store understood and will not do it, however often it is asked (a constraint, a missing table)."""


class CredentialsError(Exception):
    """No AWS credentials were found, or they could not be fetched: why, and the remedy. No store was asked."""
