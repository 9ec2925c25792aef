"""Stages moved through the admin port and from the command line, with real proxies, a real DSQL and a stage table."""

import asyncio
import functools
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.forked import crossfade as command
from tests.integration.scenes import SETTLE_SECONDS, Scene, insist, run_sql, scene, swept, wait_until
from tests.integration.test_stages import BOOKS, GAMES, item
from tests.standins.billio import TABLE, billio_table

READ, OPERATE = "read-0123456789abcdef", "operate-0123456789abcdef"
STAGES = '[stages]\ntable = "crossfade_stages"\nlease_seconds = {}\npoll_seconds = 0.1\nhold_seconds = 20.0\n'
# Where a process is killed, and its lease has to run out.
SHORT_LEASE_SECONDS = 3.0
EASY = "[gate]\nmin_comparisons = 3\nmin_pattern_comparisons = 1\nmax_mismatch_rate = 0.5\n"
ENVIRONMENT = {"CROSSFADE_ADMIN__READ_TOKEN": READ, "CROSSFADE_ADMIN__OPERATOR_TOKEN": OPERATE}


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(here: Scene, method: str, path: str, body: Any = None, token: str | None = OPERATE, **headers: str) -> Answer:
    whole = {"Content-Type": "application/json", **headers}
    if token is not None:
        whole["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(here.proxy.admin + path, data=data, headers=whole, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return Answer(answer.status, answer.headers["Content-Type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers["Content-Type"], error.read().decode())


def console(here: Scene, path: str, form: Mapping[str, str] | None = None) -> str:
    """A page of the console as an operator sees it, or what a form is answered."""
    jar = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(jar)
    browser.addheaders = [("Sec-Fetch-Site", "same-origin")]

    def page(path: str, fields: Mapping[str, str] | None) -> str:
        data = urllib.parse.urlencode(fields).encode() if fields is not None else None
        try:
            with browser.open(here.proxy.admin + path, data, timeout=120) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    page("/sign-in", {"token": OPERATE})
    return page(path, form)


@contextmanager
def moving(
    dynamodb: str, database: str, dsql: str, *, extra: str = EASY, lease_seconds: float = 20.0
) -> Iterator[Scene]:
    stages = STAGES.format(lease_seconds)
    swept(dsql)
    with scene(dynamodb, dsql, rows=database, extra=stages + extra, environment=ENVIRONMENT) as here:
        yield here


@pytest.fixture
def here(dynamodb: str, database: str, dsql_database: str) -> Iterator[Scene]:
    """One proxy with tokens, a gate that opens soon, and some traffic of books."""
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database) as running:
        use(running)
        yield running


def use(here: Scene) -> None:
    client = here.client(attempts=10)
    for key in (*BOOKS, *GAMES):
        client.put_item(TableName=TABLE, Item=item(key))
    settle(here)  # the gate counts the reads: none may race with its write
    for key in (*BOOKS, *GAMES):
        client.get_item(TableName=TABLE, Key=key)
    settle(here)


def settle(here: Scene) -> None:
    def settled() -> bool:
        status = ask(here, "GET", "/v1/status").json
        return not status["journal"]["keys"] and not status["behind"]

    wait_until(settled, 120, "the journal to be empty")


def moved(here: Scene, scope: str, body: Mapping[str, Any], token: str | None = OPERATE, **headers: str) -> Answer:
    """A move that is to be made: the answer that says so."""
    put = functools.partial(ask, here, "PUT", f"/v1/stages/{scope}", body, token, **headers)
    answer = insist(put, lambda answer: answer.status == 200 and '"kept"' not in answer.text)
    assert answer.status == 200, answer.text
    return answer


def crossfade(here: Scene, *words: str, token: str | None = OPERATE, code: int = 0) -> tuple[str, str]:
    """The command, over the admin port; where it is to go well, until it has."""
    environment = {"CROSSFADE_ADMIN__OPERATOR_TOKEN": token} if token else {}
    folder = here.proxy.log_file.parent.parent
    run = functools.partial(command, *words, "--admin", here.proxy.admin, environment=environment, folder=folder)
    ran = insist(run, lambda ran: ran.code == code or code != 0)
    assert ran.code == code, ran
    return ran.out, ran.err


def test_a_table_is_flipped_and_flipped_back_over_the_api(here: Scene) -> None:
    standing = ask(here, "GET", "/v1/stages", token=READ).json
    assert (standing["epoch"], standing["pinned"], standing["flip"]) == (0, None, None)
    (table, *types) = standing["stages"]
    assert (table["table"], table["type"], table["stage"], table["authority"]) == (TABLE, None, "shadow", "dynamodb")
    assert table["next"] == "live"
    assert table["blocked_by"] == []
    assert {each["type"] for each in types} >= {"Book", "VideoGame"}
    gate = ask(here, "GET", f"/v1/gate/{TABLE}?to=live").json
    assert gate["open"], gate

    before = ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "live", "dry_run": True}).json
    assert before["outcome"] == "would_move"
    assert "DSQL becomes the authority: its answers are what clients get." in before["sentences"]
    assert ask(here, "GET", f"/v1/stages/{TABLE}").json["stage"] == "shadow"

    there = moved(here, TABLE, {"stage": "live", "by": "lisa", "epoch": 0})
    assert there.json | {"held_ms": 0} == {
        "outcome": "moved",
        "table": TABLE,
        "type": None,
        "from": "shadow",
        "to": "live",
        "ramp": 0.0,
        "epoch": 1,
        "held_ms": 0,
    }
    assert there.json["held_ms"] > 0
    at = ask(here, "GET", f"/v1/stages/{TABLE}/Book").json
    assert (at["stage"], at["authority"], at["by"], at["next"]) == ("live", "dsql", "operator: lisa", "rampdown")
    client = here.client(attempts=10)
    client.put_item(TableName=TABLE, Item=item(BOOKS[0], 7))
    assert client.get_item(TableName=TABLE, Key=BOOKS[0])["Item"]["title"] == item(BOOKS[0], 7)["title"]
    settle(here)

    assert moved(here, TABLE, {"stage": "live"}).json["outcome"] == "unchanged"
    late = ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "shadow", "epoch": 0})
    assert late.status == 409
    assert "this is epoch 1, not 0" in late.json["detail"]
    back = moved(here, TABLE, {"stage": "shadow", "ramp": 5})
    assert (back.json["epoch"], back.json["ramp"]) == (2, 5.0)
    history = [
        each for each in ask(here, "GET", "/v1/history", token=READ).json["history"] if each["outcome"] != "kept"
    ]
    assert [(each["from"], each["to"], each["by"], each["outcome"]) for each in history] == [
        ("live", "shadow", "operator", "moved"),
        ("shadow", "live", "operator: lisa", "moved"),
    ]
    assert {each["name"] for each in history[1]["gate"]["criteria"]} >= {"agreement", "coverage", "journal"}


def test_a_shut_gate_is_passed_by_force_alone_and_the_reason_is_kept(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    with moving(dynamodb, database, dsql_database, extra="") as here:
        use(here)
        shut = ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "live"})
        assert (shut.status, shut.content_type) == (409, "application/problem+json")
        assert "the gate is shut: comparisons" in shut.json["detail"]
        stops = {each["name"] for each in shut.json["gate"]["criteria"] if not each["holds"] and each["blocks"]}
        assert stops == {"comparisons", "agreement"}
        assert ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "live", "force": True}).status == 400
        forced = {"stage": "live", "force": True, "because": "the test says so"}
        stream = moved(here, TABLE, forced, Accept="application/x-ndjson")
        assert stream.content_type == "application/x-ndjson"
        lines = [json.loads(line) for line in stream.text.splitlines()]
        assert lines[-1]["end"]["outcome"] == "moved"
        assert {line["phase"] for line in lines[:-1]} >= {"announced", "holding"}
        (process,) = lines[0]["processes"]
        assert process["process"] == ask(here, "GET", "/v1/stages").json["processes"][0]["process"]
        entry = ask(here, "GET", "/v1/history").json["history"][0]
        assert (entry["forced"], entry["because"], entry["gate"]["open"]) == (True, "the test says so", False)
        door = ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "complete"})
        assert door.status == 409
        assert "no move leads out of it" in str(door.json["gate"])
        closed = {"stage": "complete", "force": True, "because": "all is moved"}
        moved(here, TABLE, closed)
        nobody_leaves_complete(here)


def nobody_leaves_complete(here: Scene) -> None:
    """Neither over HTTP, nor by the command, nor on the console; not with force, and not by the first step back."""
    for stage in ("rampdown", "live", "shadow", "dualwrite", "off"):
        for scope in (TABLE, f"{TABLE}/Book"):
            forced = {"stage": stage, "force": True, "because": "I will have it back"}
            refused = ask(here, "PUT", f"/v1/stages/{scope}", forced)
            assert (refused.status, refused.json["outcome"]) == (409, "refused")
            assert "no move leaves complete, forced or not" in refused.json["detail"]
    words = ("stage", TABLE, "rampdown", "--force", "--because", "I will have it back")
    assert "no move leaves complete" in crossfade(here, *words, code=1)[1]
    assert "no move leaves complete" in crossfade(here, "stage", TABLE, "live", "--dry-run", code=1)[0]
    assert crossfade(here, "stage", TABLE)[0] == f"{TABLE}: complete, the last stage: no move leads out of it\n"
    page = console(here, "/move?" + urllib.parse.urlencode({"table": TABLE, "to": "rampdown"}))
    assert "no move leaves complete" in page.lower()
    assert "Force it" not in page
    form = {"table": TABLE, "to": "rampdown", "force": "yes", "because": "I will have it back"}
    assert "no move leaves complete" in console(here, "/move", form).lower()
    assert ask(here, "GET", f"/v1/stages/{TABLE}").json["stage"] == "complete"


def test_what_cannot_be_is_refused_forced_or_not(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    off = f'[tables.{TABLE}.types.Book]\nstage = "off"\n'
    with moving(dynamodb, database, dsql_database, extra=EASY + off) as here:
        use(here)
        force = {"stage": "live", "force": True, "because": "I will have it"}
        for scope in (TABLE, f"{TABLE}/Book"):
            refused = ask(here, "PUT", f"/v1/stages/{scope}", force)
            assert refused.status == 409, refused.text
            assert "go to dualwrite first" in refused.json["detail"]
        assert ask(here, "GET", f"/v1/stages/{TABLE}/Book").json["stage"] == "off"
        moved(here, f"{TABLE}/VideoGame", {"stage": "live"})
        assert ask(here, "GET", f"/v1/stages/{TABLE}").json["stage"] == "shadow"


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "/v1/stages/nowhere", {"stage": "live"}, 404, "no table 'nowhere'"),
    ("PUT", f"/v1/stages/{TABLE}/Boook", {"stage": "live"}, 404, "declares no type 'Boook': it has Book"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "alive"}, 400, "'alive' is no stage"),
    ("PUT", f"/v1/stages/{TABLE}", {"stag": "live"}, 400, "did you mean stage?"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "live", "ramp": 5}, 400, "only shadow has one"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "shadow", "ramp": 101}, 400, "ramp: a number from 0 to 100"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "shadow", "ramp": True}, 400, "ramp: a number"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "live", "because": "x" * 501}, 400, "because: a text of one line"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "live", "because": "x" * 20_000}, 413, "larger than"),
    ("PUT", f"/v1/stages/{TABLE}", ["live"], 400, "must be a JSON object"),
    ("PUT", f"/v1/stages/{TABLE}?force=true", {"stage": "live"}, 400, "no parameter 'force'"),
    ("GET", f"/v1/gate/{TABLE}?to=alive", None, 400, "'alive' is no stage"),
    ("GET", f"/v1/gate/{TABLE}?ramp=x", None, 400, "ramp: a number"),
    ("GET", "/v1/history?limit=501", None, 400, "from 1 to 500"),
    ("DELETE", "/v1/processes/nobody?because=x", None, 404, "no process 'nobody'"),
    ("DELETE", "/v1/processes/nobody", None, 400, "because: say"),
    ("POST", f"/v1/stages/{TABLE}", {"stage": "live"}, 405, "Method Not Allowed"),
    ("PUT", f"/v1/stages/{TABLE}", {"stage": "live", "ramp": None}, 400, "null is no value"),
]


def test_what_is_asked_wrongly_is_told_and_changes_nothing(here: Scene) -> None:
    for method, path, body, status, said in WRONG:
        answer = ask(here, method, path, body)
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), (method, path, body)
        assert said in answer.json["detail"]
    assert ask(here, "GET", "/v1/stages").json["epoch"] == 0
    assert "Traceback" not in here.proxy.log_file.read_text()


def test_nobody_changes_anything_without_the_operator_s_token(here: Scene) -> None:
    for token, status in ((None, 401), (READ, 403), (OPERATE + "x", 401)):
        for method, path, body in (
            ("PUT", f"/v1/stages/{TABLE}", {"stage": "live"}),
            ("PUT", f"/v1/stages/{TABLE}/Book", {"stage": "live"}),
            ("DELETE", "/v1/processes/x?because=y", None),
        ):
            assert ask(here, method, path, body, token).status == status
    assert ask(here, "PUT", f"/v1/stages/{TABLE}", {"stage": "live"}, Origin="https://evil.example").status == 403
    assert ask(here, "GET", "/v1/stages").json["epoch"] == 0
    log = here.proxy.log_file.read_text()
    assert "admin_refused" in log
    assert not any(token in log for token in (READ, OPERATE))


def test_the_command_over_the_admin_port(here: Scene) -> None:
    out, _ = crossfade(here, "stage")
    head, first, *_ = out.splitlines()
    assert head.split() == ["TABLE", "/", "TYPE", "STAGE", "AUTHORITY", "RAMP", "SINCE", "BY", "NEXT", "BLOCKED", "BY"]
    assert first.split()[:3] == [TABLE, "shadow", "dynamodb"]
    out, _ = crossfade(here, "stage", TABLE, "live", "--by", "tom")
    assert "writes are held: " in out
    assert f"{TABLE} is in live now: epoch 1, writes were held for" in out
    out, _ = crossfade(here, "history")
    assert f"{TABLE}: shadow → live, by operator: tom: moved, writes held for" in out
    _, said = crossfade(here, "stage", TABLE, "complete", code=1)
    assert "the gate is shut: door" in said
    out, _ = crossfade(here, "stage", TABLE, "shadow", "--ramp", "5", "--json")
    assert json.loads(out.splitlines()[-1])["end"]["epoch"] == 2
    assert ask(here, "GET", f"/v1/stages/{TABLE}").json["ramp"] == 5.0
    _, said = crossfade(here, "stage", token=None, code=1)
    assert "send a token" in said


def test_the_command_straight_at_the_stage_table_moves_two_proxies(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    """No admin port is asked, and both proxies take part; one that is killed and owes nothing does not stand in the
    way, and one that may owe does."""
    billio_table(dynamodb)
    with ExitStack() as both:
        one, two = (
            both.enter_context(moving(dynamodb, database, dsql_database, lease_seconds=SHORT_LEASE_SECONDS))
            for _ in range(2)
        )
        use(one)
        settle(two)
        # Both were told to take any port, and say which they have.
        ports = {each.proxy.data.removeprefix("http://") for each in (one, two)}

        def said_ports() -> set[str]:
            return {each["listen"] for each in ask(one, "GET", "/v1/stages").json["processes"]}

        wait_until(lambda: said_ports() == ports, 120, "both to say where they listen")
        config = tmp_path / "crossfade.toml"
        config.write_text((one.proxy.log_file.parent / "crossfade.toml").read_text())

        quick = {f"CROSSFADE_{store}__SETTLE_SECONDS": str(SETTLE_SECONDS) for store in ("DYNAMODB", "DSQL")}

        def straight(*words: str, said: str = "", code: int = 0) -> str:
            run = functools.partial(command, *words, "--config", str(config), environment=quick, folder=tmp_path)
            ran = insist(run, lambda ran: ran.code == code and said in ran.out + ran.err)
            assert (ran.code, said in ran.out + ran.err) == (code, True), ran
            return ran.out + ran.err

        # The one that is asked knows of the other by the stage table alone, as the command does of both.
        wait_until(lambda: ask(two, "GET", f"/v1/gate/{TABLE}?to=live").json["open"], 120, "the evidence of both")
        out = straight("stage", TABLE, "live", "--because", "two of them")
        assert "of 2 processes" in out
        assert "is in live now: epoch 1" in out
        for each in (one, two):
            assert ask(each, "GET", f"/v1/stages/{TABLE}").json["stage"] == "live"
            assert ask(each, "GET", "/v1/status").json["epoch"] == 1

        gone = next(each["process"] for each in ask(two, "GET", "/v1/stages").json["processes"] if each["here"])
        two.client(attempts=10).put_item(TableName=TABLE, Item=item(BOOKS[0], 3))
        two.proxy.kill()
        forced = ("stage", TABLE, "shadow", "--force", "--because")
        straight(*forced, "it is gone", said=f"crossfade stage forget {gone}", code=1)
        # A sweep from before it was forgotten says nothing of what it owed.
        straight("verify", "--repair", "--quiet")
        straight("stage", "forget", gone[:8], "--because", "the host is lost", said=f"did you mean {gone}?", code=2)
        said = straight("stage", "forget", gone, "--because", "the host is lost")
        assert f"{gone} is forgotten" in said
        assert "crossfade verify --table TABLE --repair" in said
        acknowledged = f"process {gone} was forgotten"
        straight(*forced, "nothing is missing, I think", said=acknowledged, code=1)
        straight("verify", "--repair", "--quiet")
        # The proxy sees the sweep within five seconds, and tells within five more.
        assert "it would be moved" in straight("stage", TABLE, "shadow", "--dry-run")
        assert "is in shadow now: epoch 2" in straight("stage", TABLE, "shadow")
        said = straight("history")
        assert f"process {gone} forgotten" in said
        assert "because two of them" in said


def test_a_restarted_proxy_has_not_unseen_anything(here: Scene) -> None:
    def compared() -> Mapping[str, Any]:
        gate = ask(here, "GET", f"/v1/gate/{TABLE}?to=live").json
        found: Mapping[str, Any] = next(each for each in gate["criteria"] if each["name"] == "agreement")
        return found

    before, now = compared()["value"], time.time()
    assert before.startswith("0 of ")

    def told() -> bool:
        """All of it: what was told in the midst of it would say less."""
        rows = stage_items(here, "evidence")
        return len(rows) == 1 and min(json.loads(rows[0]["text"]["S"])["at"].values()) > now

    wait_until(told, 120, "the evidence in the stage table")
    here.proxy.kill()
    here.proxy.restart(ready=False)
    wait_until(lambda: compared()["value"] == before, 120, "the evidence to be taken up again")


def test_a_ramp_is_taken_back_by_itself(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    demote = EASY.replace("0.5", "0.001") + "demote = true\n"
    with moving(dynamodb, database, dsql_database, extra=demote) as here:
        use(here)
        moved(here, TABLE, {"stage": "shadow", "ramp": 50})
        asyncio.run(run_sql(database, "UPDATE items SET title = 'spoilt'"))
        client = here.client(attempts=10)
        for key in BOOKS:
            client.get_item(TableName=TABLE, Key=key)

        def newest() -> Any:
            return ask(here, "GET", "/v1/history?limit=1").json["history"][0]

        by_itself = ("crossfade, by itself", "moved")
        wait_until(lambda: (newest()["by"], newest()["outcome"]) == by_itself, 120, "the ramp to be taken back")
        entry = newest()
        assert (entry["to"], entry["ramp_before"], entry["ramp"]) == ("shadow", 50, 0)
        assert ask(here, "GET", f"/v1/stages/{TABLE}").json["ramp"] == 0
        assert "agreement" in entry["because"]


def stage_items(here: Scene, scope: str) -> list[dict[str, Any]]:
    """What the stage table holds of a scope, asked for past the proxy."""
    found: list[dict[str, Any]] = here.direct().query(
        TableName="crossfade_stages",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "scope"},
        ExpressionAttributeValues={":s": {"S": scope}},
    )["Items"]
    return found
