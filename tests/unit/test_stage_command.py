"""`crossfade stage` and `crossfade history` with nobody to ask: what is wrong is one message, and how things look."""

import os
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import stage_output as shown
from proxy.cli.admin_client import token_of
from proxy.cli.main import main
from proxy.settings import load_admin_tokens


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CROSSFADE_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage", "billio", "alive"), "'alive' is no stage"),
        (("stage", "billio", "live", "now"), "too many words"),
        (("stage", "billio", "live", "--force"), "--force needs --because"),
        (("stage", "billio", "live", "--ramp", "5"), "--ramp goes with shadow"),
        (("stage", "billio", "shadow", "--ramp", "101"), "not a percentage"),
        (("stage", "--type", "Book"), "--type goes with a table"),
        (("stage", "billio", "--dry-run"), "--dry-run goes with a stage"),
        (("stage", "forget", "somebody"), "forget needs --because"),
        (("stage", "--admin", "nonsense"), "write http(s)://host:port"),
        (("stage",), "no stage table is set"),
        (("history", "--limit", "0"), "from 1 to 500"),
    ],
)
def test_arguments_that_are_wrong_are_one_message(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(list(words))
    except SystemExit as exit_:  # argparse's own
        code = int(str(exit_.code))
    out, complained = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert said in complained
    assert "Traceback" not in complained


def test_nobody_at_the_admin_port_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stage", "--admin", "http://127.0.0.1:1"]) == 1
    assert "is this a proxy's admin port, and does it run?" in capsys.readouterr().err


def test_of_a_proxy_s_settings_only_the_token_must_be_right(tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    (tmp_path / "token").write_text("0123456789abcdef\n")
    # Here are neither its mirror nor its certificate, and the port is the proxy's own business.
    config.write_text(
        'stage = "live"\n[admin]\nlisten = "elsewhere"\ntls_cert = "none.pem"\noperator_token_file = "token"\n'
        '[tables.billio.types.Book]\nstage = "later"\n[dsql]\npool_min = "many"\n'
    )
    given = load_admin_tokens(config, {"CROSSFADE_DYNAMODB__CONNECTIONS": "0"})
    assert token_of(given, None) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[admin]\noperator_token = "short"', "admin.operator_token: this is no token"),
        (
            '[admin]\nread_token = "0123456789abcdef"\nread_token_file = "t"',
            "read_token and read_token_file are both set",
        ),
        ('[admin]\nread_token_file = "none"', "admin.read_token_file"),
        ('[admin]\ntoken = "0123456789abcdef"', "admin.token: there is no such setting"),
        ('[dsql]\nend_point = "x"', "dsql.end_point: there is no such setting (did you mean endpoint?)"),
        ('[tables.billio.types.Book]\nstages = "off"', 'tables."billio".types."Book".stages: there is no such setting'),
        ("dsql = 3", "dsql: this must be a table of settings"),
    ],
)
def test_what_the_command_reads_of_the_settings_it_checks(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text(text)
    assert main(["stage", "--admin", "http://127.0.0.1:1", "--config", str(config)]) == 2
    assert said in capsys.readouterr().err


CRITERION = {
    "name": "agreement",
    "holds": False,
    "value": "1 of 9",
    "wanted": "at most 0.001",
    "sentence": "They disagree.",
    "blocks": True,
}
PLACE = {
    "table": "billio",
    "type": None,
    "own": True,
    "stage": "shadow",
    "authority": "dynamodb",
    "ramp": 5.0,
    "since": "2026-11-22T21:10:05.123Z",
    "by": "lisa",
    "next": "live",
    "blocked_by": [CRITERION],
}


def test_stages_are_a_table() -> None:
    book = PLACE | {"type": "Book", "own": False, "blocked_by": []}
    process = {"process": "p1", "host": "h", "epoch": 3, "phase": None, "note": None, "owes": True, "here": True}
    gone = process | {"process": "p2", "pid": 7, "listen": "127.0.0.1:8000", "gone": True, "seen": PLACE["since"]}
    standing = {"epoch": 3, "pinned": None, "flip": None, "processes": [process, gone], "stages": [PLACE, book]}
    text = shown.stages(standing)
    assert text.splitlines() == [
        "TABLE / TYPE  STAGE   AUTHORITY  RAMP  SINCE                 BY    NEXT  BLOCKED BY",
        "billio        shadow  dynamodb   5 %   2026-11-22 21:10:05Z  lisa  live  agreement",
        "  Book        shadow                   with its table",
        "epoch 3",
        "",
        "PROCESS  HOST  PID  LISTENS AT      HAS",
        "p1       h                          epoch 3  may owe keys",
        "p2       h     7    127.0.0.1:8000  epoch 3  GONE, last seen 2026-11-22 21:10:05Z: may owe keys",
        "",
        "billio, before live:",
        "  STOP agreement: 1 of 9 (wanted: at most 0.001)",
        "       They disagree.",
    ]


def test_where_no_table_is_known_it_says_so() -> None:
    nothing: dict[str, Any] = {"stages": [], "epoch": 0, "pinned": "", "flip": None, "processes": []}
    assert shown.stages(nothing).startswith("no table yet: ")


def test_a_move_that_was_not_made_says_why_and_what_to_do() -> None:
    kept = {"outcome": "kept", "table": "billio", "type": None, "from": "shadow", "to": "live", "ramp": 0.0, "epoch": 4}
    said = shown.move_outcome(kept | {"detail": "writes were held for 2 s, waiting for p1"})
    assert said.splitlines() == [
        "not moved, billio stays in shadow: everything is as it was (epoch 4)",
        "  why: writes were held for 2 s, waiting for p1",
        "  what to do: `crossfade stage` shows each process; mend what is named here, and try again",
    ]


def test_progress_is_one_line_and_news_are_no_counts() -> None:
    asked = {"process": "06d97107136544b1", "host": "h", "phase": "ready", "note": "3 keys to converge"}
    step = {"phase": "holding", "seconds": 0.81, "text": "", "processes": [asked, asked | {"phase": "drained"}]}
    assert shown.progress_line(step) == (
        "    0.8 s  writes are held: 1 of 2 processes, waiting for 06d97107 on h (3 keys to converge)"
    )
    fewer = step | {"seconds": 0.9, "processes": [asked | {"note": "1 keys to converge"}, asked | {"phase": "drained"}]}
    assert shown.progress_key(fewer) == shown.progress_key(step)


def test_an_impossible_move_is_one_sentence() -> None:
    gate = {"table": "billio", "type": None, "from": "off", "to": "live", "open": False, "criteria": [CRITERION]}
    assert "agreement" not in shown.gate(gate | {"impossible": "go to dualwrite first"})


def test_history_tells_what_did_not_come_off() -> None:
    kept: dict[str, Any] = {
        "at": "2026-11-22T21:10:05.123Z",
        "table": "billio",
        "type": "Book",
        "process": None,
        "from": "shadow",
        "to": "live",
        "ramp": 0.0,
        "by": "tom",
        "because": "we must",
        "forced": True,
        "outcome": "kept",
        "reason": "p1 did not answer in time",
        "epoch": 4,
        "held_ms": 2000,
        "passed_over": [],
    }
    assert shown.history([kept]).splitlines() == [
        "2026-11-22 21:10:05Z  epoch 4  billio/Book: shadow → live, by tom: not moved",
        "    p1 did not answer in time",
        "    because we must",
    ]
    moved = kept | {"outcome": "moved", "reason": None, "because": None, "passed_over": ["p2"]}
    assert shown.history([moved]).splitlines() == [
        "2026-11-22 21:10:05Z  epoch 4  billio/Book: shadow → live, by tom: moved, writes held for 2000 ms, forced",
        "    passed over: p2",
    ]
    ramp = moved | {"from": "shadow", "to": "shadow", "ramp": 5.0, "held_ms": 0, "forced": False, "passed_over": []}
    assert shown.history([ramp]) == "2026-11-22 21:10:05Z  epoch 4  billio/Book: ramp set to 5 %, by tom: moved"
    known = shown.history([ramp | {"ramp_before": 20.0}, moved | {"ramp_before": 5.0}, ramp | {"ramp_before": None}])
    assert [line.split(", by")[0].split("Book: ")[-1] for line in known.splitlines() if "Book" in line] == [
        "ramp set from 20 % to 5 %",
        "shadow (5 % from DSQL) → live",
        "ramp set to 5 %",
    ]
    assert shown.history([]) == "no stage has been moved yet"
