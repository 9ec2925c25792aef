"""What CloudWatch wakes somebody for. Prometheus knows far more (dashboards/); these work where there is none.

Events are those that the proxies log, one JSON object a line. DSQL's own metrics are not here: what namespace and
dimensions they have was not to be found out without a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambdas
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from deploy.data import Data
from deploy.service import Service
from deploy.wanted import Wanted

_NAMESPACE: Final = "Crossfade"
# A stream keeps a record for 24 hours; what is older than this is on its way to be lost.
_ITERATOR_HOURS: Final = 6


@dataclass(frozen=True, slots=True)
class Told:
    """An event in the proxies' log that somebody should look at."""

    name: str
    pattern: str
    means: str


TOLD: Final = (
    Told("Mismatch", '{ $.event = "verdict" && $.verdict = "mismatch" }', "the stores disagree: see /v1/mismatches"),
    Told("KeyParked", '{ $.event = "key_parked" }', "an item that the mapping cannot hold: run crossfade preflight"),
    Told("JournalUnwritable", '{ $.event = "journal_unwritable" }', "writes are refused: free the task's disk"),
    Told("NoLease", '{ $.event = "no_lease" }', "a proxy serves nothing: it cannot reach the stage table"),
    Told("StageTable", '{ $.event = "stage_table_out_of_reach" }', "the stages cannot be read"),
    Told("DsqlNotConnected", '{ $.event = "dsql_not_connected" }', "DSQL cannot be reached: the event has the remedy"),
    Told("StoreRefused", '{ $.event = "store_refused" }', "a store takes no writes: the event names the remedy"),
)


def build(stack: cdk.Stack, wanted: Wanted, data: Data, service: Service, function: lambdas.Function) -> None:
    topic = sns.Topic(stack, "Alarms", enforce_ssl=True)
    if wanted.alarm_email:
        topic.add_subscription(subscriptions.EmailSubscription(wanted.alarm_email))
    action = actions.SnsAction(topic)

    def alarm(name: str, metric: cloudwatch.IMetric, threshold: float, means: str, periods: int = 1) -> None:
        cloudwatch.Alarm(
            stack,
            f"{name}Alarm",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{means} (docs/operating.md)",
        ).add_alarm_action(action)

    minute = cdk.Duration.minutes(1)
    unready = service.targets.metrics.un_healthy_host_count(statistic="Maximum", period=minute)
    alarm("Unready", unready, 1, "a proxy is not ready: ask its /readyz for the reasons", periods=3)
    for each in TOLD:
        metric = logs.MetricFilter(
            stack,
            f"{each.name}Filter",
            log_group=service.log_group,
            filter_pattern=logs.FilterPattern.literal(each.pattern),
            metric_namespace=_NAMESPACE,
            metric_name=each.name,
            default_value=0,
        ).metric(statistic="Sum", period=minute)
        alarm(each.name, metric, 1, each.means)
    alarm("StreamErrors", function.metric_errors(period=minute), 1, "the stream handler fails", periods=3)
    age = function.metric("IteratorAge", statistic="Maximum", period=minute)
    alarm("StreamAge", age, _ITERATOR_HOURS * 3_600_000, "the stream handler lags: its records are kept for 24 hours")
    failed = data.failures.metric_approximate_number_of_messages_visible(period=minute)
    alarm("StreamFailures", failed, 1, "records that could not be taken: run crossfade verify --repair")
