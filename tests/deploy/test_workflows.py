"""The workflows run other people's actions with rights in the account: each is named by its commit."""

import re

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
