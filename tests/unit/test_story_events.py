"""Where the demo fails it says what happened, which call it was and what was answered; and it keeps the logs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.story import cutover, events, logs
from tests.story.logs import ServerLogs

MISMATCH = {
    "at": "2026-12-01T02:30:48.605Z",
    "operation": "UpdateItem",
    "kind": "value",
    "field": "n",
    "path": "Attributes.n",
    "key": {"id": {"S": "counter-1"}},
    "authority": {"N": "5"},
    "mirror": {"N": "4"},
    "verdict": "mismatch",
}


def part(**found: Any) -> dict[str, Any]:
    """What part three found, with nothing wrong but what is given."""
    good = {"shut": "", "failed_alone": [], "violations": [], "disagreements": [], "mismatches": []}
    return good | {"moves": [{"to": to, "moved": True, "attempts": 1, "said": []} for to in cutover.MOVES]} | found


def test_nothing_is_wrong_where_nothing_was_found() -> None:
    assert cutover.problems(part()) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"shut": "STOP comparisons: 3 of 4 operations"}, ["the gate for live stayed shut", "STOP comparisons"]),
        ({"failed_alone": ["GetItem of flips at 12:00: timeout"]}, ["failed 1 times", "GetItem of flips", "timeout"]),
        ({"violations": ["counter-1 lost 2 of 90"]}, ["counter-1 lost 2 of 90"]),
        ({"disagreements": ["counter-1 differs"]}, ["counter-1 differs"]),
        ({"mismatches": [MISMATCH]}, ["counter-1", "Attributes.n", '{"N": "5"} against {"N": "4"}', "02:30:48"]),
        (
            {"moves": [{"to": "live", "moved": False, "attempts": 10, "said": ["not moved", "  why: held for 60 s"]}]},
            ["live was not made", "10 times", "not moved why: held for 60 s"],
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_what_is_wrong_is_one_sentence_with_what_happened(found: dict[str, Any], words: list[str]) -> None:
    (sentence,) = cutover.problems(part(**found))
    assert "\n" not in sentence
    assert all(word in sentence for word in words), sentence


def test_of_many_events_the_first_are_shown_and_the_rest_counted() -> None:
    assert events.first(["a", "b"]) == "a; b"
    assert events.first(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_the_mirror_s_failures_are_found_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "proxy.log"
    failed = {"event": "verdict", "verdict": "mirror_error", "operation": "PutItem", "table": "t", "reason": "timeout"}
    lines = [
        "listening, not JSON, though it says 'mirror_error'",
        json.dumps(failed | {"time": "12:00"}),
        json.dumps({"event": "verdict", "verdict": "racing", "operation": "PutItem", "reason": "mirror_error"}),
        '{"verdict": "mirror_error", cut',
    ]
    log.write_text("\n".join(lines), "utf-8")
    assert events.mirror_errors(log) == ["PutItem of t at 12:00: timeout"]


def test_an_answer_that_differs_is_shown_beside_what_it_should_be() -> None:
    sentence = events.unlike(6, "get_item", {"Item": {"a": "x" * 200}}, {"Item": {"a": "y"}, "Count": 1})
    assert sentence.startswith("call 7, get_item: Count was null, not 1; Item was ")
    assert "x" * 90 not in sentence


def test_logs_are_kept_while_their_servers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "of-a-run-before.log").touch()

    class Server:
        log_file = tmp_path / "server.log"

    class Silent:
        log_file = tmp_path / "none.log"

    kept = ServerLogs()
    kept.of("one", Server())
    kept.of("two", Silent())
    Server.log_file.write_text("said", "utf-8")
    folder = kept.keep()
    assert [(path.name, path.read_text("utf-8")) for path in folder.iterdir()] == [("one.log", "said")]
