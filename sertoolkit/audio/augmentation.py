"""Tempo and gain of speech, drawn by (augmentation seed, copy or epoch, utterance) and by nothing else.

So every reader of a copy draws the same: side features and encoder features of one copy agree, and so do all
members of a grid, whatever the order of utterances or the number of processes. Lakomkin et al. 2017, section 3.3.1:
tempo by a factor of 0.85 to 1.15 at the same pitch, gain of -3 to +6 dB.

Tempo has two forms of the same meaning. A frontend that cuts frames takes the factor as a frame step
(``frontend(waveform, rate, tempo=...)``), which is free; one that needs samples stretches them by :func:`stretch`.
Gain limits itself: a copy never rises above full scale unless the recording already was. Features that are
normalised over the utterance after a logarithm lose the gain again but for the floor under the logarithm.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sertoolkit.errors import ConfigError

_COPY = re.compile(r"-(?:tempo[0-9.]+|aug[0-9]+)$")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to change a recording.

    Args:
        tempo: factor; above 1 the speech is faster
        gain: in dB

    """

    tempo: float = 1.0
    gain: float = 0.0


PLAIN = Variant()


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges that variants are drawn from, evenly.

    Args:
        tempo: lowest and highest factor
        gain: lowest and highest gain, in dB
        seed: of the draws; not that of a training

    Raises:
        ConfigError: if a range is none, or a factor lies outside 0.5 to 2

    """

    tempo: Sequence[float] = (0.85, 1.15)
    gain: Sequence[float] = (-3.0, 6.0)
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (("tempo", 0.5, 2), ("gain", -60, 60)):
            values = getattr(self, name)
            if len(values) != 2 or not low <= values[0] <= values[1] <= high:
                raise ConfigError(f"{name} {list(values)}: expected [lowest, highest], from {low} to {high}")

    def draw(self, utt_id: str, epoch: int) -> Variant:
        """The variant of an utterance in an epoch, or of its stored copy of that number.

        Args:
            utt_id: the plain utterance
            epoch: from 0

        """
        tempo, gain = _uniform(f"{self.seed}/{epoch}/{utt_id}")
        return Variant(
            tempo=self.tempo[0] + tempo * (self.tempo[1] - self.tempo[0]),
            gain=self.gain[0] + gain * (self.gain[1] - self.gain[0]),
        )

    def copies(self, utt_id: str, num_copies: int) -> dict[str, Variant]:
        """Variant by id of the stored copies of an utterance; copy 0 is plain and keeps the id.

        Args:
            utt_id: the plain utterance
            num_copies: the plain one included

        Examples:
            >>> list(Augmentation().copies("a-1", 3))
            ['a-1', 'a-1-aug1', 'a-1-aug2']

        """
        drawn = {copy_id(utt_id, number): self.draw(utt_id, number) for number in range(1, num_copies)}
        return {utt_id: PLAIN, **drawn}

    def copy_of_epoch(self, utt_id: str, epoch: int, num_copies: int) -> str:
        """Id of the stored copy that a training reads in an epoch: each as likely, the plain one among them.

        Args:
            utt_id: the plain utterance
            epoch: from 0
            num_copies: as in :meth:`copies`

        """
        return copy_id(utt_id, int(_uniform(f"{self.seed}/{epoch}/{utt_id}/copy")[0] * num_copies))


def copy_id(utt_id: str, number: int) -> str:
    """Id of a stored copy; number 0 is the plain utterance."""
    return f"{utt_id}-aug{number}" if number else utt_id


@functools.lru_cache(1 << 16)  # asked for at every step of every training
def plain_id(utt_id: str) -> str:
    """The utterance that a stored copy was made from.

    Examples:
        >>> plain_id("a-1-aug2"), plain_id("a-1-tempo0.9"), plain_id("a-1")
        ('a-1', 'a-1', 'a-1')

    """
    return _COPY.sub("", utt_id)


def stretch(waveform: np.ndarray, sampling_rate: int, tempo: float) -> np.ndarray:
    """Change the tempo and keep the pitch, by Signalsmith Stretch.

    Args:
        waveform: (num_samples,), in [-1, 1]
        sampling_rate: in Hz
        tempo: above 1 the speech is faster; 1 gives the same samples

    Returns:
        float32 of num_samples / tempo samples, half of one rounded up

    """
    if tempo == 1:
        return waveform
    from python_stretch import Signalsmith

    stretcher = Signalsmith.Stretch()
    stretcher.preset(1, sampling_rate)
    stretcher.setTimeFactor(tempo)
    return np.asarray(stretcher.process(np.asarray(waveform, np.float32)[None]))[0]


def amplify(waveform: np.ndarray, gain: float) -> np.ndarray:
    """Change the level; a rise ends where the loudest sample reaches full scale, so that nothing is clipped.

    Args:
        waveform: (num_samples,), in [-1, 1]
        gain: in dB; 0 gives the same samples

    Returns:
        as ``waveform``

    """
    factor = 10 ** (gain / 20)
    if factor > 1:
        peak = float(np.abs(waveform).max(initial=0))
        factor = max(1.0, min(factor, 1 / peak if peak else 1.0))
    return waveform if factor == 1 else waveform * np.float32(factor)


def _uniform(key: str) -> tuple[float, float]:
    """Two numbers in [0, 1) that depend on a text alone, on every machine and version."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    first, second = (int.from_bytes(part, "big") >> 11 for part in (digest[:8], digest[8:]))
    return first / 2**53, second / 2**53
