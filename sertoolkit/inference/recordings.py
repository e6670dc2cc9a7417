"""Recordings that a person names: of any rate and format, channels averaged; bad ones are named all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sertoolkit.audio.read import probe, read_audio
from sertoolkit.errors import AudioError, report_faults

T = TypeVar("T")


def check_recordings(paths: Sequence[Path], *, model: Path) -> None:
    """Look at all headers before a model is loaded.

    Args:
        paths: of the recordings
        model: file or folder of the model that will hear them; here it must only be there

    Raises:
        AudioError: names every file that is missing, no audio, empty or cut, and a model that is missing

    """
    faults = [] if model.exists() else [f"{model}: no such model; correct its name"]
    for path in paths:
        try:
            probe(path)
        except AudioError as error:
            faults.append(str(error))
    report_faults("model and recordings", faults, AudioError, limit=1000)


def hear(
    paths: Sequence[Path], model: Callable[[np.ndarray, int], T], sampling_rate: int
) -> Iterator[tuple[Path, T]]:
    """What a model hears in each recording.

    Args:
        paths: the files
        model: takes a waveform (num_samples,) in [-1, 1] and its rate
        sampling_rate: that the model needs, in Hz

    Yields:
        path and what the model gave

    Raises:
        AudioError: at the end; names every file that is damaged behind its header or that the model refuses, as
            too short

    """
    faults = []
    for path in paths:
        try:
            waveform, rate = read_audio(path, sampling_rate=sampling_rate, resample=True, channel="mix")
            result = model(waveform, rate)
        except AudioError as error:
            faults.append(str(error) if str(path) in str(error) else f"{path}: {error}")
        else:
            yield path, result
    report_faults("recordings that were left out", faults, AudioError, limit=1000)
