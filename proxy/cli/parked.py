"""`crossfade parked`: lists a proxy's parked keys, has them tried again, or gives one up.

A parked key is one that cannot converge: the mirror cannot hold its item, or refuses it. Each proxy has its own, so the
command speaks to one proxy's admin port. Exit status 0: listed, or done; 1: the proxy cannot be reached; 2: arguments
are wrong, or no such key is parked.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.cli.stage import requester_of
from proxy.cli.stage_output import table
from proxy.formatting import duration
from proxy.settings import load_admin_tokens

OK: Final = 0
FAILED: Final = 1
WRONG: Final = 2
_DEFAULT_ADMIN: Final = "http://127.0.0.1:8001"
_HEAD: Final = ("KEY", "TABLE / TYPE", "AGE", "REASON")
_USAGE: Final = """\
  crossfade parked                               the keys that one proxy cannot make converge, and what to do
  crossfade parked retry                         have all of them tried again
  crossfade parked retry KEY                     have one of them tried again
  crossfade parked drop KEY --because "…"        give one up: the two stores stay different there"""


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parked = commands.add_parser(
        "parked",
        help="list a proxy's parked keys, retry or drop them",
        description=_USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parked.add_argument("words", nargs="*", metavar="retry|drop KEY", help="see above")
    parked.add_argument("--because", metavar="TEXT", default="", help="for drop: the reason, which the log keeps")
    parked.add_argument("--by", metavar="NAME", default="", help="who asks (default: USER@HOST)")
    parked.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML, for the tokens in [admin]")
    parked.add_argument(
        "--admin", metavar="URL", default=_DEFAULT_ADMIN, help=f"the proxy's admin port ({_DEFAULT_ADMIN})"
    )
    parked.add_argument("--token-file", type=Path, metavar="FILE", help="default: the setting admin.operator_token")
    parked.add_argument("--ca", type=Path, metavar="FILE", help="for https: a PEM file of certificate authorities")
    parked.add_argument("--json", action="store_true", help="print the admin port's JSON document")
    parked.set_defaults(run_alone=_run)


def _run(arguments: argparse.Namespace) -> int:
    words = arguments.words
    action, key_id = [*words, "", ""][:2]
    if action not in ("", "list", "retry", "drop") or len(words) > 2 or (action in ("", "list") and key_id):
        return _fail(f"{' '.join(words)!r} is not understood: use\n{_USAGE}", WRONG)
    because = arguments.because.strip()
    if action == "drop" and not (key_id and because):
        return _fail('drop needs a key and --because "…": why the two stores may stay different there', WRONG)
    if action != "drop" and because:
        return _fail("--because goes with drop", WRONG)
    return _ask(arguments, action, key_id, because)


def _ask(arguments: argparse.Namespace, action: str, key_id: str, because: str) -> int:
    from proxy.cli.admin_client import open_admin_api, token_of  # importing this takes most of a second
    from proxy.problems import Problem

    async def ask() -> Mapping[str, Any]:
        token = token_of(load_admin_tokens(arguments.config, os.environ), arguments.token_file)
        async with open_admin_api(arguments.admin, token, arguments.ca) as proxy:
            if action == "retry":
                return await proxy.retry_parked(key_id)
            if action == "drop":
                return await proxy.drop_parked(key_id, requester_of(arguments), because)
            return await proxy.parked()

    try:
        document = asyncio.run(ask())
    except Problem as problem:
        return _fail(problem.detail, WRONG if problem.status in (400, 404) else FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", FAILED)
    sys.stdout.write((orjson.dumps(document).decode() if arguments.json else _text(document)) + "\n")
    return OK


def _text(document: Mapping[str, Any]) -> str:
    """A list of parked keys, or what was done, as text."""
    if "retried" in document:
        return f"{document['retried']} keys are tried again: run crossfade parked to see which remain"
    if "dropped" in document:
        return f"{document['id']} is not parked any more; the next write to it, or a sweep, finds it again"
    found = document["parked"]
    if not found:
        return "no key is parked"
    lines = table([_HEAD, *(_row(each) for each in found)])
    return "\n".join([*lines, "", f"what to do: {found[0]['remedy']}"])


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    place = f"{each['table']} / {each['type']}" if each["type"] else str(each["table"])
    return (each["id"], place, duration(each["seconds"]), each["reason"])


def _fail(text: str, status: int) -> int:
    sys.stderr.write(f"crossfade: {text}\n")
    return status
