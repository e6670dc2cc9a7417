"""Audio: right in every format, and refused by name where libsndfile would let damage pass."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.audio.read import level_faults, probe, read_audio
from sertoolkit.errors import AudioError

RATE = 16000


def tone(*, num_samples: int = 1600, frequency: float = 440.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(num_samples) / rate)).astype(np.float32)


def write(
    path: Path, samples: np.ndarray, *, rate: int = RATE, kind: str = "WAV", subtype: str | None = None
) -> Path:
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("kind", "subtype", "step"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 2**-23),
        ("WAV", "ULAW", 1.6e-2),
        ("WAV", "ALAW", 1.6e-2),
        ("WAVEX", "PCM_16", 2**-15),
        ("RF64", "PCM_16", 2**-15),
        ("W64", "PCM_16", 2**-15),
        ("AIFF", "PCM_16", 2**-15),
        ("AU", "PCM_16", 2**-15),
        ("NIST", "PCM_16", 2**-15),
        ("FLAC", "PCM_16", 2**-15),
    ],
)
def test_every_format_gives_the_same_samples(tmp_path: Path, kind: str, subtype: str, step: float) -> None:
    samples, rate = read_audio(write(tmp_path / "a", tone(), kind=kind, subtype=subtype))

    assert rate == RATE
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(), rtol=0, atol=step)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_keep_length_and_sound(tmp_path: Path, kind: str, subtype: str) -> None:
    samples, _ = read_audio(write(tmp_path / "a", tone(num_samples=RATE), kind=kind, subtype=subtype))

    assert samples.shape == (RATE,)
    assert np.corrcoef(samples, tone(num_samples=RATE))[0, 1] > 0.99


def test_header_tells_length_rate_and_channels(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "a", np.zeros((800, 2)), rate=8000))

    assert (info.num_samples, info.sampling_rate, info.num_channels, info.duration) == (800, 8000, 2, 0.1)


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html></html>", b"RIFF", b"\0" * 5000, b"version https://git-lfs.github\n"],
)
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    for function in (probe, read_audio):
        with pytest.raises(AudioError, match=r"a\.wav: (has 0 bytes|is not audio|is a pointer of git-lfs)"):
            function(tmp_path / "a.wav")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)  # opening it would wait for a writer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such audio file"),
        (Path.mkdir, "not a regular file"),
        (make_pipe, "not a regular"),
    ],
)
def test_what_is_not_a_file_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=message):
        probe(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "ULAW"),
        ("WAV", "FLOAT"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("NIST", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, kind: str, subtype: str) -> None:
    path = write(tmp_path / "a", tone(num_samples=4000), kind=kind, subtype=subtype)
    whole = path.read_bytes()
    for size in {*range(0, len(whole), len(whole) // 40), 20, 43, 44, len(whole) - 2, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(AudioError, match=str(path)):
            read_audio(path)


def test_a_cut_wav_is_found_by_its_header_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a", tone(), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="is cut: holds 3100 of the 3200 bytes"):
        probe(path)


def test_a_flipped_bit_in_flac_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a", np.random.default_rng(0).normal(0, 0.1, 4000), kind="FLAC")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_audio(path)


def test_bytes_after_the_samples_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "a", tone(), subtype="PCM_16")
    path.write_bytes(path.read_bytes() + b"LIST\4\0\0\0abcd")

    assert len(read_audio(path)[0]) == 1600


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (22, "<H", 1000),  # channels
        (24, "<I", 0),  # rate
        (24, "<I", 2**31 - 1),
        (24, "<I", 10),
        (40, "<I", 2**31 - 2),  # bytes of samples
        (40, "<I", 2**32 - 1),
    ],
)
def test_a_header_out_of_all_reason_is_refused(tmp_path: Path, offset: int, form: str, value: int) -> None:
    path = write(tmp_path / "a", tone(), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, value)
    path.write_bytes(data)
    with pytest.raises(AudioError):
        probe(path)


def test_a_header_that_was_never_completed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", tone(), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, 8)
    struct.pack_into("<I", data, 40, 0)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="never completed"):
        probe(path)


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_of_a_header_is_refused_or_read_within_bounds(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = write(tmp_path / "a", tone(), subtype="PCM_16").read_bytes()
    for _ in range(100):
        data = bytearray(whole)
        data[rng.integers(44)] = rng.integers(256)
        (tmp_path / "b").write_bytes(data)
        try:
            samples, _ = read_audio(tmp_path / "b", channel="mix")
        except AudioError:
            continue
        assert len(samples) <= len(whole)
        assert np.isfinite(samples).all()


def test_no_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="holds no samples"):
        probe(write(tmp_path / "a", np.zeros(0)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone()
    samples[7] = value
    with pytest.raises(AudioError, match="1 samples are not finite"):
        read_audio(write(tmp_path / "a", samples, subtype="FLOAT"))


STEREO = np.stack([tone(), 0.5 * tone()], axis=1)


@pytest.mark.parametrize(("channel", "factor"), [("mix", 0.75), (0, 1.0), (1, 0.5)])
def test_channels_are_chosen_or_mixed_when_asked(tmp_path: Path, channel: str | int, factor: float) -> None:
    samples, _ = read_audio(write(tmp_path / "a", STEREO, subtype="FLOAT"), channel=channel)

    np.testing.assert_allclose(samples, factor * tone(), atol=1e-7)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("error", "has 2 channels"),
        (2, "no channel 2"),
        (-1, "expected error, mix"),
        ("left", "expected error, mix"),
    ],
)
def test_channels_are_never_chosen_unasked(tmp_path: Path, channel: str | int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_audio(write(tmp_path / "a", STEREO), channel=channel)


def test_one_channel_needs_no_choice(tmp_path: Path) -> None:
    path = write(tmp_path / "a", tone(), subtype="FLOAT")

    for channel in ("error", "mix", 1):
        np.testing.assert_array_equal(read_audio(path, channel=channel)[0], tone())


def test_channels_that_cancel_each_other_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a", np.stack([tone(), -tone()], axis=1), subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        read_audio(path, channel="mix")

    assert "cancel each other" in caplog.text


def test_another_rate_is_refused_unless_resampling_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a", tone(rate=8000), rate=8000)
    with pytest.raises(AudioError, match="has 8000 Hz, expected 16000 Hz"):
        read_audio(path, sampling_rate=16000)

    samples, rate = read_audio(path, sampling_rate=16000, resample=True)
    assert rate == 16000
    assert len(samples) == 3200
    # the same tone at the other rate, but for the filter's edges
    np.testing.assert_allclose(samples[200:-200], tone(num_samples=3200)[200:-200], atol=1e-3)


def test_a_part_is_the_same_samples(tmp_path: Path) -> None:
    for kind in ("WAV", "FLAC"):
        path = write(tmp_path / "a", tone(), kind=kind, subtype="PCM_16")
        samples, _ = read_audio(path, start=0.02, end=0.05)

        np.testing.assert_array_equal(samples, read_audio(path)[0][320:800])


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (0.05, 0.2, "ends at 0.2 s"),
        (0.05, 0.05, "holds no samples"),
        (0.2, None, "holds no"),
        (-1, 0.05, "holds no"),
    ],
)
def test_a_part_outside_of_the_recording_is_refused(
    tmp_path: Path, start: float, end: float | None, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        read_audio(write(tmp_path / "a", tone()), start=start, end=end)


def test_an_end_rounded_up_is_the_end_of_the_recording(tmp_path: Path) -> None:
    assert len(read_audio(write(tmp_path / "a", tone()), start=0.05, end=0.105)[0]) == 800


@pytest.mark.parametrize(
    ("samples", "faults"),
    [
        (np.zeros(100), ["silent"]),
        (np.full(100, 1e-6), ["silent"]),
        (np.full(100, 0.3), ["constant"]),
        (tone(), []),
        (np.clip(10 * tone(), -1, 1), ["clipped"]),
        (2.5 * tone(), ["above full scale", "clipped"]),
    ],
)
def test_suspicious_levels_are_told(samples: np.ndarray, faults: list[str]) -> None:
    assert level_faults(samples.astype(np.float32)) == faults


@pytest.mark.parametrize("name", ["a b.wav", "-rf.wav", "ä.wav", "$(touch x);.wav", "n" * 251 + ".wav"])
def test_odd_file_names_work(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a", tone(), subtype="FLOAT").rename(tmp_path / name)

    assert len(read_audio(tmp_path / name)[0]) == 1600


def test_real_speech_is_read_as_it_is(corpora: Path) -> None:
    paths = sorted((corpora / "EmoDB").rglob("*.wav"))[:20]

    for path in paths:
        samples, rate = read_audio(path)
        expected, _ = soundfile.read(path, dtype="int16")
        assert rate == 16000
        np.testing.assert_array_equal(samples, expected.astype(np.float32) / 2**15)
