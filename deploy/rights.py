"""Who may do what, as IAM statements: the proxy, the stream handler, the migrator. docs/operating.md shows them.

Nobody here may make, change or delete a table or the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_iam as iam

from deploy.wanted import Wanted

# What convergence, the ten operations on items and a sweep need. A transaction asks for its parts' actions
# ("DynamoDB API permissions: actions, resources, and conditions reference"). No PartiQL: it goes past the mirror.
ITEM_ACTIONS = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
)
# Leases, evidence, history and the state of a move (proxy/cutover/stage_table.py). The table is made by the stack.
STAGE_ACTIONS = (
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
)
# One key at a time, read and put right.
CONVERGE_ACTIONS = (
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
)
STREAM_ACTIONS = (
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
)


def runtime(wanted: Wanted, cluster_arn: str) -> Sequence[iam.PolicyStatement]:
    """The proxy's."""
    return (
        _allow("Items", ITEM_ACTIONS, wanted.table_arn, f"{wanted.table_arn}/index/*"),
        _allow("Stages", STAGE_ACTIONS, wanted.stage_table_arn),
        _allow("Mirror", ("dsql:DbConnect",), cluster_arn),
    )


def stream_handler(wanted: Wanted, cluster_arn: str, failures_arn: str) -> Sequence[iam.PolicyStatement]:
    """The Lambda function's. It reads the stages and moves none."""
    return (
        _allow("Items", CONVERGE_ACTIONS, wanted.table_arn),
        _allow("Stages", ("dynamodb:GetItem",), wanted.stage_table_arn),
        _allow("Stream", STREAM_ACTIONS, wanted.table_stream_arn),
        # ListStreams takes no resource ("Actions, resources, and condition keys for Amazon DynamoDB").
        _allow("Streams", ("dynamodb:ListStreams",), "*"),
        _allow("Failures", ("sqs:SendMessage",), failures_arn),
        _allow("Mirror", ("dsql:DbConnect",), cluster_arn),
    )


def migrator(cluster_arn: str) -> Sequence[iam.PolicyStatement]:
    """The schema's, and nothing of DynamoDB."""
    return (_allow("Schema", ("dsql:DbConnectAdmin",), cluster_arn),)


def _allow(sid: str, actions: Sequence[str], *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(resources))
