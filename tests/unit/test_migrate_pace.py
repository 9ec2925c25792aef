"""The token bucket keeps its rate over time, and the bar says what there is to say."""

import asyncio
import time

import pytest

from proxy.cli.progress import ProgressSnapshot, progress_line
from proxy.migrate.table_jobs.rate_limiter import Rate, RateLimiter


@pytest.mark.parametrize(
    ("text", "a_second", "unit"),
    [("500", 500, "items"), ("2.5items", 2.5, "items"), ("200rcu", 200, "rcu"), (" 7RCU ", 7, "rcu")],
)
def test_rates_as_they_are_written(text: str, a_second: float, unit: str) -> None:
    assert Rate.parse(text) == Rate(a_second, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "10 wcu", "1e3", "rcu"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        Rate.parse(text)


@pytest.mark.parametrize(("unit", "spend"), [("items", {"items": 20}), ("rcu", {"rcu": 20.0})])
async def test_the_rate_is_kept_however_many_readers_there_are(
    unit: str, spend: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of its own: it goes on by what a reader waits, and no machine can hold it up."""
    now, sleep = 1000.0, asyncio.sleep

    async def wait(seconds: float) -> None:
        nonlocal now
        now += seconds
        await sleep(0)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", wait)
    pace = RateLimiter(Rate(200, unit))  # type: ignore[arg-type]
    spent = 0.0

    async def reader() -> None:
        nonlocal spent
        while now - began < 10.0:
            await pace.wait()
            pace.charge(**spend)  # type: ignore[arg-type]
            spent += 20
            await sleep(0)

    began = now
    await asyncio.gather(*(reader() for _ in range(4)))
    seconds = now - began
    # A burst of one second's worth, and one read beyond for each reader that was let in together.
    assert 200 * seconds <= spent <= 200 * (seconds + 1) + 4 * 20


async def test_without_a_rate_nobody_waits() -> None:
    pace = RateLimiter(None)
    pace.charge(items=10**9, rcu=1e9)
    await asyncio.wait_for(pace.wait(), 60)


def test_a_page_is_about_a_second_s_worth() -> None:
    assert [Rate(each, "items").page_items for each in (1, 50, 5000)] == [10, 50, 1000]


def test_the_bar() -> None:
    now = ProgressSnapshot(items=500, total=2000, size=1_500_000, rcu=120.4, retries=2, remark="3 inserted")
    assert progress_line("backfill", now, 100, 10.0, bar=True) == (
        "backfill  [######..................]   25% of about 2,000  500 items  40/s  1.5 MB  120 RCU  "
        "0:38 to go  2 retries  3 inserted"
    ).replace("   25%", "   25%")


def test_a_line_without_a_total() -> None:
    text = progress_line("verify", ProgressSnapshot(10, None, 0, 0.0, 0, ""), 0, 0.0, bar=True)
    assert text == "verify  10 items  0/s  0.0 MB  0 RCU  0 retries"
