"""What outlives any proxy: the DSQL cluster, the stage table, the registry for images, and who may do what.

Deployed first, and by itself: migrations and the grant of the database role come between it and the proxies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dsql as dsql
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from deploy import rights
from deploy.wanted import Wanted

_GITHUB = "token.actions.githubusercontent.com"


@dataclass(frozen=True, slots=True)
class Data:
    """The stack, and what the proxies' stack needs of it."""

    stack: cdk.Stack
    endpoint: str
    repository: ecr.IRepository
    failures: sqs.IQueue
    runtime: iam.Role
    stream_handler: iam.Role


def build(app: cdk.App, wanted: Wanted) -> Data:
    stack = cdk.Stack(
        app,
        "CrossfadeData",
        env=cdk.Environment(account=wanted.account, region=wanted.region),
        termination_protection=True,
        description="Crossfade: the DSQL cluster, the stage table, the registry and the roles",
    )
    cluster = dsql.CfnCluster(
        stack, "Cluster", deletion_protection_enabled=True, tags=[cdk.CfnTag(key="Name", value="crossfade")]
    )
    cluster.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
    # As the proxy would make it (StageTable.ensure), so that no proxy needs the right to make tables. Whoever loses it
    # has lost the knowledge of which store is the truth.
    dynamodb.Table(
        stack,
        "Stages",
        table_name=wanted.stage_table,
        partition_key=dynamodb.Attribute(name="scope", type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name="name", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        deletion_protection=True,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    repository = ecr.Repository(
        stack,
        "Images",
        repository_name="crossfade",
        image_scan_on_push=True,
        lifecycle_rules=[ecr.LifecycleRule(max_image_count=50)],
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    failures = sqs.Queue(
        stack,
        "StreamFailures",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    here = {"StringEquals": {"aws:SourceAccount": wanted.account}}
    runtime = _role(
        stack,
        "Runtime",
        "crossfade-runtime",
        iam.ServicePrincipal("ecs-tasks.amazonaws.com", conditions=here),
        rights.runtime(wanted, cluster.attr_resource_arn),
    )
    stream_handler = _role(
        stack,
        "StreamHandler",
        "crossfade-stream",
        iam.ServicePrincipal("lambda.amazonaws.com"),
        rights.stream_handler(wanted, cluster.attr_resource_arn, failures.queue_arn),
    )
    stream_handler.add_managed_policy(
        iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AWSLambdaBasicExecutionRole")
    )
    migrator = _role(
        stack,
        "Migrator",
        "crossfade-migrate",
        _github(wanted),
        rights.migrator(cluster.attr_resource_arn),
    )
    for name, value in (
        ("DsqlEndpoint", cluster.attr_endpoint),
        ("RepositoryUri", repository.repository_uri),
        ("RuntimeRoleArn", runtime.role_arn),
        ("StreamRoleArn", stream_handler.role_arn),
        ("MigratorRoleArn", migrator.role_arn),
    ):
        cdk.CfnOutput(stack, name, value=value)
    return Data(stack, cluster.attr_endpoint, repository, failures, runtime, stream_handler)


def _github(wanted: Wanted) -> iam.IPrincipal:
    """Jobs of one branch of one repository. The provider is one for an account, and there already where anything is
    deployed from GitHub."""
    provider = f"arn:aws:iam::{wanted.account}:oidc-provider/{_GITHUB}"
    subject = {f"{_GITHUB}:aud": "sts.amazonaws.com", f"{_GITHUB}:sub": wanted.migrator_subject}
    return iam.WebIdentityPrincipal(provider, {"StringEquals": subject})


def _role(
    stack: cdk.Stack, name: str, role_name: str, trusted: iam.IPrincipal, statements: Sequence[iam.PolicyStatement]
) -> iam.Role:
    """A role whose policy is all that it may do; its name is fixed, because `AWS IAM GRANT` in DSQL names its ARN."""
    role = iam.Role(stack, name, role_name=role_name, assumed_by=trusted)
    iam.Policy(stack, f"{name}Rights", roles=[role], statements=list(statements))
    return role
