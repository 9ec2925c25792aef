"""Queries that rightly give nothing in the scene, by dashboard and panel, each with the reason."""

from typing import Final

from tests.observed.questions import Question

_NO_FAILURE: Final = "no store fails in the scene"

EMPTY: Final[dict[tuple[str, str], str]] = {
    ("crossfade_gave_up_total", ""): _NO_FAILURE,
    ("crossfade_undecoded_total", ""): "every request of the scene can be decoded",
    ("crossfade_dynamodb_undecided_total", ""): "the stand-in throttles nobody",
    ("crossfade_upstream_failures_total", ""): _NO_FAILURE,
    ("crossfade_dsql_connect_failures_total", ""): _NO_FAILURE,
    ("crossfade_dsql_connections_dropped_total", ""): "no connection is old enough to be dropped",
    ("crossfade_dsql_connect_seconds_bucket", ""): "connections are opened when the scene begins, and then kept",
    ("crossfade_dsql_token_seconds_bucket", ""): "the stand-in takes a password: no token is made",
    ("crossfade_mirror_retries_total", ""): "conflicts are up to chance",
    ("crossfade_expired_items_total", ""): "no table of the scene has a time to live",
    ("crossfade_stream_", ""): "no stream is followed in the scene",
    ("crossfade_items_", ""): "the items port is off in the scene",
    ("crossfade_spans_", ""): "tracing is off in the scene",
    ("crossfade_refused_requests_total", ""): "every request of the scene is let in",
    ("crossfade_refused_connections_total", ""): "no port of the scene is full",
    ("crossfade_passed_through_total", ""): "the scene asks nothing that is passed on unread",
    ("crossfade_ramped_reads_total", ""): "the ramp lasts about a second: whether it chooses a read is up to chance",
    ("crossfade_shed_total", "rate"): "nothing is shed unless a write comes while a flip holds",
}
"""By the metric that is asked for, and a word of the query."""


def reason(question: Question) -> str | None:
    """Why a query may give nothing; None if it must give something."""
    for (metric, word), why in EMPTY.items():
        if metric in question.expr and word in question.expr:
            return why
    return None
