"""The commands `tokens` and `score-asr` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.text.tokens import load_tokens


def test_tokens_are_made_from_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("a-1 AB BA\na-2 C\n")

    assert main(["tokens", "--text", str(tmp_path / "text"), "--out", str(tmp_path / "tokens")]) == 0
    assert load_tokens(tmp_path / "tokens").symbols == ["<blank>", "<space>", "A", "B", "C"]
    assert "5 tokens of kind char from 2 transcripts" in capsys.readouterr().out


def test_missing_transcripts_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "--text", str(tmp_path / "text"), "--out", str(tmp_path / "tokens")]) == 1
    assert "text" in capsys.readouterr().err


@pytest.fixture
def lists(tmp_path: Path) -> list[str]:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "text").write_text("a-1 THE CAT\nb-1 A DOG\n")
    (tmp_path / "test" / "utt2spk").write_text("a-1 a\nb-1 b\n")
    (tmp_path / "hyp").write_text("a-1 THE BAT\nb-1\n")
    paths = {"ref": tmp_path / "test" / "text", "hyp": tmp_path / "hyp", "out": tmp_path / "scores"}
    return ["score-asr", *(word for name, path in paths.items() for word in (f"--{name}", str(path)))]


def test_rates_are_printed_and_written(
    lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(lists) == 0

    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["wer"] == pytest.approx(3 / 4)
    assert scores["cer"] == pytest.approx((1 + 5) / (7 + 5))
    assert scores["speakers"]["a"]["cer"] == pytest.approx(1 / 7)
    printed = capsys.readouterr().out
    assert "test: CER 50.0 %  WER 75.0 %  of 2 utterances" in printed


def test_scores_say_how_many_utterances_were_dropped(
    lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test" / "dropped").write_text("b-2 b too short\n")
    assert main(lists) == 0

    assert json.loads((tmp_path / "scores" / "scores.json").read_text())["num_dropped"] == 1
    assert "2 of 3 utterances scored; dropped: 1 (too short 1; of speakers b 1)" in capsys.readouterr().out


def test_missing_hypothesis_is_an_error(
    lists: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hyp").write_text("a-1 THE BAT\n")

    assert main(lists) == 1
    assert "b-1: no hypothesis" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()
