"""extract: bad files are named before anything is stored; any number of processes gives the same bytes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sertoolkit
from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.dropped import read_drop_list
from sertoolkit.errors import ConfigError, DataError
from sertoolkit.features.dump import ExtractOptions, extract, tempo_id
from sertoolkit.storage.ark import ArkReader

# A frontend of a user's own: level of frames of 160 samples. Its file is what processes load.
PLUGIN = """
import os
import time
from dataclasses import dataclass

import numpy as np

from sertoolkit.errors import AudioError
from sertoolkit.features.base import Frontend
from sertoolkit.registry import register


@dataclass(frozen=True)
class LevelConfig:
    factor: float = 1.0
    pid_file: str = ""
    normalise: bool = False


@register("frontend", "level_of_dump_test")
class Level(Frontend):
    name = "level_of_dump_test"
    Config = LevelConfig
    dim = 1
    min_samples = 160

    def compute(self, waveform, *, tempo):
        if self.config.pid_file:
            with open(self.config.pid_file, "a") as file:
                file.write(f"{os.getpid()}\\n")
            time.sleep(60)
        if waveform.max() > 0.85:
            raise AudioError("too loud for this frontend")
        if waveform.max() > 0.75:
            return np.full((1, 1), np.nan)
        step = round(160 * tempo)
        starts = range(0, len(waveform) - 159, step)
        return np.array([[self.config.factor * waveform[i : i + 160].mean()] for i in starts])
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "level.py"
    path.write_text(PLUGIN)
    registry.load_plugin(path)
    return path


@pytest.fixture
def level(plugin: Path):
    cls = registry.get("frontend", "level_of_dump_test")
    return cls(cls.Config())


def make_data(tmp_path: Path, **audio: np.ndarray | tuple[np.ndarray, int] | bytes) -> Path:
    """One utterance an argument, of speaker `s`; by default 16 kHz."""
    data = DataDir()
    for name, samples in audio.items():
        path = tmp_path / f"{name}.wav"
        if isinstance(samples, bytes):
            path.write_bytes(samples)
        else:
            samples, rate = samples if isinstance(samples, tuple) else (samples, 16000)
            soundfile.write(path, samples, rate, subtype="FLOAT")
        data.wav[f"s-{name}"] = str(path)
        data.utt2spk[f"s-{name}"] = "s"
    data.write(tmp_path / "data")
    return tmp_path / "data"


def steps(*levels: float) -> np.ndarray:
    """10 ms of each level."""
    return np.repeat(np.array(levels, np.float32), 160)


def test_features_of_all_utterances_are_stored(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, b=steps(0.1, 0.2, 0.3), a=steps(-0.5, 0.5))
    assert extract(data_dir, level, tmp_path / "out") == 2
    store = ArkReader(tmp_path / "out")

    assert store.num_frames == {"s-a": 2, "s-b": 3}
    np.testing.assert_allclose(store["s-b"], [[0.1], [0.2], [0.3]], rtol=1e-6)


def test_meta_tells_what_made_the_store(tmp_path: Path, level) -> None:
    extract(make_data(tmp_path, a=steps(0.1, 0.2)), level, tmp_path / "out")
    meta = ArkReader(tmp_path / "out").meta

    assert meta["kind"] == "features"
    assert meta["frontend"] == "level_of_dump_test"
    assert meta["frontend_conf"] == {"factor": 1.0, "pid_file": "", "normalise": False}
    assert (meta["frame_shift"], meta["sampling_rate"], meta["tempos"]) == (0.01, 16000, [1.0])
    assert str(tmp_path) not in (tmp_path / "out" / "meta.yaml").read_text()


def test_input_hash_follows_the_samples_not_where_they_lie(tmp_path: Path, level) -> None:
    hashes = []
    for number, value in enumerate((0.2, 0.2, 0.3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        extract(make_data(folder, a=steps(0.1, value)), level, folder / "out")
        hashes.append(ArkReader(folder / "out").meta["input_hash"])

    assert hashes[0] == hashes[1] != hashes[2]


def test_tempo_copies_stand_beside_the_plain_utterance(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, a=np.linspace(0, 0.5, 1600, dtype=np.float32))
    extract(data_dir, level, tmp_path / "out", options=ExtractOptions(tempos=(0.5, 1.0, 2.0)))

    assert ArkReader(tmp_path / "out").num_frames == {"s-a": 10, "s-a-tempo0.5": 19, "s-a-tempo2": 5}


@pytest.mark.parametrize(("tempo", "utt_id"), [(1.0, "a-1"), (0.9, "a-1-tempo0.9"), (1.1, "a-1-tempo1.1")])
def test_the_plain_copy_keeps_its_id(tempo: float, utt_id: str) -> None:
    assert tempo_id("a-1", tempo) == utt_id


def test_drawn_copies_stand_beside_the_plain_utterance(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, a=np.full(16000, 0.1, np.float32))
    augmentation = Augmentation(seed=3)
    extract(data_dir, level, tmp_path / "out", options=ExtractOptions(copies=3, augmentation=augmentation))
    store = ArkReader(tmp_path / "out")

    assert store.meta["copies"] == 3
    assert store.meta["augmentation"] == {"tempo": [0.85, 1.15], "gain": [-3.0, 6.0], "seed": 3}
    assert list(store) == ["s-a", "s-a-aug1", "s-a-aug2"]
    np.testing.assert_allclose(store["s-a"], 0.1, rtol=1e-6)
    for number in (1, 2):
        drawn, found = augmentation.draw("s-a", number), store[f"s-a-aug{number}"]
        assert len(found) == len(range(0, 16000 - 159, round(160 * drawn.tempo)))
        np.testing.assert_allclose(found, 0.1 * 10 ** (drawn.gain / 20), rtol=1e-6)


def test_copies_of_all_frontends_agree(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=16000).astype(np.float32)
    data_dir = make_data(tmp_path, a=noise, b=noise[:9000])
    num_frames = []
    for name in ("mfcc_pitch", "power_spectrogram"):
        cls = registry.get("frontend", name)
        extract(data_dir, cls(cls.Config()), tmp_path / name, options=ExtractOptions(copies=3))
        num_frames.append(ArkReader(tmp_path / name).num_frames)

    assert num_frames[0] == num_frames[1]
    assert len(set(num_frames[0].values())) == 6  # each copy at a tempo of its own


def test_segments_are_cut_from_their_recording(tmp_path: Path, level) -> None:
    make_data(tmp_path, rec=steps(0.1, 0.2, 0.3, 0.4))
    DataDir(
        wav={"rec": str(tmp_path / "rec.wav")},
        utt2spk={"s-1": "s", "s-2": "s"},
        segments={"s-1": ("rec", 0.0, 0.01), "s-2": ("rec", 0.02, 0.04)},
    ).write(tmp_path / "segmented")
    extract(tmp_path / "segmented", level, tmp_path / "out")

    np.testing.assert_allclose(ArkReader(tmp_path / "out")["s-2"], [[0.3], [0.4]], rtol=1e-6)
    assert ArkReader(tmp_path / "out").num_frames == {"s-1": 1, "s-2": 2}


def test_processes_give_the_same_bytes_as_none(tmp_path: Path, plugin: Path, level) -> None:
    rng = np.random.default_rng(0)
    audio = {f"u{i:02d}": rng.uniform(-0.2, 0.2, 1600).astype(np.float32) for i in range(12)}
    data_dir = make_data(tmp_path, **audio)
    options = ExtractOptions(copies=2)
    extract(data_dir, level, tmp_path / "one", options=options)
    extract(data_dir, level, tmp_path / "two", options=options, num_jobs=2)

    for name in ("feats.ark", "feats.scp", "utt2num_frames", "meta.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


GOOD = steps(0.1, 0.2)
NAN = np.array([0.1, np.nan] * 200, np.float32)


def test_bad_headers_are_all_named_and_nothing_is_stored(tmp_path: Path, level) -> None:
    bad = {"empty": b"", "html": b"<html>" * 50, "short": GOOD[:100], "stereo": np.stack([GOOD, GOOD], 1)}
    data_dir = make_data(tmp_path, good=GOOD, **bad)
    with pytest.raises(DataError) as caught:
        extract(data_dir, level, tmp_path / "out")

    for part in ("4 faults", "s-empty", "s-html", "s-short", "s-stereo", "0.006 s, expected at least 0.01 s"):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_bad_samples_are_all_named_and_nothing_is_stored(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, good=GOOD, loud=steps(0.9), nan=NAN, worse=steps(0.8))
    with pytest.raises(DataError) as caught:
        extract(data_dir, level, tmp_path / "out")

    for part in (
        "3 faults",
        "s-loud",
        "too loud for this",
        "s-nan",
        "not finite",
        "s-worse",
        "features are not finite",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_failure_keeps_the_old_store(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, a=GOOD)
    extract(data_dir, level, tmp_path / "out")
    make_data(tmp_path, a=NAN)
    with pytest.raises(DataError):
        extract(data_dir, level, tmp_path / "out")

    assert list(ArkReader(tmp_path / "out")) == ["s-a"]


@pytest.mark.parametrize("bad", [{"empty": b"", "short": GOOD[:100]}, {"nan": NAN, "worse": steps(0.8)}])
def test_what_is_refused_is_listed_with_its_reason(tmp_path: Path, level, bad: dict) -> None:
    data_dir = make_data(tmp_path, good=GOOD, **bad)
    with pytest.raises(DataError, match="--drop"):
        extract(data_dir, level, tmp_path / "out")

    reasons = {
        "empty": "unreadable",
        "nan": "unreadable",
        "short": "too short",
        "worse": "features not finite",
    }
    assert read_drop_list(tmp_path / "out.bad") == {f"s-{name}": reasons[name] for name in bad}


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_bad_headers_and_bad_samples_come_in_one_report(tmp_path: Path, level, num_jobs: int) -> None:
    data_dir = make_data(tmp_path, good=GOOD, empty=b"", nan=NAN)
    with pytest.raises(DataError, match="2 faults"):
        extract(data_dir, level, tmp_path / "out", num_jobs=num_jobs)

    assert set(read_drop_list(tmp_path / "out.bad")) == {"s-empty", "s-nan"}
    assert not (tmp_path / "out").exists()


def test_only_bad_headers_are_a_report_too(tmp_path: Path, level) -> None:
    with pytest.raises(DataError, match="s-empty"):
        extract(make_data(tmp_path, empty=b""), level, tmp_path / "out", num_jobs=2)


def test_the_list_of_bad_utterances_goes_when_none_is_bad(tmp_path: Path, level) -> None:
    with pytest.raises(DataError):
        extract(make_data(tmp_path, a=NAN), level, tmp_path / "out")
    assert (tmp_path / "out.bad").exists()
    extract(make_data(tmp_path, a=GOOD), level, tmp_path / "out")
    assert not (tmp_path / "out.bad").exists()


def test_other_rates_and_channels_are_refused_with_counts(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, a=GOOD, b=(GOOD, 8000), c=np.stack([GOOD, GOOD], axis=1))
    with pytest.raises(DataError) as caught:
        extract(data_dir, level, tmp_path / "out")

    for part in (
        "{8000: 1, 16000: 2}",
        "s-b",
        "has 8000 Hz",
        "--resample",
        "s-c",
        "has 2 channels",
        "--channel mix",
    ):
        assert part in str(caught.value)


def test_rates_and_channels_are_changed_when_asked(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, b=(steps(0.2, 0.2), 8000), c=np.stack([GOOD, 3 * GOOD], axis=1))
    extract(data_dir, level, tmp_path / "out", options=ExtractOptions(resample=True, channel="mix"))
    store = ArkReader(tmp_path / "out")

    assert store.num_frames == {"s-b": 4, "s-c": 2}
    np.testing.assert_allclose(store["s-c"], [[0.2], [0.4]], rtol=1e-6)


def test_suspicious_audio_is_warned_of_and_counted(
    tmp_path: Path, level, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = make_data(tmp_path, a=0 * GOOD, b=GOOD, c=0 * GOOD, d=GOOD)
    with caplog.at_level(logging.WARNING):
        extract(data_dir, level, tmp_path / "out")

    assert "2 of 4 utterances are silent: s-a, s-c" in caplog.text
    assert "the same audio under 2 ids: s-b, s-d" in caplog.text
    assert "constant" not in caplog.text  # nothing is divided by a deviation
    extract(data_dir, type(level)(level.Config(normalise=True)), tmp_path / "out", num_jobs=2)
    assert "2 of 4 utterances are constant in some feature value: s-a, s-c" in caplog.text


def test_faults_of_the_data_dir_come_first(tmp_path: Path, level) -> None:
    data_dir = make_data(tmp_path, a=GOOD, b=GOOD)
    (tmp_path / "b.wav").unlink()
    (data_dir / "text").write_text("s-a X\n")
    with pytest.raises(DataError) as caught:
        extract(data_dir, level, tmp_path / "out")

    assert "b.wav does not exist" in str(caught.value)
    assert "text: no line for utterance 's-b'" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"tempos": ()},
        {"tempos": (1.0, 1.0)},
        {"tempos": (0.0,)},
        {"tempos": (9.0,)},
        {"tempos": (float("nan"),)},
        {"min_dur": -1.0},
        {"min_dur": 5.0, "max_dur": 5.0},
    ],
)
def test_options_out_of_range_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        ExtractOptions(**changes)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_extract_leaves_no_process_and_no_store(
    tmp_path: Path, plugin: Path, number: signal.Signals
) -> None:
    data_dir = make_data(tmp_path, a=GOOD, b=GOOD)
    pid_file = tmp_path / "pids"
    command = [
        sys.executable,
        "-m",
        "sertoolkit",
        "extract",
        "--data_dir",
        data_dir,
        "--out",
        tmp_path / "out",
        "--nj",
        "2",
    ]
    command += ["--frontend", "level_of_dump_test", "--plugin", plugin, "--set", f"pid_file={pid_file}"]
    root = str(Path(sertoolkit.__file__).parents[1])
    process = subprocess.Popen(
        list(map(str, command)), env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.DEVNULL
    )
    assert wait_for(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2, 20)
    process.send_signal(number)
    process.wait(20)

    assert wait_for(lambda: not any(is_alive(int(pid)) for pid in pid_file.read_text().split()), 10)
    assert not (tmp_path / "out").exists()
