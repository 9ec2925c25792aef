"""docs/operating.md, held against what the CDK app makes: who copies a policy from the page gets the same rights."""

import json
import re
from typing import Any

import pytest

from tests.deploy.templates import ROOT, templates

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
POLICIES = re.compile(r"<!-- policy: (\w+) -->\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def plain(statement: dict[str, Any]) -> dict[str, Any]:
    """With references to resources by the names that the page has for them."""
    resource = statement["Resource"]
    if isinstance(resource, dict):
        name = resource["Fn::GetAtt"][0]
        resource = {"Cluster": "CLUSTER"}.get(name, "QUEUE")
    return {**statement, "Resource": resource}


@pytest.mark.parametrize(("role", "text"), POLICIES.findall(PAGE))
def test_the_pages_policies_are_the_stacks(role: str, text: str) -> None:
    assert json.loads(text) == [plain(each) for each in templates().statements(role)]


def test_there_is_a_policy_for_each_role() -> None:
    assert {role for role, _ in POLICIES.findall(PAGE)} == {"Runtime", "Migrator", "StreamHandler"}


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:deploy|config)/[\w./-]+|\.github/workflows|Dockerfile)`", PAGE)
    assert len(named) > 5
    for each in named:
        assert (ROOT / each).exists(), each
    for each in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (ROOT / "docs" / each).exists(), each
