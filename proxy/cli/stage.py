"""`crossfade stage` and `crossfade history`: show the stages, move one, and show the moves.

Exit status 0: shown, moved, or it would be moved; 1: the gate is shut, the move was aborted, or neither the stage table
nor the proxy can be reached; 2: settings or arguments are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.cli import stage_output as output
from proxy.cutover.stages import Scope, Stage
from proxy.settings import load, load_admin_tokens
from proxy.stores.errors import StoreError

if TYPE_CHECKING:  # importing these takes most of a second, which other commands must not pay
    from proxy.cli.stage_client import StageClient
    from proxy.cutover.move_request import MoveRequest
    from proxy.problems import Problem

OK: Final = 0
FAILED: Final = 1
WRONG: Final = 2
# How often a waiting move prints a line; a change is printed at once. At a terminal, the line is rewritten instead.
_SAY: Final = 5.0
_CLEAR: Final = "\r\x1b[K"
_STAGES: Final = tuple(Stage)
_USAGE: Final = """\
  crossfade stage                       every table and type
  crossfade stage TABLE                 one table, and every criterion of its gate
  crossfade stage TABLE STAGE           move it
  crossfade stage adopt                 pair this stage table and this DSQL database anew
  crossfade stage forget PROCESS        forget a process that is gone for good"""


def add(commands: Any) -> None:
    """Add both commands to argparse's subcommands."""
    stage = commands.add_parser(
        "stage",
        help="show the stages, or move one",
        description=_USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stage.add_argument("words", nargs="*", metavar="TABLE STAGE", help="see above")
    stage.add_argument("--type", metavar="TYPE", default="", help="this item type of the table alone")
    stage.add_argument(
        "--ramp", type=_percent, metavar="PERCENT", help="in shadow: the share of reads that DSQL serves"
    )
    stage.add_argument("--dry-run", action="store_true", help="say what would happen, and what the gate says")
    stage.add_argument("--force", action="store_true", help="move although the gate is shut; needs --because")
    stage.add_argument("--because", metavar="TEXT", default="", help="the reason, which the history keeps")
    stage.add_argument("--by", metavar="NAME", default="", help="who asks (default: USER@HOST)")
    stage.add_argument("--yes", action="store_true", help="do not ask for confirmation, as a terminal does")
    _add_common(stage)
    stage.set_defaults(run_alone=_run_stage)
    history = commands.add_parser("history", help="every change of stage, newest first")
    history.add_argument("--limit", type=_count, default=20, metavar="N", help="at most N entries (20)")
    _add_common(history)
    history.set_defaults(run_alone=_run_history)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML, for [stages] and [dynamodb]")
    parser.add_argument("--admin", metavar="URL", help="use a proxy's admin port instead of the stage table")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="for --admin (default: the setting admin.operator_token)"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="for --admin https://…: a PEM file of certificate authorities"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="also log events, on stderr")
    parser.add_argument("--json", action="store_true", help="print JSON: one document, or one per line for a move")


def _run_history(arguments: argparse.Namespace) -> int:
    async def show(client: StageClient) -> int:
        entries = await client.history(arguments.limit)
        _print({"history": entries} if arguments.json else output.history(entries))
        return OK

    return _with_client(arguments, show)


def _run_stage(arguments: argparse.Namespace) -> int:
    words = arguments.words
    if words[:1] == ["forget"] and len(words) == 2 and words[1] not in _STAGES:
        return _forget(arguments, words[1])
    if words == ["adopt"]:
        return _adopt(arguments)
    if len(words) > 2:
        return _fail(f"too many words: crossfade stage TABLE STAGE, not {' '.join(words)!r}", WRONG)
    if len(words) == 2:
        return _move(arguments, words[0], words[1])
    moves = [f"--{name}" for name in ("ramp", "force", "because") if getattr(arguments, name)]
    if moves or arguments.dry_run:
        return _fail(f"{(moves or ['--dry-run'])[0]} goes with a stage: crossfade stage TABLE STAGE", WRONG)
    if arguments.type and not words:
        return _fail("--type goes with a table: crossfade stage TABLE --type TYPE", WRONG)

    async def show(client: StageClient) -> int:
        if not words:
            document = await client.stages()
            _print(document if arguments.json else output.stages(document))
            return OK
        scope = Scope(words[0], arguments.type)
        document = await client.gate(scope, None)
        _print(document if arguments.json else output.gate(document))
        return OK

    return _with_client(arguments, show)


def _move(arguments: argparse.Namespace, table: str, stage: str) -> int:
    from proxy.cutover.move_request import MoveRequest

    if stage not in _STAGES:
        return _fail(f"{stage!r} is no stage: use one of {', '.join(_STAGES)}", WRONG)
    if arguments.ramp is not None and stage != "shadow":
        return _fail("--ramp goes with shadow: reads are not shared in any other stage", WRONG)
    if arguments.force and not arguments.because.strip():
        return _fail('--force needs --because "…": the history keeps it', WRONG)
    request = MoveRequest(
        Scope(table, arguments.type),
        Stage(stage),
        requester_of(arguments),
        ramp=arguments.ramp,
        because=arguments.because.strip(),
        force=arguments.force,
        dry_run=arguments.dry_run,
    )

    async def carry_out(client: StageClient) -> int:
        asks = not arguments.yes and not arguments.json and sys.stdin.isatty() and sys.stdout.isatty()
        if arguments.dry_run or asks:
            document = await client.preview(request)
            _print(document if arguments.json else output.preview(document))
            if arguments.dry_run or document["outcome"] != "would_move":
                return OK if document["outcome"] == "would_move" else FAILED
            if not await _confirm(f"Move {request.scope} to {request.to}?"):
                return _fail("nothing was moved", FAILED)
        return await _watch(client, request, as_json=arguments.json)

    return _with_client(arguments, carry_out)


async def _watch(client: StageClient, request: MoveRequest, *, as_json: bool) -> int:
    """Print each step of a move as it happens."""
    end: dict[str, Any] = {"outcome": "unknown", "detail": "the proxy did not report the outcome: check the stages"}
    progress = _Progress()
    try:
        async for step in client.move(request):
            if "end" in step:
                end = step["end"]
            elif as_json:
                _print(step)
            else:
                progress.report(output.progress_line(step), output.progress_key(step), step["seconds"])
    finally:
        progress.close()
    if as_json:
        _print({"end": end})
    elif end["outcome"] in ("moved", "unchanged"):
        _print(output.move_outcome(end))
    else:
        _fail(output.move_outcome(end), FAILED)
    return OK if end["outcome"] in ("moved", "unchanged") else FAILED


def _forget(arguments: argparse.Namespace, process: str) -> int:
    because = arguments.because.strip()
    if not because:
        return _fail('forget needs --because "…": why the keys in its journal are not missed', WRONG)

    async def forget(client: StageClient) -> int:
        progress = _Progress()

        def report(step: Mapping[str, Any]) -> None:
            if not arguments.json:
                progress.report(output.progress_line(step), step["phase"], step["seconds"])

        try:
            follows = await client.forget(process, requester_of(arguments), because, report)
        finally:
            progress.close()
        document = {"process": process, "forgotten": True, "follows": follows}
        _print(document if arguments.json else f"{process} is forgotten: {follows}")
        return OK

    return _with_client(arguments, forget)


def _adopt(arguments: argparse.Namespace) -> int:
    """Raises SettingsError and CredentialsError."""
    from proxy.cli.stage_table_client import adopt_database, adoption_document, adoption_text

    because = arguments.because.strip()
    if not because:
        return _fail('adopt needs --because "…": the history keeps it', WRONG)
    if arguments.admin is not None:
        return _fail("adopt goes by the settings, not by a proxy: give --config instead of --admin", WRONG)
    settings = load(arguments.config, os.environ)
    if not arguments.yes and not arguments.json and sys.stdin.isatty() and sys.stdout.isatty():
        where = settings.stages.table or "the stages in these settings"
        question = f"Pair {where} with this DSQL database? Whatever it belongs to now is refused from then on."
        if not asyncio.run(_confirm(question)):
            return _fail("nothing was changed", FAILED)
    try:
        done = asyncio.run(adopt_database(settings, requester_of(arguments), because))
    except StoreError as error:
        return _fail(f"{error}: see [stages], [dynamodb] and [dsql]", FAILED)
    _print(adoption_document(done) if arguments.json else adoption_text(done))
    return OK


def _with_client(arguments: argparse.Namespace, ask: Callable[[StageClient], Awaitable[int]]) -> int:
    """Raises SettingsError and CredentialsError."""
    from proxy.problems import Problem

    async def run() -> int:
        async with _client(arguments) as client:
            return await ask(client)

    try:
        return asyncio.run(run())
    except Problem as problem:
        if arguments.json:
            _print(problem.document())
        elif "gate" in problem.members and not problem.members["gate"]["impossible"]:
            sys.stderr.write(output.unmet_criteria(problem.members["gate"]) + "\n")
        return _fail(_detail(problem, arguments), WRONG if problem.status in (400, 404) else FAILED)
    except StoreError as error:
        return _fail(f"the stage table: {error}: see [stages] and [dynamodb]", FAILED)
    except KeyboardInterrupt:
        goes_on = "the proxy goes on with it" if arguments.admin else "the move under way was aborted"
        return _fail(f"interrupted; {goes_on}: see crossfade stage", FAILED)


@asynccontextmanager
async def _client(arguments: argparse.Namespace) -> AsyncIterator[StageClient]:
    """The client that the arguments choose, with the settings that it needs."""
    if arguments.admin is None:
        from proxy import logs
        from proxy.cli.stage_table_client import open_stage_table

        settings = load(arguments.config, os.environ)
        # An error is one message; the events that a proxy would log are shown on request.
        logs.configure("info" if arguments.verbose else "critical", "console", sys.stderr)
        async with open_stage_table(settings) as at_the_table:
            yield at_the_table
        return
    from proxy.cli.admin_client import open_admin_api, token_of

    token = token_of(load_admin_tokens(arguments.config, os.environ), arguments.token_file)
    async with open_admin_api(arguments.admin, token, arguments.ca) as over:
        yield over


def _detail(problem: Problem, arguments: argparse.Namespace) -> str:
    if arguments.admin is None or problem.status not in (401, 403):
        return problem.detail
    return (
        f"{arguments.admin}: {problem.detail}: give it with --token-file FILE, in the variable "
        "CROSSFADE_ADMIN__OPERATOR_TOKEN, or as operator_token in [admin] of --config FILE"
    )


class _Progress:
    """Prints the progress of a move: at a terminal one line that is rewritten, else one line for each change."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._said: object = None
        self._at = 0.0

    def report(self, line: str, news: object, seconds: float) -> None:
        if self._live:
            sys.stdout.write(_CLEAR + line[: shutil.get_terminal_size().columns - 1])
        elif news != self._said or seconds - self._at >= _SAY:
            self._said, self._at = news, seconds
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        if self._live:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()


async def _confirm(question: str) -> bool:
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return (await asyncio.to_thread(sys.stdin.readline)).strip().lower() in ("y", "yes")


def requester_of(arguments: argparse.Namespace) -> str:
    """Return who asks: as --by says, or the user on this host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this user in a container
        user = "somebody"
    by: str = arguments.by or f"{user}@{socket.gethostname()}"
    return by[:80]


def _percent(text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage: write a number from 0 to 100")
    return share


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 500:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to 500")
    return int(text)


def _print(said: Any) -> None:
    if isinstance(said, str):
        sys.stdout.write(said + "\n")
    else:
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
    sys.stdout.flush()


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"crossfade: {text}\n")
    return code
