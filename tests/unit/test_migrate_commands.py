"""Arguments of backfill and verify that cannot be meant are refused before anything is opened."""

from pathlib import Path

import pytest

from proxy.cli.main import main

DSN = 'dsn = "postgresql://nobody@127.0.0.1:1/nothing"'


@pytest.mark.parametrize("command", ["backfill", "verify"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--segment", "0/2"], "write I/N"),
        (["--segment", "3/2"], "write I/N"),
        (["--segment", "1"], "write I/N"),
        (["--rate", "fast"], "is not a rate"),
        (["--rate", "0rcu"], "is not a rate"),
        (["--parallel", "0"], "from 1 to 64"),
    ],
)
def test_arguments_that_cannot_be(
    command: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main([command, *arguments])
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_one_source_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["backfill", "--from-backup", "a", "--from-export", "b"])
    assert "not allowed with" in capsys.readouterr().err


def test_patience_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["verify", "--patience", "-1"])
    assert "from 0 to 3600" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["backfill", "verify"])
def test_without_dsql_there_is_nothing_to_do(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "crossfade.toml"
    path.write_text("")
    assert main([command, "--config", str(path)]) == 2
    assert "set endpoint or dsn in [dsql]" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["backfill", "verify"])
def test_the_table_must_be_named_where_it_is_not_clear(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crossfade.toml"
    path.write_text(f"[dsql]\n{DSN}\n")
    assert main([command, "--config", str(path)]) == 2
    assert "give --table" in capsys.readouterr().err
