"""The console's pages: the overview, the confirmation of a move, and the sign-in.

Each works without JavaScript; the script only shows the confirmation as a dialog and keeps the overview fresh. `view`
decides what is shown, the gate and the flip what may be done.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import jinja2
import structlog
from aiohttp import web

from proxy import formatting as words
from proxy.admin.console.assets import Assets
from proxy.admin.console.samples import Samples
from proxy.admin.console.security_headers import HEADERS, is_same_origin
from proxy.admin.console.sessions import Session, Sessions
from proxy.admin.console.texts import scope_name
from proxy.admin.console.view import PageData, StageStep, View, compose_view, default_target, flip_target, tables_shown
from proxy.cutover.explanations import consequences, way_back
from proxy.cutover.model import (
    ConsoleBackend,
    GateView,
    HistoryEntry,
    MoveRefused,
    StagedScope,
    StagesSource,
    StagesView,
)
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage
from proxy.problems import Problem
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

OPERATOR: Final = "operator"
_MISMATCHES: Final = 200
_HISTORY: Final = 20
# The page must not wait for a store that hangs.
_READ_SECONDS: Final = 2.0
_HISTORY_SECONDS: Final = 10.0
_FORM_BYTES: Final = 16_384
_FORM_SECONDS: Final = 10.0
# All browsers share one view: another window costs no more calls.
_FRESH_SECONDS: Final = 0.25
_WRONG_TOKEN_SECONDS: Final = 0.5


class Keys(Protocol):
    """The admin port's tokens."""

    def role_of(self, token: str) -> tuple[str, str] | None:
        """(role, name) of a token, compared in constant time; None for one that is not known."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages are made of. `keys` is None where the admin port has no tokens: then everyone is an operator, and
    only this machine can reach the port. `values` says that item values are shown; `secure`, that the port has TLS."""

    backend: ConsoleBackend
    samples: Samples
    keys: Keys | None
    version: str
    values: bool = False
    secure: bool = False


class Pages:
    """The request handlers, which `routes` registers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sessions = Sessions()
        self.assets = Assets()
        self._templates = _templates(self.assets)
        self._cached_view: tuple[float, View] | None = None
        self._cached_history: tuple[tuple[int, bool], float, Sequence[HistoryEntry]] | None = None
        self._looking = asyncio.Lock()

    # -- pages -----------------------------------------------------------------------------------------------------

    async def home(self, request: web.Request) -> web.Response:
        """The overview."""
        session = self._sessions.of(request)
        if session is None and self._console.keys is not None:
            return _redirect("sign-in")
        seen = await self._current_view()
        # In a thread: rendering takes some milliseconds, in which clients' calls must not wait.
        return await asyncio.to_thread(
            self._page, "console.html", view=seen, session=session, operator=self._may_move(session)
        )

    async def sign_in_form(self, request: web.Request) -> web.Response:
        """The sign-in form."""
        if self._console.keys is None or self._sessions.of(request) is not None:
            return _redirect("./")
        return self._page("sign-in.html", error="")

    async def sign_in(self, request: web.Request) -> web.Response:
        """Check a token, and open a session."""
        if not is_same_origin(request):
            return self._not_from_here()
        if self._console.keys is None:
            return _redirect("./")
        form = await _form(request)
        known = self._console.keys.role_of(form.get("token", ""))
        if known is None:
            log.warning("console_sign_in_refused", remote=request.remote)
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            return self._page("sign-in.html", error="This token is not known.", status=403)
        response = _redirect("./")
        self._sessions.end(request, response)
        self._sessions.begin(response, *known, secure=self._console.secure)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """Close the session."""
        if not is_same_origin(request):
            return self._not_from_here()
        response = _redirect("sign-in" if self._console.keys is not None else "./")
        self._sessions.end(request, response)
        return response

    async def ask(self, request: web.Request) -> web.Response:
        """The confirmation: what a move would do, and the form that begins it."""
        session = self._sessions.of(request)
        if session is None and self._console.keys is not None:
            return _redirect("sign-in")
        if not self._may_move(session):
            return self._fault(403, "This needs an operator's token", "You are signed in to read only.")
        return await self._confirmation(dict(request.query), session)

    async def move(self, request: web.Request) -> web.Response:
        """Begin a move. The overview shows its progress and its outcome."""
        if not is_same_origin(request):
            return self._not_from_here()
        session = self._sessions.of(request)
        if session is None and self._console.keys is not None:
            return _redirect("sign-in")
        if not self._may_move(session):
            return self._fault(403, "This needs an operator's token", "You are signed in to read only.")
        form = await _form(request)
        try:
            await self._console.backend.move(_move_request(form, session))
        except StoreError as failure:
            return self._fault(503, "The move could not be begun", f"The stage table cannot be reached: {failure}")
        except MoveRefused as refusal:
            return await self._confirmation(form, session, error=words.sentence(str(refusal)))
        self._cached_view = self._cached_history = None
        return _redirect("./")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _may_move(self, session: Session | None) -> bool:
        return self._console.keys is None or (session is not None and session.role == OPERATOR)

    async def _current_view(self) -> View:
        """The view, at most a quarter of a second old."""
        async with self._looking:
            clock = asyncio.get_running_loop().time
            if self._cached_view is not None and clock() - self._cached_view[0] < _FRESH_SECONDS:
                return self._cached_view[1]
            backend, samples = self._console.backend, self._console.samples
            status = await backend.status()
            overview, gates, history, unread = await self._stages(status)
            data = PageData(
                now=time.time(),
                version=self._console.version,
                since=samples.since,
                status=status,
                overview=overview,
                gates=gates,
                mismatches=backend.mismatches(_MISMATCHES),
                samples=samples.ring(),
                latency=samples.latency(),
                history=history,
                problems=backend.problems(),
                unread=unread,
            )
            fresh = await asyncio.to_thread(compose_view, data)
            self._cached_view = clock(), fresh
            return fresh

    async def _stages(
        self, status: Mapping[str, Any]
    ) -> tuple[StagesView, Mapping[str, GateView], Sequence[HistoryEntry], str]:
        """What the stage table holds. If it cannot be read, which is when people open the console: the stages that this
        process uses, no moves, and the reason."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                snapshot = await self._console.backend.snapshot()
                return snapshot.overview, _flip_gates(snapshot), await self._history(snapshot.overview), ""
        except (StoreError, Problem) as error:
            why = str(error)
        except TimeoutError:
            why = f"no answer in {words.duration(_READ_SECONDS)}"
        own = [StagedScope(Scope(each["table"], each["type"]), Stage(each["stage"])) for each in status["stages"]]
        pinned = "stages cannot be moved now"
        return (
            StagesView(status["epoch"], own, pinned=pinned),
            {},
            self._cached_history[2] if self._cached_history else (),
            why,
        )

    async def _history(self, overview: StagesView) -> Sequence[HistoryEntry]:
        """The last moves, read again when a move has ended, and every ten seconds: others move stages too."""
        now = asyncio.get_running_loop().time()
        state = (overview.epoch, overview.flip is None)
        if (
            self._cached_history is None
            or self._cached_history[0] != state
            or now - self._cached_history[1] > _HISTORY_SECONDS
        ):
            self._cached_history = state, now, await self._console.backend.history(_HISTORY)
        return self._cached_history[2]

    async def _confirmation(self, form: Mapping[str, str], session: Session | None, error: str = "") -> web.Response:
        scope = Scope(form.get("table", ""), form.get("type", ""))
        try:
            async with asyncio.timeout(_READ_SECONDS):
                snapshot = await self._console.backend.snapshot()
        except (StoreError, Problem, TimeoutError) as failure:
            why = str(failure) or f"no answer in {words.duration(_READ_SECONDS)}"
            return self._fault(503, "Stages cannot be moved now", f"The stage table cannot be read: {why}")
        overview = snapshot.overview
        at = next((place for place in overview.scopes if place.scope == scope), None)
        if at is None:
            return self._fault(404, "There is no such table or type", f"{scope} is not known here.")
        if overview.pinned:
            return self._fault(409, "Stages cannot be moved", overview.pinned)
        try:
            to = Stage(form["to"]) if form.get("to") else default_target(at)
        except ValueError:
            return self._fault(400, "There is no such stage", "Choose one of the six on the first page.")
        ramp = form.get("ramp") or f"{at.ramp if at.stage is Stage.SHADOW else 0:g}"
        share = _share(ramp) or 0.0
        gate = snapshot.gate(scope, to, share)
        return self._page(
            "move.html",
            status=409 if error else 200,
            error=error,
            scope=scope,
            at=at,
            to=to,
            steps=_steps(at),
            epoch=overview.epoch,
            gate=gate,
            consequences=consequences(at.stage, to, len(overview.processes), overview.hold_seconds),
            back=way_back(at.stage, to),
            ramp=ramp,
            by=form.get("by") or (session.name if session else ""),
            because=form.get("because", ""),
        )

    def _page(self, template: str, *, status: int = 200, **known: Any) -> web.Response:
        text = self._templates.get_template(template).render(
            {"stages": list(Stage), "redacted": not self._console.values, **known}
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)

    def _fault(self, status: int, title: str, sentence: str) -> web.Response:
        return self._page("fault.html", status=status, title=title, sentence=words.sentence(sentence))

    def _not_from_here(self) -> web.Response:
        return self._fault(403, "This was not sent from the console", "Another page sent it, so nothing was done.")


def _flip_gates(snapshot: StagesSource) -> dict[str, GateView]:
    """The gate of each table's flip, by table."""
    stages = {place.scope: place.stage for place in snapshot.overview.scopes}
    shown = [Scope(name) for name in tables_shown(snapshot.overview.scopes)]
    return {scope.table: snapshot.gate(scope, flip_target(stages[scope])) for scope in shown if scope in stages}


def _move_request(form: Mapping[str, str], session: Session | None) -> MoveRequest:
    """Raises MoveRefused for a form that the console does not make."""
    try:
        to = Stage(form.get("to", ""))
    except ValueError:
        raise MoveRefused("there is no such stage: choose one of the six") from None
    ramp = _share(form.get("ramp", "0") or "0") if to is Stage.SHADOW else None
    if to is Stage.SHADOW and ramp is None:
        raise MoveRefused("the ramp is a number from 0 to 100")
    by = " ".join(form.get("by", "").split())[:80]
    name = session.name if session else ""
    epoch = form.get("epoch", "")
    return MoveRequest(
        Scope(form.get("table", ""), form.get("type", "")),
        to,
        f"{name}: {by}" if by and name and by != name else by or name or "console",
        ramp=ramp,
        because=" ".join(form.get("because", "").split())[:500],
        force=form.get("force") == "yes",
        epoch=int(epoch) if epoch.isdecimal() and len(epoch) < 16 else None,
    )


def _share(text: str) -> float | None:
    """A percentage; None if it is none."""
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 <= share <= 100 else None


def _steps(at: StagedScope) -> list[StageStep]:
    stages = list(Stage)
    here = stages.index(at.stage)
    return [
        StageStep(stage, "past" if n < here else "here" if n == here else "ahead") for n, stage in enumerate(stages)
    ]


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a small form, without files and repeated fields."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    if request.content_length is None or request.content_length > _FORM_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=_FORM_BYTES, actual_size=request.content_length or 0)
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _redirect(path: str) -> web.Response:
    return web.Response(status=303, headers={**HEADERS, "Location": path})


def _templates(assets: Assets) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = assets.path
    environment.filters |= {
        "ago": words.ago,
        "count": words.count,
        "duration": words.duration,
        "iso": words.iso,
        "moment": words.moment,
        "percent": words.percent,
        "scope": lambda scope: scope_name(scope.table, scope.item_type),
        "sentence": words.sentence,
    }
    for name in environment.list_templates():
        environment.get_template(name)  # compiled at the start, because it takes a fifth of a second
    return environment
