"""`python -m tests.conformance`: run other projects' suites, and hold what fails against what is known to fail.

Each suite's source distribution is fetched from PyPI by its hash and run, unchanged, in an environment of its own
against one target: `complete` (Crossfade with DSQL alone, where clients may make tables), `live` (with DynamoDB as the
mirror), or `ministack` alone, to compare with. Prints a table; ends with 1 where a test fails that `known` does not
name, or passes that it names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance.suites import SUITES, Suite
from tests.proxy_process import ProxyProcess
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY, Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

TARGETS: Final = ("complete", "live", "ministack")
_HERE: Final = Path(__file__).parent
_CACHE: Final = _HERE.parents[1] / ".cache" / "conformance"
_SECONDS_A_TEST: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """What came of one suite at one target."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: int


def main() -> int:
    """Run what the arguments name. Returns 0 if all is as known."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--suite", choices=[each.name for each in SUITES], action="append", help="all of them")
    parser.add_argument("--target", choices=TARGETS, action="append", help="complete")
    parser.add_argument("--tests", help="only tests whose name has this in it: pytest's -k")
    arguments = parser.parse_args()
    unlike = False
    print(f"{'suite':22} {'target':10} {'passed':>7} {'failed':>7} {'skipped':>8}")
    for suite in SUITES:
        if arguments.suite and suite.name not in arguments.suite:
            continue
        root = _fetched(suite)
        for target in arguments.target or ["complete"]:
            run = _run(suite, root, target, arguments.tests)
            where = f"{suite.name} {suite.version}"
            print(f"{where:22} {target:10} {len(run.passed):7} {len(run.failed):7} {run.skipped:8}", flush=True)
            unlike |= target != "ministack" and _differs(run, known_failures(suite))
    return int(unlike)


def known_failures(suite: Suite) -> dict[str, str]:
    """Return the tests that are known to fail, each with the reason."""
    path = _HERE / "known" / f"{suite.name}.toml"
    reasons = tomllib.loads(path.read_text("utf-8"))
    return {test: reason["why"] for reason in reasons["reason"] for test in reason["tests"]}


def _differs(run: SuiteRun, known: dict[str, str]) -> bool:
    """Print what is not as known; whether anything is not."""
    new, gone = sorted(run.failed - known.keys()), sorted(run.passed & known.keys())
    for test in new:
        print(f"  fails, and is not known to: {test}")
    for test in gone:
        print(f"  passes, and is known to fail: {test}")
    return bool(new or gone)


def _fetched(suite: Suite) -> Path:
    """The suite's source, unpacked, and its environment; both are kept."""
    root = _CACHE / f"{suite.name}-{suite.version}"
    if not root.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        pinned = _CACHE / f"{suite.name}.txt"
        pinned.write_text(f"{suite.requirement}\n", "utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", "--require-hashes", "-d", str(_CACHE), "-r", str(pinned)], check=True
        )
        with tarfile.open(_CACHE / f"{suite.name}-{suite.version}.tar.gz") as packed:
            packed.extractall(_CACHE, filter="data")
    return root


def _python() -> Path:
    """The interpreter of the suites' environment, made when first asked for."""
    environment = _CACHE / "venv"
    done = environment / ".installed"
    lock = _HERE / "requirements.lock"
    python = environment / "bin" / "python"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", "--require-hashes", "-r", str(lock)], check=True)
        done.touch()
    return python


def _run(suite: Suite, root: Path, target: str, tests: str | None) -> SuiteRun:
    results = _CACHE / f"{suite.name}-{target}.xml"
    results.unlink(missing_ok=True)
    with _target(target) as (endpoint, log):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST", "PYTHON"))}
        environment = kept | {
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
            suite.endpoint_variable: endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "PYTHONPATH": str(_HERE / "plugin"),
            **({"CONFORMANCE_SHARED_TABLES": "1"} if suite.shared_tables else {}),
        }
        words = [str(_python()), "-m", "pytest", suite.tests, "-q", "--color=no", "-p", "conformance_plugin"]
        words += [
            "-p",
            "no:cacheprovider",
            f"--timeout={_SECONDS_A_TEST}",
            "--tb=short",
            f"--junitxml={results}",
            "-o",
            "addopts=",
        ]
        words += [f"--ignore={suite.tests}/{name}" for name in suite.left_out]
        words += [f"--deselect={suite.tests}/{name}" for name in suite.unstable]
        words += ["-k", tests] if tests else []
        output = results.with_suffix(".txt")
        with output.open("w", encoding="utf-8") as told:
            subprocess.run(words, cwd=root, env=environment, stdout=told, stderr=subprocess.STDOUT, check=False)
        results.with_suffix(".log").write_text(log.read_text("utf-8") if log is not None else "", "utf-8")
    if not results.exists():
        raise SystemExit(f"{suite.name}: its tests did not run: see {output}")
    return _read(results)


def _read(results: Path) -> SuiteRun:
    passed, failed, skipped = set(), set(), 0
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("skipped") is not None:
            skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        else:
            passed.add(name)
    return SuiteRun(passed=frozenset(passed - failed), failed=frozenset(failed), skipped=skipped)


@contextmanager
def _target(name: str) -> Iterator[tuple[str, Path | None]]:
    """Where the tests ask, and the proxy's log."""
    with ExitStack() as stack:
        if name == "ministack":
            yield stack.enter_context(Ministack()).endpoint, None
            return
        server = stack.enter_context(Postgres())
        gate = stack.enter_context(Dsql(server))
        dsql = gate.dsn(server.create_database().rsplit("/", 1)[1])
        # In `complete` there is no DynamoDB: nothing listens at port 9.
        dynamodb = stack.enter_context(Ministack()).endpoint if name == "live" else f"http://{LOOPBACK}:9"
        settings = {"CROSSFADE_FOLLOW_TABLES": "true"}
        settings |= {"CROSSFADE_CONTROL_PLANE": "dsql"} if name == "complete" else {}
        proxy = stack.enter_context(
            ProxyProcess(dynamodb=dynamodb, dsql=dsql, stage=name, mappings=[], environment=settings)
        )
        yield proxy.data, proxy.log_file


if __name__ == "__main__":
    sys.exit(main())
