"""validate-data, fix-data and extract as a user types them: output, exit codes, messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.cli import main
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.storage.ark import ArkReader


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two utterances of noise, 0.2 s each, the second with two channels."""
    rng = np.random.default_rng(0)
    data = DataDir()
    for utt_id, shape in (("a-1", 3200), ("b-1", (3200, 2))):
        soundfile.write(tmp_path / f"{utt_id}.wav", rng.uniform(-0.1, 0.1, shape), 16000)
        data.wav[utt_id] = str(tmp_path / f"{utt_id}.wav")
        data.utt2spk[utt_id] = utt_id[0]
        data.text[utt_id] = "HELLO"
    data.write(tmp_path / "data")
    return tmp_path / "data"


def test_validate_data_says_what_it_found(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["validate-data", "--data_dir", str(data_dir), "--audio"]) == 0
    out = capsys.readouterr().out
    assert out == f"Successfully validated data-directory {data_dir}: 2 utterances, 2 speakers\n"


def test_validate_data_names_all_faults_and_fails(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    (data_dir / "text").write_text("b-1 X\na-1 Y")
    assert main(["validate-data", "--data_dir", str(data_dir), "--needs", "text utt2emo"]) == 1
    captured = capsys.readouterr()

    assert captured.out == ""
    assert "3 faults" in captured.err
    for fault in (
        "text:2: the last line has no line end",
        "text:2: lines are not sorted",
        "utt2emo: is missing",
    ):
        assert fault in captured.err


def test_fix_data_says_what_it_did(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    (data_dir / "text").write_text("b-1 X\na-1 Y\n")
    assert main(["fix-data", "--data_dir", str(data_dir)]) == 0
    out = capsys.readouterr().out

    assert "text: repaired: lines are not sorted" in out
    assert f"kept 2 utterances in {data_dir}" in out
    assert main(["validate-data", "--data_dir", str(data_dir)]) == 0


def test_fix_data_drops_a_list_and_keeps_who_left(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    (data_dir.parent / "drop.txt").write_text("b-1 too short\nc-9\n")
    assert main(["fix-data", "--data_dir", str(data_dir), "--drop", str(data_dir.parent / "drop.txt")]) == 0

    assert "dropped 1 (too short 1; of speakers b 1)" in capsys.readouterr().out
    assert (data_dir / "dropped").read_text() == "b-1 b too short\n"
    assert main(["validate-data", "--data_dir", str(data_dir)]) == 0
    assert DataDir.read(data_dir).utt_ids == ["a-1"]


def drop(data_dir: Path, text: str, *more: str) -> int:
    (data_dir.parent / "drop.txt").write_text(text)
    given = ["--data_dir", str(data_dir), *more, "--drop", str(data_dir.parent / "drop.txt")]
    return main(["fix-data", *given])


def test_a_list_to_drop_may_be_parted_by_tabs(data_dir: Path) -> None:
    assert drop(data_dir, "b-1\ttoo short\n") == 0
    assert (data_dir / "dropped").read_text() == "b-1 b too short\n"


def test_ids_that_are_not_here_are_named(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    assert drop(data_dir, "b-1\nb-2\n") == 0
    assert "drop.txt: 1 of 2 ids are not here: b-2\n" in capsys.readouterr().out


def test_a_list_that_would_do_nothing_fails(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    assert drop(data_dir, "b1\nb-2 too short\n") == 1
    assert "drop.txt: 2 of 2 ids are not here: b-2, b1; expected ids of " in capsys.readouterr().err
    assert DataDir.read(data_dir).utt_ids == ["a-1", "b-1"]


def test_what_left_before_may_be_dropped_again(data_dir: Path) -> None:
    assert drop(data_dir, "b-1 too short\n") == drop(data_dir, "b-1 too short\n") == 0


def test_a_list_may_be_of_several_data_dirs(data_dir: Path) -> None:
    other = data_dir.parent / "other"
    DataDir.read(data_dir).subset(["a-1"]).write(other)
    assert drop(data_dir, "b-1 too short\n", str(other)) == 0
    assert [DataDir.read(path).utt_ids for path in (data_dir, other)] == [["a-1"], ["a-1"]]


def test_what_extract_refuses_can_be_dropped_and_then_it_runs(
    data_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    (data_dir.parent / "a-1.wav").write_bytes(b"RIFF")
    listed = f"{data_dir.parent / 'out'}.bad"
    assert run_extract(data_dir, "--channel", "mix") == 1
    assert f"cat {listed} >> drop.txt" in capsys.readouterr().err
    assert main(["fix-data", "--data_dir", str(data_dir), "--drop", listed]) == 0
    assert run_extract(data_dir, "--channel", "mix") == 0

    assert list(ArkReader(data_dir.parent / "out")) == ["b-1"]


def run_extract(data_dir: Path, *options: str) -> int:
    places = ["--data_dir", str(data_dir), "--out", str(data_dir.parent / "out")]
    return main(["extract", *places, "--frontend", "power_spectrogram", *options])


def test_extract_makes_a_store(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--channel", "1", "--tempo", "0.9 1.0", "--set", "normalise=false", "--compress"]
    assert run_extract(data_dir, *options) == 0
    store = ArkReader(
        data_dir.parent / "out", expect={"channel": 1, "tempos": [0.9, 1.0], "compressed": True}
    )

    assert store.meta["frontend_conf"]["normalise"] is False
    assert list(store) == ["a-1", "a-1-tempo0.9", "b-1", "b-1-tempo0.9"]
    assert ": 4 arrays" in capsys.readouterr().out


def test_extract_refuses_what_was_not_asked_for(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_extract(data_dir) == 1
    assert "utterance b-1" in capsys.readouterr().err
    assert not (data_dir.parent / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nj", "0"], "--nj 0: expected at least 1"),
        (["--nj", "two"], "invalid int value"),
        (["--tempo", "fast"], "--tempo 'fast': expected numbers"),
        (["--tempo", "7"], "expected different factors"),
        (["--copies", "0"], "copies 0: expected at least 1"),
        (["--copies", "2", "--tempo", "0.9 1.0"], "choose copies at fixed tempos or drawn ones"),
        (["--augment", "tempos=[1,2]"], "did you mean 'tempo'?"),
        (["--augment", "tempo=[1.1,0.9]"], "tempo [1.1, 0.9]: expected [lowest, highest], from 0.5 to 2"),
        (["--channel", "left"], "--channel 'left': expected error, mix"),
        (["--frontend", "power_spectogram"], "did you mean 'power_spectrogram'?"),
        (["--set", "normalize=true"], "did you mean 'normalise'?"),
        (["--resampel"], "did you mean '--resample'?"),
        (["--max_dur", "-1"], "expected 0 <= min_dur < max_dur"),
    ],
)
def test_wrong_usage_of_extract_is_told(
    data_dir: Path, capsys: pytest.CaptureFixture, options: list[str], message: str
) -> None:
    assert run_extract(data_dir, *options) == 2
    assert message in capsys.readouterr().err
