"""The command `protocol`: from a data dir on disk to folds on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import read_protocol

PROTOCOL = """
name: two
version: 1
classes: [glad, sad]
labels: {joy: glad, grief: sad}
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    utt2emo = {f"s{s}-{label}": label for s in range(3) for label in ("grief", "joy", "fear")}
    (tmp_path / "protocol.yaml").write_text(PROTOCOL)
    DataDir(
        wav={utt_id: f"{utt_id}.wav" for utt_id in utt2emo},
        text=dict.fromkeys(utt2emo, "THE SAME SENTENCE"),
        utt2spk={utt_id: utt_id[:2] for utt_id in utt2emo},
        utt2emo=utt2emo,
    ).write(tmp_path / "data")
    options = {"protocol": "protocol.yaml", "data_dir": "data", "out": "out"}
    return [
        "protocol",
        *(word for name, path in options.items() for word in (f"--{name}", str(tmp_path / path))),
    ]


def test_folds_are_written_and_counts_printed(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0

    printed = capsys.readouterr().out
    assert "kept 6 of 9 utterances: glad 3, sad 3" in printed
    assert "dropped 3 for their label: fear 3" in printed
    assert "left out of the data dir before: none" in printed
    assert "fold-01: test s0 (glad 1, sad 1), valid s1, train 2 utterances; 2 of 2 test sentences" in printed
    assert list(read_protocol(tmp_path / "out").folds) == ["fold-01", "fold-02", "fold-03"]


def test_utterances_that_left_the_data_dir_are_counted(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drop").write_text("s0-fear unreadable\n")
    main(["fix-data", "--data_dir", str(tmp_path / "data"), "--drop", str(tmp_path / "drop")])
    assert main(arguments) == 0

    assert "left out of the data dir before: 1 (unreadable 1; of speakers s0 1)" in capsys.readouterr().out
    assert read_protocol(tmp_path / "out").counts["left_out"] == "1 (unreadable 1; of speakers s0 1)"


def test_running_again_replaces_with_the_same_bytes(arguments: list[str], tmp_path: Path) -> None:
    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}

    main(arguments)
    first = content()
    main(arguments)

    assert content() == first
    assert len(first) == 4


def test_wrong_protocol_is_a_usage_error(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocol.yaml").write_text(PROTOCOL + "folds: {valid: nxt}\n")

    assert main(arguments) == 2
    assert "did you mean 'next'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_speakers_of_a_session_are_printed(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    utt2emo = {f"s{s}-{label}": label for s in range(6) for label in ("grief", "joy")}
    DataDir(
        wav={utt_id: f"{utt_id}.wav" for utt_id in utt2emo},
        utt2spk={utt_id: utt_id[:2] for utt_id in utt2emo},
        utt2ses={utt_id: f"ses{int(utt_id[1]) // 2}" for utt_id in utt2emo},
        utt2emo=utt2emo,
    ).write(tmp_path / "data")
    (tmp_path / "protocol.yaml").write_text(PROTOCOL + "folds: {rule: session}\n")

    assert main(arguments) == 0

    printed = capsys.readouterr().out
    assert "3 folds, each session tested once" in printed
    assert "fold-03: test s4 (glad 1, sad 1), s5 (glad 1, sad 1), valid s0, s1, train" in printed
