"""What the console makes of numbers: words, drawings, and the one sentence at its top."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import formatting as words
from proxy.admin.console import charts
from proxy.admin.console.backend import history_entry
from proxy.admin.console.mismatches import group_mismatches
from proxy.admin.console.samples import Sample
from proxy.admin.console.texts import VERDICTS
from proxy.admin.console.view import PageData, View, compose_view
from proxy.cutover.explanations import consequences, way_back
from proxy.cutover.model import HistoryEntry, StagedScope, StagesView
from proxy.cutover.stages import Scope, Stage

NOW = 1_790_000_000.0
CALM = {
    "journal": {"keys": 0, "oldest_seconds": 0.0, "parked": 0},
    "breaker": {"dsql": "closed"},
    "behind": 0,
    "comparisons": [],
}
SHADOW = StagesView(3, [StagedScope(Scope("billio"), Stage.SHADOW)])


def sample(ago: float, keys: int = 0, **verdicts: int) -> Sample:
    return Sample(NOW - ago, verdicts, 0, keys, keys * 0.1, 0, False)


def seen(
    *samples: Sample, status: Mapping[str, object] = CALM, overview: StagesView = SHADOW,
    history: tuple[HistoryEntry, ...] = (),
    problems: tuple[str, ...] = (),
) -> View:  # fmt: skip
    return compose_view(
        PageData(
            now=NOW, version="1", since=NOW - 1000, status=status, overview=overview, gates={}, mismatches=[],
            samples=samples, latency={}, history=history, problems=problems,
        )
    )  # fmt: skip


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (0.0042, "4.2 ms"), (0.084, "84 ms"), (0.9996, "1 s"), (2.0, "2 s"), (2.54, "2.5 s"), (59.4, "59 s"),
     (61, "1 min"), (3600, "1 h"), (7500, "2 h 5 min"), (100_000, "1 d 3 h")],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds).replace(words.NARROW, " ") == said


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_share_that_is_not_all_or_nothing_never_says_so(part: int, more: int) -> None:
    said = words.percent(part / (part + more)).replace(words.NARROW, "")
    assert said not in ("100%", "0%")
    assert words.percent(1.0).startswith("100")


def test_long_texts_are_shown_where_they_part() -> None:
    one, other = words.sides({"S": "x" * 2000 + "left" + "z" * 900}, {"S": "x" * 2000 + "right" + "z" * 900})
    assert one.text.startswith("…xxx")
    assert "left" in one.text
    assert "right" in other.text
    assert len(one.text) < 400


def test_values_are_written_as_people_write_them() -> None:
    value = {"M": {"url": {"S": "a"}, "sizes": {"L": [{"N": "1"}, {"NULL": True}]}, "tags": {"SS": ["b"]}}}
    assert words.side(value).text == '{url: "a", sizes: [1, true], tags: {"b"}}'
    assert words.side({"S": "plain"}).text == "plain"
    assert words.side(None).absent


def test_a_redacted_side_shows_letters_and_shape_only() -> None:
    shown = words.side({"type": "S", "hash": "ghjkmnpq", "shape": {"length": 16}})
    assert (shown.type, shown.hash, shown.text) == ("text", "ghjkmnpq", "up to 16 characters")
    few = words.side({"type": "BOOL", "hash": None, "shape": {}})
    assert (few.type, few.hash, few.text) == ("boolean", "", "")


# -- drawings ----------------------------------------------------------------------------------------------------------

SAMPLES = st.builds(
    lambda ago, verdicts, keys: Sample(NOW - ago, verdicts, 0, keys, keys / 7, 0, False),
    st.floats(0, 9000),
    st.dictionaries(st.sampled_from(sorted(VERDICTS)), st.integers(1, 10**6)),
    st.integers(0, 10**6),
)
RINGS = st.lists(SAMPLES, max_size=30).map(lambda ring: sorted(ring, key=lambda each: each.at))


@settings(max_examples=60, deadline=None)
@given(RINGS, st.floats(0, 10_000))
def test_everything_is_drawn_within_its_frame(ring: list[Sample], ran: float) -> None:
    found = charts.agreement(ring, NOW - ran, NOW)
    for column in found.columns:
        assert 0 <= column.x < charts.COLUMNS
        for piece in column.pieces:
            assert piece.height > 0
            assert -0.01 <= piece.y <= charts.HEIGHT
    inside = [each for each in ring if NOW - each.at < found.seconds - found.seconds / charts.COLUMNS]
    assert found.all >= sum(sum(each.verdicts.values()) for each in inside)
    assert bool(found.marks) == bool(found.alarming) == bool(found.alarmed_at)
    area = charts.area(ring, NOW - ran, NOW, lambda each: float(each.keys), charts.COUNTS, words.count)
    assert area.highest <= max((each.keys for each in ring), default=0)


def test_one_mismatch_among_a_million_is_seen() -> None:
    found = charts.agreement([sample(5, agreed=1_000_000, mismatch=1)], NOW - 60, NOW)
    (column,) = found.columns
    assert column.pieces[-1].tone == "alarm"
    assert column.pieces[-1].height >= 2
    assert [mark.count for mark in found.marks] == [1]


def test_columns_stand_still_while_time_goes_on() -> None:
    kept = sample(400, agreed=3)
    places = {charts.agreement([kept], NOW - 500, NOW + more).columns[0].x for more in (0, 1, 9.9)}
    assert len(places) <= 2
    assert charts.agreement([kept], NOW - 500, NOW + 7200).columns == ()


def test_races_say_nothing_about_agreement() -> None:
    found = charts.agreement([sample(5, agreed=98, racing=500, mismatch=2)], NOW - 60, NOW)
    assert (found.all, found.telling, found.alarming) == (600, 100, 2)


# -- the one sentence --------------------------------------------------------------------------------------------------


def test_all_is_well() -> None:
    assert seen(sample(5, agreed=9)).headline.tone == "calm"


def test_the_gravest_comes_first_and_the_rest_follows() -> None:
    status = {**CALM, "journal": {"keys": 9, "oldest_seconds": 90.0, "parked": 2}, "breaker": {"dsql": "open"}}
    top = seen(
        sample(5, agreed=9, mismatch=1), status=status, problems=("the journal cannot be written: free the disk",)
    )
    assert top.headline.tone == "alarm"
    assert top.headline.text == "The journal cannot be written: free the disk."
    assert top.headline.more[0] == "The stores disagree."
    assert "mapping cannot hold" in top.headline.more[1]
    assert "left alone" in top.headline.more[2]


def test_a_disagreement_of_an_hour_ago_is_not_forgotten() -> None:
    top = seen(sample(800, agreed=9, mismatch=1), sample(5, agreed=9)).headline
    assert (top.tone, top.text) == ("unsure", f"The stores last disagreed {words.duration(800)} ago.")


def test_silence_is_no_agreement() -> None:
    assert seen(sample(5)).headline.tone == "unsure"


@pytest.mark.parametrize(
    ("stage", "tone"), [(Stage.OFF, "quiet"), (Stage.DUALWRITE, "quiet"), (Stage.COMPLETE, "calm")]
)
def test_where_nothing_is_compared_nothing_is_claimed(stage: Stage, tone: str) -> None:
    top = seen(overview=StagesView(1, [StagedScope(Scope("t"), stage)])).headline
    assert top.tone == tone
    assert "agree" not in top.text


def test_no_table_is_nothing_to_judge() -> None:
    top = seen(overview=StagesView(0, [])).headline
    assert (top.tone, top.text, top.more) == ("quiet", "No table has been used yet.", ())


def test_what_is_compared_says_nothing_of_tables_that_are_not() -> None:
    places = [
        StagedScope(Scope("compared"), Stage.SHADOW),
        *(StagedScope(Scope(f"t{n}"), Stage.DUALWRITE) for n in range(5)),
    ]
    some, many = (seen(sample(5, agreed=9), overview=StagesView(1, places[:end])).headline for end in (3, 6))
    assert (some.tone, some.text) == ("calm", "Where they are compared, the two stores agree.")
    assert some.more == ("Nothing is compared now, of all or some types, in t0, t1.",)
    assert many.more == ("Nothing is compared now, of all or some types, in t0, t1, t2 and 2 more.",)


def test_a_type_that_is_not_compared_keeps_its_table_from_the_calm_sentence() -> None:
    places = [StagedScope(Scope("billio"), Stage.SHADOW), StagedScope(Scope("billio", "Book"), Stage.DUALWRITE)]
    top = seen(sample(5, agreed=9), overview=StagesView(1, places)).headline
    assert (top.text, top.more) == (
        "Where they are compared, the two stores agree.",
        ("Nothing is compared now, of all or some types, in billio.",),
    )


def test_a_move_that_ended_is_told_for_a_while() -> None:
    ended = HistoryEntry(NOW - 20, "billio/Book", "shadow", "live", "ann", True, held_ms=84.0, epoch=4)
    said = seen(history=(ended,)).notice
    assert said is not None
    assert said.text.replace(words.NARROW, " ") == (
        "Book of billio went from shadow to live, epoch 4. Writes were held for 84 ms."
    )
    assert seen(history=(dataclasses.replace(ended, at=NOW - 4000),)).notice is None


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"from": "shadow", "to": "shadow", "ramp_before": 5.0, "ramp": 20.0}, (5, 20)),
        ({"from": "shadow", "to": "shadow", "ramp_before": 0.0, "ramp": 20.0}, (0, 20)),
        ({"from": "shadow", "to": "shadow", "ramp_before": None, "ramp": 0.0}, (None, 0)),
        ({"from": "shadow", "to": "live", "ramp_before": 5.0, "ramp": 0.0}, (5, None)),
        ({"from": "dualwrite", "to": "shadow", "ramp_before": 0.0, "ramp": 0.0}, (None, None)),
    ],
)
def test_a_move_is_told_with_the_ramp_before_and_after(kept: dict[str, Any], said: tuple[int | None, ...]) -> None:
    entry = history_entry({"scope": "billio", "outcome": "moved", **kept})
    ramps = ("" if each is None else f", {each} % of reads from DSQL" for each in said)
    assert [entry.before, entry.after] == [f"{kept[at]}{ramp}" for at, ramp in zip(("from", "to"), ramps, strict=True)]


def test_a_process_that_was_forgotten_is_no_move() -> None:
    moved = HistoryEntry(NOW - 90, "t", "off", "shadow", "ann", True, epoch=4)
    forgotten = HistoryEntry(NOW - 20, "9f3c1d20b7aa", "", "forgotten", "ann", True, epoch=4)
    said = seen(history=(forgotten, moved)).notice
    assert said is not None
    assert said.text.startswith("t went from off to shadow")


def test_what_one_operation_found_at_two_items_are_two_findings() -> None:
    kept = [
        {"at": NOW, "request_id": "R", "table": "t", "type": "Book", "operation": "Query", "kind": "value",
         "path": path, "key": {"id": {"S": key}}, "authority": {"N": "1"}, "mirror": {"N": "2"}, "verdict": verdict}
        for path, key, verdict in (("a", "1", "mismatch"), ("b", "1", "unrepresentable"), ("a", "2", "unrepresentable"))
    ]  # fmt: skip
    first, second = group_mismatches(kept)
    assert [each.path for each in first.differences] == ["b", "a"]
    assert (first.verdict, second.verdict, first.id != second.id) == ("mismatch", "unrepresentable", True)


def test_of_a_thousand_tables_those_on_the_way_are_shown() -> None:
    places = [StagedScope(Scope(f"t{n:04}"), Stage.SHADOW if n == 999 else Stage.OFF) for n in range(1000)]
    found = seen(overview=StagesView(1, places))
    assert (found.tables[0].name, len(found.tables) < 100, found.tables_met) == ("t0999", True, 1000)


# -- what a move means -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", Stage)
@pytest.mark.parametrize("to", Stage)
def test_a_move_is_said_to_hold_writes_exactly_where_the_authority_changes(at: Stage, to: Stage) -> None:
    said = " ".join(consequences(at, to, 3, 2.0))
    assert ("New writes wait until all 3 processes" in said) == (at.authority != to.authority)
    assert ("becomes the authority" in said) == (at.authority != to.authority)
    assert ("There is none" in way_back(at, to)) == (to is Stage.COMPLETE)


def test_today_needs_no_date() -> None:
    now = time.time()
    assert len(words.moment(now, now)) == len("18:02:11")
    assert words.moment(now - 3 * 86_400, now).count(" ") == 3
