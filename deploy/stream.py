"""The stream handler: the Lambda function that converges what went past the proxies (docs/streams.md)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambdas

from deploy.data import Data
from deploy.wanted import Wanted

_SECONDS = 60


def build(stack: cdk.Stack, wanted: Wanted, data: Data) -> lambdas.Function:
    function = lambdas.DockerImageFunction(
        stack,
        "Stream",
        function_name="crossfade-stream",
        code=lambdas.DockerImageCode.from_ecr(data.repository, tag_or_digest=f"{wanted.image_tag}-lambda"),
        role=iam.Role.from_role_arn(stack, "StreamRole", data.stream_handler.role_arn, mutable=False),
        timeout=cdk.Duration.seconds(_SECONDS),
        memory_size=512,
        environment={
            "CROSSFADE_MAPPINGS": wanted.mapping,
            "CROSSFADE_STAGES__TABLE": wanted.stage_table,
            "CROSSFADE_DYNAMODB__REGION": wanted.region,
            "CROSSFADE_DSQL__ENDPOINT": data.endpoint,
            "CROSSFADE_DSQL__REGION": wanted.region,
            "CROSSFADE_DSQL__USER": wanted.database_role,
            # One batch at a time in an environment: more would lie idle, and all of them count at the cluster.
            "CROSSFADE_DSQL__POOL_MAX": "4",
        },
    )
    # The function has no journal: the stream is it. So a record is given again for as long as the stream keeps it.
    lambdas.CfnEventSourceMapping(
        stack,
        "StreamMapping",
        function_name=function.function_name,
        event_source_arn=wanted.table_stream_arn,
        starting_position="TRIM_HORIZON",
        batch_size=100,
        maximum_batching_window_in_seconds=1,
        function_response_types=["ReportBatchItemFailures"],
        bisect_batch_on_function_error=True,
        maximum_retry_attempts=10_000,
        destination_config=lambdas.CfnEventSourceMapping.DestinationConfigProperty(
            on_failure=lambdas.CfnEventSourceMapping.OnFailureProperty(destination=data.failures.queue_arn)
        ),
    )
    return function
