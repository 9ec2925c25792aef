"""`python -m benchmarks.signatures`: CPU µs for verifying one client's signature, by the size of the body."""

import time
from collections.abc import Callable

from multidict import CIMultiDict, CIMultiDictProxy

from proxy.wire.signatures import Signatures
from tests.unit.signing import KEY, NOW, REGION, signed

_SIZES = (50, 1_000, 10_000, 100_000, 400_000)
_ROUNDS = 15
_ROUND_SECONDS = 0.05
# What boto3 sends beside what it signs.
_UNSIGNED = (
    ("Accept-Encoding", "identity"),
    ("User-Agent", "Boto3/1.40.61 md/Botocore#1.40.61 ua/2.1 os/linux lang/python#3.11 cfg/retry-mode#standard"),
    ("amz-sdk-invocation-id", "6b1c2f5e-3f0c-4b7e-9a53-0c5b0f0a8f27"),
    ("amz-sdk-request", "attempt=1"),
)


def main() -> None:
    """Print one line a size: the best of several rounds, because the machine does other things too."""
    signatures = Signatures([KEY], REGION)
    for size in _SIZES:
        sent = signed(body=b"x" * size)
        headers = CIMultiDictProxy(CIMultiDict([*sent.headers, *_UNSIGNED, ("Content-Length", str(size))]))

        def once(headers: CIMultiDictProxy[str] = headers, body: bytes = sent.body) -> None:
            signatures.claim("POST", "/", headers, NOW).check(body)

        print(f"{size:8,} bytes  {min(_round(once) for _ in range(_ROUNDS)) * 1e6:6.1f} µs", flush=True)


def _round(once: Callable[[], None]) -> float:
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < _ROUND_SECONDS:
        for _ in range(20):
            once()
        count += 20
    return spent / count


if __name__ == "__main__":
    main()
