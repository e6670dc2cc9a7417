"""Features of speech on one core: ours against torchaudio, librosa and openSMILE, as their users call them.

  python -m bench.features                       # synthetic voices
  python -m bench.features --audio corpus/wav    # recordings

Each contestant takes the recordings one by one, samples in memory, one thread. Times are processor time, so other
work on the machine counts little. A rival that is not installed stands in the table without numbers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.common import parser, ratio, report, time_in_turns

RATE = 16000
WINDOW, STEP = 320, 160  # samples
OURS = "sertoolkit"

Compute = Callable[[np.ndarray], Any]


def main() -> None:
    """Measure all groups."""
    made = parser(__doc__)
    made.add_argument("--audio", type=Path, metavar="DIR", help="recordings to use, mixed to mono at 16 kHz")
    made.add_argument("--seconds", type=float, default=100, help="of audio, at most")
    made.add_argument("--rounds", type=int, default=5)
    arguments = made.parse_args()
    seconds, rounds = (1.5, 1) if arguments.tiny else (arguments.seconds, arguments.rounds)
    recordings = _recordings(arguments.audio, seconds) if arguments.audio else voices(seconds)
    total = sum(map(len, recordings)) / RATE
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for features, contestants in _groups().items():
            rows += _measure(features, contestants, recordings, rounds)
    missing = sorted({row["by"] for row in rows if row["x real time"] is None})
    note = "openSMILE's sets hold more than pitch; librosa's other pitch, pyin, is far slower than yin."
    if missing:
        note += f" NOT MEASURED, not installed: {', '.join(missing)} (pip install -e '.[bench]')."
    settings = {
        "audio": "recordings" if arguments.audio else "synthetic voices",
        "utterances": len(recordings),
        "seconds": round(total, 1),
        "rounds": rounds,
        "clock": "processor time, one thread",
    }
    report("features", rows, settings=settings, arguments=arguments, note=note)


def _measure(
    features: str, contestants: Mapping[str, Compute | None], recordings: list[np.ndarray], rounds: int
) -> list[dict[str, Any]]:
    def over_all(compute: Compute) -> Callable[[], None]:
        def run() -> None:
            for waveform in recordings:
                compute(waveform)

        return run

    here = {name: over_all(compute) for name, compute in contestants.items() if compute}
    seconds = time_in_turns(here, rounds=rounds, clock=time.process_time)
    total = sum(map(len, recordings)) / RATE
    return [
        {
            "features": features,
            "by": name,
            "x real time": total / statistics.median(seconds[name]) if name in here else None,
            "ours is faster by": ratio(seconds[name], seconds[OURS])
            if name in here and name != OURS
            else None,
        }
        for name in contestants
    ]


def _groups() -> dict[str, dict[str, Compute | None]]:
    """What is computed, and by whom; None for a rival that is not installed."""
    torchaudio, librosa, smile = _loaded(_torchaudio), _loaded(_librosa), _loaded(_opensmile)
    ours = _ours()
    compare, gemaps = smile.get("ComParE_2016"), smile.get("eGeMAPSv02")
    return {
        name: {
            OURS: ours[name],
            "torchaudio": torchaudio.get(name),
            "librosa": librosa.get(name),
        }
        for name in ("power spectrogram", "MFCC and deltas")
    } | {
        "pitch": {
            OURS: ours["pitch"],
            "torchaudio detect_pitch_frequency": torchaudio.get("pitch"),
            "librosa yin": librosa.get("pitch"),
            "openSMILE ComParE LLD": compare,
            "openSMILE eGeMAPS LLD": gemaps,
        },
        "all, ours normalised": {
            OURS: ours["all"],
            "librosa, pitch by yin": _all(librosa, librosa.get("pitch")),
            "librosa, pitch by openSMILE ComParE LLD": _all(librosa, compare),
            "torchaudio, pitch by openSMILE eGeMAPS LLD": _all(torchaudio, gemaps),
        },
    }


def _loaded(make: Callable[[], dict[str, Compute]]) -> dict[str, Compute]:
    try:
        return make()
    except ImportError:
        return {}


def _all(library: Mapping[str, Compute], pitch: Compute | None) -> Compute | None:
    if not library or pitch is None:
        return None
    parts = [library["power spectrogram"], library["MFCC and deltas"], pitch]
    return lambda x: [part(x) for part in parts]


def _ours() -> dict[str, Compute]:
    from sertoolkit.features.mfcc_pitch import MfccPitch, MfccPitchConfig, deltas, mfcc
    from sertoolkit.features.pitch import ShsPitch
    from sertoolkit.features.power_spectrogram import PowerSpectrogram, PowerSpectrogramConfig

    plain = PowerSpectrogram(PowerSpectrogramConfig(normalise=False))
    spectrogram, side = PowerSpectrogram(PowerSpectrogramConfig()), MfccPitch(MfccPitchConfig())

    def cepstra(waveform: np.ndarray) -> np.ndarray:
        found = mfcc(waveform)
        return np.concatenate([found, deltas(found)], 1)

    return {
        "power spectrogram": lambda x: plain(x, RATE),
        "MFCC and deltas": cepstra,
        "pitch": ShsPitch(),
        "all": lambda x: (spectrogram(x, RATE), side(x, RATE)),
    }


def _torchaudio() -> dict[str, Compute]:
    import torch
    import torchaudio

    torch.set_num_threads(1)
    power = torchaudio.transforms.Spectrogram(
        WINDOW, hop_length=STEP, window_fn=torch.hamming_window, center=False
    )
    stft = {"n_fft": 512, "win_length": WINDOW, "hop_length": STEP, "n_mels": 23, "center": False}
    mfcc = torchaudio.transforms.MFCC(RATE, n_mfcc=13, log_mels=True, melkwargs=stft)

    def cepstra(waveform: np.ndarray) -> torch.Tensor:
        found = mfcc(torch.from_numpy(waveform))
        return torch.cat([found, torchaudio.functional.compute_deltas(found)])

    return {
        "power spectrogram": lambda x: power(torch.from_numpy(x)).clamp_min(1e-8).log(),
        "MFCC and deltas": cepstra,
        "pitch": lambda x: torchaudio.functional.detect_pitch_frequency(torch.from_numpy(x), RATE),
    }


def _librosa() -> dict[str, Compute]:
    import librosa

    stft = {"hop_length": STEP, "win_length": WINDOW, "window": "hamming", "center": False}

    def cepstra(waveform: np.ndarray) -> np.ndarray:
        found = librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=13, n_mels=23, n_fft=512, **stft)
        return np.concatenate([found, librosa.feature.delta(found, width=5)])

    return {
        "power spectrogram": lambda x: np.log(
            np.maximum(np.abs(librosa.stft(x, n_fft=WINDOW, **stft)) ** 2, 1e-8)
        ),
        "MFCC and deltas": cepstra,
        "pitch": lambda x: librosa.yin(x, fmin=52, fmax=620, sr=RATE, frame_length=960, hop_length=STEP),
    }


def _opensmile() -> dict[str, Compute]:
    import opensmile

    def extractor(name: str) -> Compute:
        level = opensmile.FeatureLevel.LowLevelDescriptors
        smile = opensmile.Smile(feature_set=opensmile.FeatureSet[name], feature_level=level)
        return lambda x: smile.process_signal(x, RATE)

    return {name: extractor(name) for name in ("ComParE_2016", "eGeMAPSv02")}


def voices(seconds: float) -> list[np.ndarray]:
    """Harmonics of a gliding pitch with pauses, in noise; durations as in acted dialogue, 4.5 s on average."""
    generator = np.random.default_rng(0)
    made: list[np.ndarray] = []
    while sum(map(len, made)) < seconds * RATE:
        count = int(RATE * np.clip(generator.lognormal(1.3, 0.6), 0.6, 30))
        time_ = np.arange(count) / RATE
        pitch = generator.uniform(80, 300) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.3, 1) * time_))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        sound = sum(np.sin(k * phase) / k for k in range(1, 9)) * (np.sin(2 * np.pi * 0.8 * time_) > -0.5)
        made.append((0.1 * sound + 0.003 * generator.normal(size=count)).astype(np.float32))
    return made


def _recordings(folder: Path, seconds: float) -> list[np.ndarray]:
    from sertoolkit.audio.read import read_audio
    from sertoolkit.errors import AudioError

    found: list[np.ndarray] = []
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in {".wav", ".flac", ".ogg"}
    ):
        try:
            waveform, _ = read_audio(path, sampling_rate=RATE, resample=True, channel="mix")
        except AudioError:
            continue
        found.append(waveform)
        if sum(map(len, found)) >= seconds * RATE:
            break
    if not found:
        raise SystemExit(f"{folder}: no recording that can be read; expected wav, flac or ogg")
    return found


if __name__ == "__main__":
    main()
