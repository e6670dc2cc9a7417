"""Read audio by libsndfile: every format that it knows, with what it lets pass silently refused.

libsndfile reads a cut WAV, AIFF, AU, W64, NIST or MP3 file short without an error, lets NaN through and
believes any header. Here the length in the header must be the real one, sizes are bounded before memory is
taken, and channels and rates are never changed unasked.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sertoolkit.errors import AudioError

logger = logging.getLogger(__name__)

MAX_CHANNELS = 32
MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_VALUES = 1 << 29  # samples x channels of one read: 2 GiB as float32

# What libsndfile's log says of a chunk of samples that is longer than the file, and of a header that was
# never completed.
_CUT = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_RF64_CUT = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_OPEN_ENDED = "wasn't closed properly"


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says, once it was found true.

    Args:
        num_samples: samples of one channel
        sampling_rate: in Hz
        num_channels: at least 1

    """

    num_samples: int
    sampling_rate: int
    num_channels: int

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.num_samples / self.sampling_rate


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Length, rate and channels of an audio file; samples are not decoded.

    Args:
        path: the file

    Raises:
        AudioError: if it is no audio file, is empty or cut, or has sizes out of all reason

    """
    with _open(path) as file:
        return _check_header(file, path)


def read_audio(
    path: str | os.PathLike[str],
    *,
    sampling_rate: int | None = None,
    resample: bool = False,
    channel: str | int = "error",
    start: float = 0.0,
    end: float | None = None,
) -> tuple[np.ndarray, int]:
    """Samples of an audio file, or of a part of it, as one channel.

    Args:
        path: the file
        sampling_rate: in Hz; the file's own if None
        resample: change the rate of a file that has another one, instead of refusing it
        channel: what to do with more than one channel: "error", "mix" (their mean), or the number of one,
            from 0
        start: where to begin, in seconds
        end: where to stop, in seconds; the end of the file if None

    Returns:
        samples of shape (num_samples,), float32, full scale is [-1, 1]; and their rate in Hz

    Raises:
        AudioError: as :func:`probe`; or if samples are not finite or cannot be decoded, the rate differs, or
            ``channel`` does not fit

    """
    with _open(path) as file:
        info = _check_header(file, path)
        target = sampling_rate or info.sampling_rate
        if target != info.sampling_rate and not resample:
            raise AudioError(
                f"{path}: has {info.sampling_rate} Hz, expected {target} Hz; resample it (option "
                "--resample) or convert the file"
            )
        first, count = _span(info, start, end, path)
        samples = _decode(file, first, count, path)
    if not np.isfinite(samples).all():
        raise AudioError(
            f"{path}: {int((~np.isfinite(samples)).sum())} samples are not finite; make the file again"
        )
    samples = _to_mono(samples, channel, path)
    if target != info.sampling_rate:
        import soxr

        samples = soxr.resample(samples, info.sampling_rate, target)
    return np.ascontiguousarray(samples, dtype=np.float32), target


def level_faults(samples: np.ndarray) -> list[str]:
    """What is suspicious about samples that can be used.

    Args:
        samples: of shape (num_samples,), float32

    Returns:
        some of "silent", "constant", "above full scale", "clipped" (over 1 % of the samples at full scale)

    """
    peak = float(np.abs(samples).max())
    if peak < 2**-15:  # less than one step of 16 bits
        return ["silent"]
    if float(np.ptp(samples)) < 2**-15:
        return ["constant"]
    faults = []
    if peak > 1.0:
        faults.append("above full scale")
    if float(np.mean(np.abs(samples) > 0.999)) > 0.01:
        faults.append("clipped")
    return faults


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path}: no such audio file; correct its name, or fetch or make it again")
    if not path.is_file():  # opening a pipe would wait for ever
        raise AudioError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as raw:
            start = raw.read(40)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise AudioError(f"{path}: has 0 bytes; fetch or make the file again")
    if start.startswith(b"version https://git-lfs"):
        raise AudioError(f"{path}: is a pointer of git-lfs, not audio; run git lfs pull in the corpus")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise AudioError(
            f"{path}: is not audio that libsndfile can read ({error}); it starts with {start[:16]!r}"
        ) from error


def _check_header(file: soundfile.SoundFile, path: str | os.PathLike[str]) -> AudioInfo:
    info = AudioInfo(file.frames, file.samplerate, file.channels)
    if not 1 <= info.num_channels <= MAX_CHANNELS or not MIN_RATE <= info.sampling_rate <= MAX_RATE:
        raise AudioError(
            f"{path}: header says {info.num_channels} channels and {info.sampling_rate} Hz, expected 1 to "
            f"{MAX_CHANNELS} channels and {MIN_RATE} to {MAX_RATE} Hz; the header is damaged"
        )
    log = file.extra_info
    cut = _CUT.search(log) or _RF64_CUT.search(log)
    if cut:
        found, expected = sorted(map(int, cut.groups()))
        unit = "bytes of samples" if cut.re is _CUT else "samples"
        raise AudioError(
            f"{path}: is cut: holds {found} of the {expected} {unit} that its header states; fetch the file "
            "again"
        )
    if _OPEN_ENDED in log:
        raise AudioError(
            f"{path}: its header was never completed, so the file may be cut; fetch or convert it again"
        )
    if file.format == "NIST":
        _check_sphere(info, path)
    if info.num_samples < 1:
        raise AudioError(f"{path}: holds no samples; fetch the file again or leave it out")
    return info


def _check_sphere(info: AudioInfo, path: str | os.PathLike[str]) -> None:
    """Of a NIST SPHERE file libsndfile counts what is there and never looks at the count in the header."""
    with open(path, "rb") as raw:
        stated = re.search(rb"^sample_count -i (\d+)", raw.read(1024), re.MULTILINE)
    if stated and int(stated[1]) != info.num_samples:
        raise AudioError(
            f"{path}: is cut: holds {info.num_samples} of the {int(stated[1])} samples that its header "
            "states; fetch the file again"
        )


def _span(info: AudioInfo, start: float, end: float | None, path: str | os.PathLike[str]) -> tuple[int, int]:
    """First sample and number of samples of a part."""
    first = round(start * info.sampling_rate)
    last = info.num_samples if end is None else round(end * info.sampling_rate)
    if last > info.num_samples + info.sampling_rate // 100:  # times of segments are often rounded to 10 ms
        raise AudioError(
            f"{path}: segment ends at {end:g} s, but the recording has {info.duration:.3f} s; correct "
            "segments"
        )
    last = min(last, info.num_samples)
    if not 0 <= first < last:
        raise AudioError(
            f"{path}: segment from {start:g} to {end} s holds no samples of {info.duration:.3f} s; correct "
            "segments"
        )
    if (last - first) * info.num_channels > MAX_VALUES:
        raise AudioError(
            f"{path}: {(last - first) / info.sampling_rate:.0f} s in one piece; cut it by segments"
        )
    return first, last - first


def _decode(file: soundfile.SoundFile, first: int, count: int, path: str | os.PathLike[str]) -> np.ndarray:
    """Samples as (num_samples, num_channels)."""
    try:
        if first:
            file.seek(first)
        samples = file.read(count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"{path}: cannot be decoded, so it is damaged or cut ({error}); fetch the file again"
        ) from error
    if len(samples) != count:
        raise AudioError(
            f"{path}: is cut: {len(samples)} of {count} samples could be decoded; fetch the file again"
        )
    return samples


def _to_mono(samples: np.ndarray, channel: str | int, path: str | os.PathLike[str]) -> np.ndarray:
    num_channels = samples.shape[1]
    is_number = isinstance(channel, int) and channel >= 0
    if not is_number and channel not in ("error", "mix"):
        raise AudioError(f"channel {channel!r}: expected error, mix or a number from 0")
    if num_channels == 1:
        return samples[:, 0]
    if channel == "error":
        raise AudioError(
            f"{path}: has {num_channels} channels, expected 1; choose --channel mix or --channel <number "
            "from 0>"
        )
    if isinstance(channel, int):
        if channel >= num_channels:
            raise AudioError(
                f"{path}: has {num_channels} channels, so there is no channel {channel} (they count from 0)"
            )
        return samples[:, channel]
    mixed = samples.mean(axis=1)
    if np.abs(mixed).max() < 0.01 * np.abs(samples).max():
        logger.warning(
            "%s: channels cancel each other when mixed (opposite phase); choose one by --channel", path
        )
    return mixed
