"""Settings of stages: where they live, and where a table may begin once they can be moved."""

from pathlib import Path

import pytest

from proxy.settings import Settings, load
from proxy.settings.validation import SettingsError

DSN = '[dsql]\ndsn = "postgresql://shadow@localhost:5432/postgres"\n'


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "crossfade.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def test_without_a_table_the_stages_are_pinned() -> None:
    stages = Settings().stages
    assert stages.table is None
    assert (stages.lease_seconds, stages.poll_seconds, stages.hold_seconds) == (20.0, 1.0, 2.0)


def test_a_table_is_named_in_the_file_or_by_a_variable(tmp_path: Path) -> None:
    text = f'stage = "shadow"\n{DSN}[stages]\ntable = "stages"\nlease_seconds = 6\npoll_seconds = 2\n'
    assert read(tmp_path, text).stages.table == "stages"
    named = read(tmp_path, text, {"CROSSFADE_STAGES__TABLE": "others", "CROSSFADE_STAGES__HOLD_SECONDS": "0.5"})
    assert (named.stages.table, named.stages.hold_seconds) == ("others", 0.5)


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
def test_past_the_flip_a_table_begins_only_where_nobody_can_move_it(stage: str, tmp_path: Path) -> None:
    assert read(tmp_path, f'stage = "{stage}"\n{DSN}').stage_of("billio") == stage
    # Two proxies whose settings differ would otherwise have two authorities.
    for text in (
        f'stage = "{stage}"\n{DSN}[stages]\ntable = "stages"\n',
        f'{DSN}[stages]\ntable = "stages"\n[tables.billio.types.Book]\nstage = "{stage}"\n',
    ):
        with pytest.raises(SettingsError, match=rf"stage '{stage}' cannot be where a table begins.*move it"):
            read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('table = "no/name"', "cannot be a DynamoDB table"),
        ('table = ""', "cannot be a DynamoDB table"),
        ('table = "stages"\nlease_seconds = 0.5', "0.5 is out of range"),
        ('table = "stages"\nhold_seconds = 0', "0 is out of range"),
        ('table = "stages"\npoll_seconds = 7', "a third of lease_seconds"),
    ],
)
def test_a_fault_says_what_would_be_right(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"{DSN}[stages]\n{text}\n")
    (problem,) = caught.value.problems
    assert said in problem
    assert "stages" in problem


def test_stages_that_can_be_moved_need_somewhere_to_move_to(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs the mirror"):
        read(tmp_path, '[stages]\ntable = "stages"\n')
