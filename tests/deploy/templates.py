"""The CDK app's templates, made once for all tests: Node takes most of ten seconds to load CDK."""

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deploy.wanted import Wanted

ROOT = Path(__file__).parents[2]
CONTEXT: dict[str, Any] = json.loads((ROOT / "deploy" / "cdk.json").read_text("utf-8"))["context"]["crossfade"]


@dataclass(frozen=True, slots=True)
class Templates:
    """Both stacks' CloudFormation, as JSON gives it, and what CDK's own validation finds wrong with it."""

    wanted: Wanted
    data: dict[str, Any]
    proxy: dict[str, Any]
    violations: tuple[dict[str, Any], ...]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id, over both stacks."""
        return {
            name: resource.get("Properties", {})
            for template in (self.data, self.proxy)
            for name, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        """The statements of the policy that a role of the data stack has."""
        policies = [
            properties
            for name, properties in self.of_type("AWS::IAM::Policy").items()
            if name.startswith(f"{role}Rights")
        ]
        assert len(policies) == 1
        statements: list[dict[str, Any]] = policies[0]["PolicyDocument"]["Statement"]
        return statements


@cache
def templates() -> Templates:
    # Node 20 runs it, and CDK says at length that it would rather have another.
    os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"
    import aws_cdk as cdk

    from deploy.app import build

    wanted = Wanted.of(CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(outdir=folder, analytics_reporting=False)
        names = [stack.stack_name for stack in build(app, wanted)]
        app.synth()
        made = [json.loads(Path(folder, f"{name}.template.json").read_text("utf-8")) for name in names]
        report = Path(folder, "validation-report.json")
        said = json.loads(report.read_text("utf-8"))["pluginReports"] if report.exists() else []
    violations = tuple(violation for plugin in said for violation in plugin["violations"])
    return Templates(wanted, data=made[0], proxy=made[1], violations=violations)
