"""What the CDK app makes, held against what the product needs and what nobody should be able to do.

The app is imported where it is needed: CDK takes seconds, and every worker imports every file of tests.
"""

import ast
import asyncio
import importlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.wanted import Wanted, WrongContext
from proxy.cutover.stage_table import StageTable
from proxy.dynamodb.operations import ACTIONS
from proxy.dynamodb.outcome import Outcome
from proxy.settings import Settings, load
from tests.deploy.templates import CONTEXT, ROOT, Templates, templates


@pytest.fixture(scope="module")
def made() -> Templates:
    return templates()


def only(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    assert len(found) == 1
    return next(iter(found.values()))


def test_cloudformation_has_nothing_to_say_against_it(made: Templates) -> None:
    assert not made.violations


# -- what stays -------------------------------------------------------------------------------------------------------


def test_the_cluster_cannot_be_deleted_by_mistake(made: Templates) -> None:
    resources = [each for each in made.data["Resources"].values() if each["Type"] == "AWS::DSQL::Cluster"]
    assert len(resources) == 1
    assert resources[0]["Properties"]["DeletionProtectionEnabled"] is True
    assert resources[0]["DeletionPolicy"] == resources[0]["UpdateReplacePolicy"] == "Retain"


def test_the_endpoint_is_an_output(made: Templates) -> None:
    value = made.data["Outputs"]["DsqlEndpoint"]["Value"]
    name, attribute = value["Fn::GetAtt"]
    assert (made.data["Resources"][name]["Type"], attribute) == ("AWS::DSQL::Cluster", "Endpoint")


class NoTableYet:
    """DynamoDB before the stage table is there: it takes CreateTable, and keeps what it was asked."""

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}

    async def call(self, action: str, body: bytes) -> Outcome:
        if action == "CreateTable":
            self.created = orjson.loads(body)
            return Outcome.of({})
        if self.created:
            return Outcome.of({"Table": {"TableStatus": "ACTIVE"}})
        return Outcome.of({"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}, 400)


def test_the_stage_table_is_the_one_that_a_proxy_would_make(made: Templates) -> None:
    asked = NoTableYet()
    asyncio.run(StageTable(asked, made.wanted.stage_table).ensure())
    table = only(made.of_type("AWS::DynamoDB::Table"))
    assert {name: table[name] for name in asked.created} == asked.created
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


# -- who may do what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["Runtime", "StreamHandler", "Migrator"])
def test_no_role_may_do_what_it_does_not_need(made: Templates, role: str) -> None:
    for statement in made.statements(role):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [each for each in actions if "*" in each]
        assert not [each for each in actions if re.search(r":(Create|Delete|Update)(Table|Cluster)", each)]
        if statement["Resource"] == "*":
            assert actions == ["dynamodb:ListStreams"]  # it takes no resource


def test_the_proxy_connects_as_its_own_role_and_the_migrator_as_admin(made: Templates) -> None:
    def databases(role: str) -> set[str]:
        return {
            action
            for statement in made.statements(role)
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
            if action.startswith("dsql:")
        }

    assert databases("Runtime") == databases("StreamHandler") == {"dsql:DbConnect"}
    assert databases("Migrator") == {"dsql:DbConnectAdmin"}


def asked_for(*paths: Path) -> set[str]:
    """The operations that code asks DynamoDB for by name: `….ask("GetItem", …)`."""
    calls = (each for path in paths for each in ast.walk(ast.parse(path.read_text("utf-8"))))
    named = {
        str(call.args[0].value)
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args
        if call.func.attr in {"ask", "_ask", "call"} and isinstance(call.args[0], ast.Constant)
    }
    # What else is called so: methods of HTTP, statements of SQL.
    return {each for each in named if re.fullmatch(r"([A-Z][a-z]+)+", each)}


def test_the_proxy_may_do_all_that_the_stage_table_asks_for() -> None:
    from deploy import rights
    from proxy.cutover.stage_table import REQUIRED_ACTIONS

    path = ROOT / "proxy" / "cutover" / "stage_table.py"
    told = {each.strip() for each in REQUIRED_ACTIONS.split(",")}
    # A transaction asks for its parts' actions. The stack makes the table.
    assert told == asked_for(path) - {"TransactWriteItems"}
    assert {f"dynamodb:{each}" for each in told - {"CreateTable"}} == set(rights.STAGE_ACTIONS)


def test_the_proxy_may_do_on_the_table_what_it_passes_on_and_no_more() -> None:
    from deploy import rights

    parts = {"ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "UpdateItem"}
    passed = (ACTIONS - {"TransactGetItems", "TransactWriteItems"}) | parts | {"DescribeTable", "DescribeTimeToLive"}
    assert set(rights.ITEM_ACTIONS) == {f"dynamodb:{each}" for each in passed}
    assert set(rights.CONVERGE_ACTIONS) < set(rights.ITEM_ACTIONS)


def test_a_role_may_do_each_thing_that_is_asked_for_by_name() -> None:
    """What is new in the code must be new in a policy too, or an account refuses what every test here allows."""
    from deploy import rights

    assert {f"dynamodb:{each}" for each in asked_for(ROOT / "proxy" / "stores" / "dynamodb" / "streams.py")} == set(
        rights.STREAM_ACTIONS
    )
    allowed = {*rights.ITEM_ACTIONS, *rights.STAGE_ACTIONS, *rights.STREAM_ACTIONS}
    asked = asked_for(*(ROOT / "proxy").rglob("*.py")) - {"CreateTable", "TransactWriteItems"}
    assert {"BatchGetItem", "Scan", "GetRecords"} < asked
    assert {f"dynamodb:{each}" for each in asked} <= allowed


def test_only_one_branch_of_one_repository_may_migrate(made: Templates) -> None:
    roles = {
        properties["RoleName"]: properties
        for properties in made.of_type("AWS::IAM::Role").values()
        if "RoleName" in properties
    }
    (statement,) = roles["crossfade-migrate"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:owner/name:ref:refs/heads/main",
        }
    }


def test_a_collector_switches_traces_on() -> None:
    assert Wanted.of(CONTEXT).tracing == {}
    given = Wanted.of({**CONTEXT, "otlp_endpoint": "http://collector:4318"}).tracing
    assert load(None, given).tracing.enabled
    assert given["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"repository": "owner/*"}, "repository"),
        ({"branch": "*"}, "branch"),
        ({"client_keys": []}, "client_keys"),
        ({"table": "another"}, "table_stream_arn"),
        ({"vpc_id": "vpc-1"}, "vpc_id"),
        ({"tasks": 0}, "tasks"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_context_that_cannot_be_meant_is_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(WrongContext, match=named):
        Wanted.of(CONTEXT | changed)


# -- the proxies ------------------------------------------------------------------------------------------------------


def container(made: Templates) -> dict[str, Any]:
    (found,) = only(made.of_type("AWS::ECS::TaskDefinition"))["ContainerDefinitions"]
    return dict(found)


def settings_of(environment: dict[str, Any]) -> Settings:
    """The settings as a process with these variables reads them."""
    texts = {
        name: value if isinstance(value, str) else "abc123.dsql.us-east-1.on.aws" for name, value in environment.items()
    }
    return load(None, texts)


def test_the_tasks_settings_are_settings(made: Templates) -> None:
    task = container(made)
    given = {each["Name"]: each["Value"] for each in task["Environment"]}
    given |= {each["Name"]: f"secret-of-{each['Name']}" for each in task["Secrets"]}
    settings = settings_of(given)
    assert settings.auth.mode == "sigv4"
    assert list(settings.auth.keys) == ["CATALOGUE"]
    assert settings.admin.guarded
    assert not settings.admin.insecure
    assert settings.dsql.user != "admin"
    assert settings.stages.table == made.wanted.stage_table
    assert settings.stage == "off"
    mounted = {each["ContainerPath"] for each in task["MountPoints"] if not each["ReadOnly"]}
    assert str(settings.journal.path.parent) in mounted
    assert task["ReadonlyRootFilesystem"] is True


def test_no_secret_stands_in_the_template(made: Templates) -> None:
    task = container(made)
    assert not [each["Name"] for each in task["Environment"] if re.search(r"SECRET|TOKEN|PASSWORD", each["Name"])]
    assert len(task["Secrets"]) == 3


def test_a_task_has_the_time_to_stop(made: Templates) -> None:
    from deploy import service

    task = container(made)
    shutdown = settings_of({each["Name"]: each["Value"] for each in task["Environment"]} | auth()).shutdown
    assert shutdown.finish_seconds + shutdown.converge_seconds < task["StopTimeout"] <= 120
    assert (shutdown.finish_seconds, shutdown.converge_seconds) == (service.FINISH_SECONDS, service.CONVERGE_SECONDS)


def auth() -> dict[str, str]:
    return {
        "CROSSFADE_AUTH__KEYS__K__SECRET_ACCESS_KEY": "secret",
        "CROSSFADE_ADMIN__OPERATOR_TOKEN": "0123456789abcdef",
    }


def test_there_are_several_tasks_and_a_new_one_serves_before_an_old_one_stops(made: Templates) -> None:
    found = only(made.of_type("AWS::ECS::Service"))
    assert found["DesiredCount"] == 2
    assert found["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    assert found["DeploymentConfiguration"]["MaximumPercent"] == 200
    assert found["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_the_balancer_is_internal_ends_tls_and_asks_readyz(made: Templates) -> None:
    balancer = only(made.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"))
    assert balancer["Scheme"] == "internal"
    assert balancer["SecurityGroups"]
    listeners = made.of_type("AWS::ElasticLoadBalancingV2::Listener").values()
    assert {(each["Port"], each["Protocol"]) for each in listeners} == {(443, "TLS"), (8443, "TLS")}
    targets = made.of_type("AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert {each["Port"] for each in targets} == {8000, 8001}
    assert {(each["HealthCheckPort"], each["HealthCheckPath"]) for each in targets} == {("8001", "/readyz")}


def test_clients_are_let_in_by_address_alone(made: Templates) -> None:
    for group in made.of_type("AWS::EC2::SecurityGroup").values():
        for rule in group.get("SecurityGroupIngress", []):
            assert rule["CidrIp"] == made.wanted.client_cidr


# -- the stream handler -----------------------------------------------------------------------------------------------


def test_the_stream_handler_gives_back_what_it_did_not_take(made: Templates) -> None:
    mapping = only(made.of_type("AWS::Lambda::EventSourceMapping"))
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"]


def test_the_stream_handlers_settings_are_settings(made: Templates) -> None:
    functions = made.of_type("AWS::Lambda::Function").values()
    (found,) = [each for each in functions if each.get("FunctionName") == "crossfade-stream"]
    settings = settings_of(found["Environment"]["Variables"])
    assert settings.stages.table == made.wanted.stage_table
    assert settings.dsql.user == made.wanted.database_role


def test_the_functions_image_names_a_handler_that_is_there() -> None:
    text = (ROOT / "deploy" / "lambda" / "Dockerfile").read_text("utf-8")
    named = re.search(r'^CMD \["([\w.]+)\.(\w+)"\]$', text, re.MULTILINE)
    assert named is not None
    assert callable(getattr(importlib.import_module(named[1]), named[2]))


# -- alarms -----------------------------------------------------------------------------------------------------------


def test_alarms_are_for_events_that_are_logged() -> None:
    from deploy import alarms

    logged = "".join(path.read_text("utf-8") for path in Path(ROOT / "proxy").rglob("*.py"))
    for told in alarms.TOLD:
        event = re.search(r'\$\.event = "(\w+)"', told.pattern)
        assert event is not None
        assert re.search(rf'\(\s*"{event[1]}"', logged), f"nothing logs {event[1]}"


def test_every_alarm_tells_somebody_and_says_where_to_look(made: Templates) -> None:
    from deploy import alarms

    found = made.of_type("AWS::CloudWatch::Alarm").values()
    assert len(found) >= len(alarms.TOLD) + 4
    for each in found:
        assert each["AlarmActions"]
        assert "docs/operating.md" in each["AlarmDescription"]
