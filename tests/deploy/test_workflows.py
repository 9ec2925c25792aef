"""The workflows run other people's code with rights in the account: what is run is pinned, and rights are few."""

import re

import yaml

from tests.deploy.templates import ROOT

_PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    used = [name for path in workflows for name in re.findall(r"uses: (.+)", path.read_text("utf-8"))]
    theirs = {name for name in used if not name.startswith("./")}
    assert theirs
    assert not [name for name in theirs if not _PINNED.fullmatch(name)]
    # One version of each, so that what was tried is what deploys.
    assert len({name.partition("@")[0] for name in theirs}) == len(theirs)


def test_every_package_that_is_run_is_named_by_its_version() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for tool in re.findall(r"(?:npx(?: --yes)?|pipx run) (\S+)", path.read_text("utf-8")):
            assert re.fullmatch(r"[\w-]+(?:@|==)\d+\.\d+\.\d+", tool), f"{path.name} runs whatever {tool} is today"


def test_every_package_that_is_installed_is_held_to_its_hash() -> None:
    files = [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / "Makefile", *ROOT.glob("**/Dockerfile")]
    installs = [
        (path.name, command)
        for path in files
        if ".venv" not in path.parts and "node_modules" not in path.parts
        for command in re.findall(r"pip install ([^&\n]*)", path.read_text("utf-8").replace("\\\n", " "))
    ]
    assert len(installs) >= 9
    for name, command in installs:
        held = "--require-hashes" in command
        assert held or "--no-index" in command or "--editable ." in command, f"{name}: pip install {command}"
    for lock in ("requirements.lock", "requirements-wheel.lock"):
        text = (ROOT / "deploy" / lock).read_text("utf-8")
        pinned = re.findall(r"^[\w.-]+==.*$", text, re.MULTILINE)
        assert pinned
        assert len(pinned) == len(re.findall(r"^[\w.-]+==.*\\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE))


def test_only_jobs_that_deploy_or_sign_may_ask_for_a_token() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            if "id-token" in job.get("permissions", {}):
                takes = "uses" in job or any("aws-actions/" in step.get("uses", "") for step in job["steps"])
                assert takes, f"{path.name}: {name} may ask for a token that it does not use"
