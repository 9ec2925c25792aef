"""The proxies: tasks on Fargate behind an internal load balancer that ends TLS, and nothing that must outlive them.

The balancer works on connections (an NLB), so that the bytes that a client has signed arrive as they were. A task's
disk goes with it: docs/operating.md says what that means for the journal, docs/decisions/060 why it is so.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secrets

from deploy.data import Data
from deploy.wanted import Wanted

DATA_PORT = 8000
ADMIN_PORT = 8001
# Requests under way, then keys that are to converge: together well below what Fargate gives a container to stop.
FINISH_SECONDS = 20
CONVERGE_SECONDS = 80
STOP_SECONDS = 120
_HOME = "/var/lib/crossfade"


@dataclass(frozen=True, slots=True)
class Service:
    """What alarms look at."""

    targets: elb.NetworkTargetGroup
    log_group: logs.LogGroup


def build(stack: cdk.Stack, wanted: Wanted, data: Data) -> Service:
    vpc = _network(stack, wanted)
    log_group = logs.LogGroup(stack, "Log", retention=logs.RetentionDays.THREE_MONTHS)
    task = _task(stack, wanted, data, log_group)
    balancer_group = ec2.SecurityGroup(stack, "BalancerGroup", vpc=vpc, allow_all_outbound=False)
    proxy_group = ec2.SecurityGroup(stack, "ProxyGroup", vpc=vpc)
    for port in (443, 8443):
        balancer_group.add_ingress_rule(ec2.Peer.ipv4(wanted.client_cidr), ec2.Port.tcp(port))
    for port in (DATA_PORT, ADMIN_PORT):
        balancer_group.add_egress_rule(proxy_group, ec2.Port.tcp(port))
        proxy_group.add_ingress_rule(balancer_group, ec2.Port.tcp(port))
    service = ecs.FargateService(
        stack,
        "Service",
        cluster=ecs.Cluster(
            stack, "Tasks", vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENABLED, cluster_name="crossfade"
        ),
        task_definition=task,
        desired_count=wanted.tasks,
        # A new task serves before an old one stops.
        min_healthy_percent=100,
        max_healthy_percent=200,
        circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
        security_groups=[proxy_group],
        assign_public_ip=False,
        health_check_grace_period=cdk.Duration.seconds(60),
    )
    balancer = elb.NetworkLoadBalancer(
        stack, "Balancer", vpc=vpc, internet_facing=False, cross_zone_enabled=True, security_groups=[balancer_group]
    )
    certificate = acm.Certificate.from_certificate_arn(stack, "Certificate", wanted.certificate_arn)
    targets = _listen(stack, "Data", 443, DATA_PORT, vpc, balancer, certificate, service)
    # A browser that is signed in to the console must stay with one proxy (docs/console.md).
    admin = _listen(stack, "Admin", 8443, ADMIN_PORT, vpc, balancer, certificate, service)
    admin.set_attribute("stickiness.enabled", "true")
    admin.set_attribute("stickiness.type", "source_ip")
    cdk.CfnOutput(stack, "BalancerName", value=balancer.load_balancer_dns_name)
    return Service(targets, log_group)


def _network(stack: cdk.Stack, wanted: Wanted) -> ec2.IVpc:
    if wanted.vpc_id:
        return ec2.Vpc.from_vpc_attributes(
            stack,
            "Network",
            vpc_id=wanted.vpc_id,
            availability_zones=list(wanted.availability_zones),
            private_subnet_ids=list(wanted.private_subnet_ids),
        )
    vpc = ec2.Vpc(
        stack,
        "Network",
        availability_zones=[f"{wanted.region}a", f"{wanted.region}b"],
        nat_gateways=1,
        restrict_default_security_group=False,
    )
    # DynamoDB's requests need not go through (and be paid at) the NAT gateway.
    vpc.add_gateway_endpoint("DynamoDB", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
    return vpc


def _task(stack: cdk.Stack, wanted: Wanted, data: Data, log_group: logs.LogGroup) -> ecs.FargateTaskDefinition:
    task = ecs.FargateTaskDefinition(
        stack,
        "Task",
        cpu=wanted.cpu,
        memory_limit_mib=wanted.memory_mib,
        task_role=iam.Role.from_role_arn(stack, "RuntimeRole", data.runtime.role_arn, mutable=False),
        volumes=[ecs.Volume(name="journal")],
    )
    secret = secrets.Secret.from_secret_name_v2(stack, "Secret", wanted.secret_name)
    held = {
        "CROSSFADE_ADMIN__OPERATOR_TOKEN": "operator_token",
        "CROSSFADE_ADMIN__READ_TOKEN": "read_token",
        **{f"CROSSFADE_AUTH__KEYS__{key}__SECRET_ACCESS_KEY": key for key in wanted.client_keys},
    }
    container = task.add_container(
        "proxy",
        image=ecs.ContainerImage.from_ecr_repository(data.repository, wanted.image_tag),
        environment={
            "CROSSFADE_LISTEN": f"0.0.0.0:{DATA_PORT}",
            "CROSSFADE_ADMIN__LISTEN": f"0.0.0.0:{ADMIN_PORT}",
            "CROSSFADE_AUTH__MODE": "sigv4",
            "CROSSFADE_MAPPINGS": wanted.mapping,
            "CROSSFADE_STAGES__TABLE": wanted.stage_table,
            "CROSSFADE_DYNAMODB__REGION": wanted.region,
            "CROSSFADE_DSQL__ENDPOINT": data.endpoint,
            # An endpoint from CloudFormation is no text yet when this is written: its region is said beside it.
            "CROSSFADE_DSQL__REGION": wanted.region,
            "CROSSFADE_DSQL__USER": wanted.database_role,
            "CROSSFADE_JOURNAL__PATH": f"{_HOME}/journal.sqlite",
            "CROSSFADE_SHUTDOWN__FINISH_SECONDS": str(FINISH_SECONDS),
            "CROSSFADE_SHUTDOWN__CONVERGE_SECONDS": str(CONVERGE_SECONDS),
            **wanted.tracing,
        },
        secrets={name: ecs.Secret.from_secrets_manager(secret, field) for name, field in held.items()},
        port_mappings=[ecs.PortMapping(container_port=port) for port in (DATA_PORT, ADMIN_PORT)],
        # Alive, not ready: a task must not be ended because a store is away.
        health_check=ecs.HealthCheck(
            command=["CMD", "crossfade", "health", f"http://127.0.0.1:{ADMIN_PORT}/livez"],
            interval=cdk.Duration.seconds(10),
            timeout=cdk.Duration.seconds(5),
            start_period=cdk.Duration.seconds(20),
        ),
        logging=ecs.LogDriver.aws_logs(stream_prefix="proxy", log_group=log_group),
        readonly_root_filesystem=True,
        stop_timeout=cdk.Duration.seconds(STOP_SECONDS),
        user="10001",
    )
    container.add_mount_points(ecs.MountPoint(container_path=_HOME, source_volume="journal", read_only=False))
    return task


def _listen(
    stack: cdk.Stack,
    name: str,
    port: int,
    target_port: int,
    vpc: ec2.IVpc,
    balancer: elb.NetworkLoadBalancer,
    certificate: acm.ICertificate,
    service: ecs.FargateService,
) -> elb.NetworkTargetGroup:
    """A listener with TLS, and the tasks behind it; whether they are ready is asked at the admin port of each."""
    targets = elb.NetworkTargetGroup(
        stack,
        f"{name}Targets",
        vpc=vpc,
        port=target_port,
        protocol=elb.Protocol.TCP,
        target_type=elb.TargetType.IP,
        deregistration_delay=cdk.Duration.seconds(30),
        targets=[service.load_balancer_target(container_name="proxy", container_port=target_port)],
        health_check=elb.HealthCheck(
            protocol=elb.Protocol.HTTP,
            port=str(ADMIN_PORT),
            path="/readyz",
            interval=cdk.Duration.seconds(10),
            timeout=cdk.Duration.seconds(6),
            healthy_threshold_count=2,
            unhealthy_threshold_count=2,
        ),
    )
    balancer.add_listener(
        f"{name}Listener",
        port=port,
        protocol=elb.Protocol.TLS,
        certificates=[certificate],
        ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
        default_target_groups=[targets],
    )
    return targets
