"""The numbers: the names that dashboards and rules rely on, bounded labels, and no clash between two proxies."""

from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics.labels import OTHER, bounded
from proxy.metrics.registry import Metrics
from proxy.stores.dsql.pool import PoolState


def counted() -> Metrics:
    metrics = Metrics()
    metrics.comparison.compared("items", "Book", "GetItem", "agreed", 3)
    metrics.comparison.difference("items", "Book", "rating", "value", "mismatch")
    metrics.stores.store_seconds("dynamodb", "GetItem", 0.0004)
    metrics.stores.store_seconds("dsql", "get", 0.2)
    metrics.wire.proxy_seconds("GetItem", 200, 0.002)
    metrics.journal.converged(1.5)
    metrics.journal.backlog(7, 2.5, 1)
    metrics.tasks(23)
    metrics.stores.mirror_retried("conflict")
    metrics.comparison.shed("queue")
    metrics.cutover.stage("items", "Book", "shadow")
    metrics.stores.breaker("dsql", True)
    metrics.comparison.undecoded("PutItem")
    metrics.wire.passed_through("ListTables")
    metrics.stores.upstream_failed("unknown", "timeout")
    metrics.stores.dsql_pool(lambda: PoolState(open=5, idle=2, connecting=1, waiting=3))
    metrics.stores.dsql_connected(0.04)
    metrics.stores.dsql_connect_failed("certificate")
    metrics.stores.dsql_connection_dropped("expired")
    metrics.stores.dsql_token_made(0.03)
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_each_fact_is_one_series_with_its_labels() -> None:
    found = samples(counted())
    book = (("table", "items"), ("type", "Book"))
    expected = {
        ("crossfade_comparisons_total", (("operation", "GetItem"), *book, ("verdict", "agreed"))): 3,
        (
            "crossfade_differences_total",
            (("field", "rating"), ("kind", "value"), *book, ("verdict", "mismatch")),
        ): 1,
        ("crossfade_store_seconds_count", (("operation", "GetItem"), ("store", "dynamodb"))): 1,
        ("crossfade_store_seconds_sum", (("operation", "get"), ("store", "dsql"))): 0.2,
        ("crossfade_proxy_seconds_count", (("operation", "GetItem"), ("status", "200"))): 1,
        ("crossfade_convergence_seconds_sum", ()): 1.5,
        ("crossfade_journal_keys", ()): 7,
        ("crossfade_journal_oldest_seconds", ()): 2.5,
        ("crossfade_parked_keys", ()): 1,
        ("crossfade_tasks", ()): 23,
        ("crossfade_mirror_retries_total", (("reason", "conflict"),)): 1,
        ("crossfade_shed_total", (("reason", "queue"),)): 1,
        ("crossfade_stage", (("stage", "shadow"), *book)): 1,
        ("crossfade_breaker_open", (("store", "dsql"),)): 1,
        ("crossfade_undecoded_total", (("operation", "PutItem"),)): 1,
        ("crossfade_passed_through_total", (("operation", "ListTables"),)): 1,
        ("crossfade_upstream_failures_total", (("outcome", "unknown"), ("reason", "timeout"))): 1,
        ("crossfade_dsql_connections", (("state", "open"),)): 5,
        ("crossfade_dsql_connections", (("state", "idle"),)): 2,
        ("crossfade_dsql_connections", (("state", "connecting"),)): 1,
        ("crossfade_dsql_waiting", ()): 3,
        ("crossfade_dsql_connect_seconds_count", ()): 1,
        ("crossfade_dsql_connect_failures_total", (("reason", "certificate"),)): 1,
        ("crossfade_dsql_connections_dropped_total", (("reason", "expired"),)): 1,
        ("crossfade_dsql_token_seconds_sum", ()): 0.03,
    }
    for series, value in expected.items():
        assert found[series] == value
    assert any(name == "process_cpu_seconds_total" for name, _ in found)


def test_the_buckets_begin_at_half_a_millisecond() -> None:
    found = samples(counted())
    for labels in ((("operation", "GetItem"), ("store", "dynamodb")),):
        first = tuple(sorted((("le", "0.0005"), *labels)))
        assert found["crossfade_store_seconds_bucket", first] == 1


def test_no_series_of_creation_times() -> None:
    assert b"_created" not in counted().text()


def test_a_client_cannot_make_up_series() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.wire.proxy_seconds(f"Made{number}", 400, 0.1)
        metrics.wire.passed_through(f"Made{number}")
        metrics.stores.store_seconds("dynamodb", f"Made{number}", 0.1)
    assert b"Made" not in metrics.text()
    assert samples(metrics)["crossfade_passed_through_total", (("operation", OTHER),)] == 1000
    assert bounded("PutItem") == "PutItem"


def test_a_stage_that_was_left_is_zero() -> None:
    metrics = Metrics()
    metrics.cutover.stage("items", "", "off")
    metrics.cutover.stage("items", "", "shadow")
    metrics.cutover.stage("items", "", "shadow")
    found = samples(metrics)
    assert found["crossfade_stage", (("stage", "off"), ("table", "items"), ("type", ""))] == 0
    assert found["crossfade_stage", (("stage", "shadow"), ("table", "items"), ("type", ""))] == 1


def test_two_in_one_process_do_not_meet() -> None:
    one, other = counted(), Metrics()
    assert samples(one)["crossfade_journal_keys", ()] == 7
    assert samples(other)["crossfade_journal_keys", ()] == 0


def test_one_name_alone_can_be_asked_for() -> None:
    text = counted().text(["crossfade_journal_keys"])
    assert b"crossfade_journal_keys 7.0" in text
    assert b"crossfade_stage" not in text
