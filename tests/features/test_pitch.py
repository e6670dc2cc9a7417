"""Pitch from cut frames against openSMILE that cuts frames itself."""

from __future__ import annotations

import copy
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import opensmile
import pytest

import sertoolkit
from sertoolkit.errors import SertoolkitError
from sertoolkit.features import pitch
from sertoolkit.features.pitch import PITCH_CONFIG, ShsPitch


def voice(num_samples: int, *, seed: int = 0) -> np.ndarray:
    """A gliding voice in noise, between two pauses."""
    time = np.arange(num_samples) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 60 * np.sin(3 * time)) / 16000
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 8))
    spoken = (time > time[-1] / 4) & (time < time[-1] * 3 / 4)
    noise = np.random.default_rng(seed).normal(size=num_samples)
    return (0.1 * spoken * harmonics + 0.003 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config with openSMILE's own source, framer and sink."""
    text = PITCH_CONFIG.read_text()
    framer = (
        "instance[extsource].type=cFramer",
        "[extsource:cFramer]\nreader.dmLevel=wave\nwriter.dmLevel=frames\nwriter.levelconf.growDyn=0\n"
        "writer.levelconf.isRb=1\nwriter.levelconf.nT=50\nframeSize=0.060\n"
        "frameStep=\\\\cm[frameStep{0.010}:step]\nframeCenterSpecial=left\n\n",
    )
    text = text.replace("instance[extsource].type=cExternalSource", framer[0].replace("extsource", "cut"))
    text = re.sub(r"\[extsource:.*?\n\n", framer[1].replace("extsource", "cut"), text, flags=re.DOTALL)
    text = text.replace("instance[extsink].type=cExternalSink\n", "").partition("[extsink:")[0]
    text = text.replace("printLevelStats=0\n", "printLevelStats=0\n\n\\{\\cm[source{?}:source]}\n", 1)
    path = tmp_path_factory.mktemp("opensmile") / "framed.conf"
    path.write_text(text + "\\{\\cm[sink{?}:sink]}\n")
    return path


@pytest.mark.parametrize("num_samples", [1280, 1281, 16159, 16160])
@pytest.mark.parametrize("step", [80, 145, 160, 177, 320])
@pytest.mark.parametrize("smooth", [True, False])
def test_values_are_those_of_opensmiles_own_frames(
    framed: Path, num_samples: int, step: int, smooth: bool
) -> None:
    options = {"frameStep": str(step / 16000), "noZeroSma": "0"}
    plain = opensmile.Smile(str(framed), "pitch" if smooth else "contour", options=options)
    waveform = voice(num_samples)

    found = ShsPitch(step=step, smooth=smooth)(waveform)

    assert found.tobytes() == plain(waveform, 16000)[0, 0].tobytes()
    assert num_samples < 16000 or found.max() > 100


def test_an_engine_that_was_used_before_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    waveforms = [voice(8000 + 1000 * seed, seed=seed) for seed in range(3)]
    kept = ShsPitch()
    first = [kept(waveform).tobytes() for waveform in waveforms]

    assert [kept(waveform).tobytes() for waveform in reversed(waveforms)] == first[::-1]
    monkeypatch.setattr(pitch, "KEPT_FRAMES", 0)
    assert [ShsPitch()(waveform).tobytes() for waveform in waveforms] == first


def test_threads_share_one_object() -> None:
    shared = ShsPitch()
    waveforms = [voice(16000, seed=seed) for seed in range(6)]
    alone = [ShsPitch()(waveform) for waveform in waveforms]

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(shared, waveforms))

    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_copy_for_another_process_starts_without_engines() -> None:
    shared = ShsPitch(step=145, voiced_only=True)
    expected = shared(voice(8000))

    np.testing.assert_array_equal(copy.deepcopy(shared)(voice(8000)), expected)


def test_a_broken_config_is_an_error_with_opensmiles_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.conf").write_text("[nothing\n")
    monkeypatch.setattr(pitch, "PITCH_CONFIG", tmp_path / "broken.conf")

    with pytest.raises(SertoolkitError, match=r"openSMILE with broken\.conf failed with code \d"):
        ShsPitch()(voice(8000))


def test_the_config_lies_inside_the_package() -> None:
    assert PITCH_CONFIG.is_file()
    assert Path(sertoolkit.__file__).parent in PITCH_CONFIG.parents
