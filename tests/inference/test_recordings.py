"""predict and transcribe: all bad recordings are named, with advice for files that a person named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.cli import main
from sertoolkit.errors import AudioError
from sertoolkit.inference.recordings import check_recordings, hear


@pytest.fixture
def good(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "good.wav", np.full((8000, 2), 0.25), 8000)
    return tmp_path / "good.wav"


@pytest.mark.parametrize("command", [["predict", "--model"], ["transcribe", "--asr_exp"]])
def test_every_bad_file_is_named_before_the_model_is_loaded(
    good: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    audio = [str(tmp_path / name) for name in ("none.wav", "good.wav", "text.wav")]
    assert main([*command, str(tmp_path / "no-model"), *audio]) == 1

    message = capsys.readouterr().err
    assert "3 faults" in message
    assert f"{tmp_path}/no-model: no such model; correct its name" in message
    assert f"{audio[0]}: no such audio file; correct its name" in message
    assert f"{audio[2]}: is not audio" in message
    assert "wav.scp" not in message


def test_recordings_come_at_the_rate_of_the_model_with_channels_averaged(good: Path) -> None:
    check_recordings([good], model=good)
    ((path, (num_samples, rate)),) = hear([good], lambda waveform, rate: (waveform.shape, rate), 16000)
    assert (path, num_samples, rate) == (good, (16000,), 16000)


def test_what_only_decoding_or_the_model_finds_is_named_after_the_others(good: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", np.full(10, 0.1), 16000)

    def model(waveform: np.ndarray, rate: int) -> int:
        if len(waveform) < 320:
            raise AudioError("found 10 samples, expected at least 320; it is too short")
        return len(waveform)

    paths = [tmp_path / "nan.wav", tmp_path / "short.wav", good]
    check_recordings(paths, model=good)
    heard = hear(paths, model, 16000)
    assert next(heard) == (good, 16000)
    with pytest.raises(AudioError, match=r"(?s)2 faults.*nan.wav: .*not finite.*short.wav: found 10 samples"):
        next(heard)
