"""Speech by espeak-ng, byte for byte the same for the same request.

espeak-ng is called through its C API (wheel ``espeakng-loader``, licence GPL-3.0: it makes the audio, nothing
of it is shipped). What it says depends on what the process said before and on the C random generator, so
each utterance is spoken in a forked child of a process that has only initialised the library, after
``srand(seed of the utterance)``.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from sertoolkit.errors import DataError, SertoolkitError, suggest

logger = logging.getLogger(__name__)

SAMPLING_RATE = 16000  # of what is written; espeak-ng itself speaks at 22050 Hz

# Accents of English that espeak-ng 1.52 knows (a plain "en-gb" is not among them).
ACCENTS = ("en-us", "en-us-nyc", "en-029", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# Variants that differ audibly from each other, by the gender they sound like.
_VARIANTS = {
    "F": "f1 f2 f3 f4 f5 Alicia Andrea Annie belinda linda aunty steph grandma shelby",
    "M": "m1 m2 m3 m4 m7 m8 Andy Marco Storm boris ed ian travis pablo paul antonio klatt klatt3",
}
VARIANTS = {gender: names.split() for gender, names in _VARIANTS.items()}

_OUTPUT_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8, _SSML = 0x1, 0x10
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice.

    Args:
        accent: one of ``ACCENTS``
        variant: one of ``VARIANTS``
        rate: words a minute, 80 to 450
        pitch: base pitch, 0 to 99
        pitch_range: how far the pitch moves, 0 to 99

    Raises:
        DataError: if accent or variant is unknown (espeak-ng would accept an unknown variant silently)
    """

    accent: str
    variant: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50

    def __post_init__(self) -> None:
        variants = [name for names in VARIANTS.values() for name in names]
        for what, name, known in (("accent", self.accent, ACCENTS), ("variant", self.variant, variants)):
            if name not in known:
                raise DataError(f"espeak-ng: unknown {what} {name!r}{suggest(name, known)}")

    @property
    def gender(self) -> str:
        """``F`` or ``M``."""
        return "F" if self.variant in VARIANTS["F"] else "M"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A request: what to say, how, and into which file.

    Args:
        path: FLAC or WAV file to write
        text: words, or SSML where ``ssml`` is set
        voice: who says it
        seed: 0 to 2**32 - 1; decides espeak-ng's random numbers and the noise
        word_gap: extra pause between words, in 10 ms
        snr: level of the speech over the noise of the room in dB
        press: how far loud samples are flattened, as in a pressed voice; 0 is not at all, 1 is audible
        breath: share of noise that follows the speech, 0 to 1; a breathy voice has 0.2
    """

    path: Path
    text: str
    voice: Voice
    seed: int
    ssml: bool = False
    word_gap: int = 0
    snr: float = 35.0
    press: float = 0.0
    breath: float = 0.0


class _Library:
    """The initialised library; one a process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise SertoolkitError(
                "the mini corpora need espeak-ng; install it with: pip install espeakng-loader"
            ) from error
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._libc = ctypes.CDLL(None)
        path = os.fsencode(espeakng_loader.get_data_path())
        self.sampling_rate = self._lib.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, path, _DO_NOT_EXIT)
        if self.sampling_rate <= 0:
            raise SertoolkitError(f"espeak-ng did not start; its data was expected in {os.fsdecode(path)}")

    def speak(self, request: Utterance) -> bytes:
        """Speak here and now; only for a child that ends afterwards."""
        voice = request.voice
        chunks: list[bytes] = []

        def collect(samples: object, count: int, events: object) -> int:
            if samples and count:
                chunks.append(ctypes.string_at(samples, 2 * count))
            return 0

        callback = _CALLBACK(collect)
        # Breath and flutter of some voices: from its own generator, which starts from the clock, and from C.
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(request.seed))
        self._libc.srand(ctypes.c_uint(request.seed))
        self._lib.espeak_SetSynthCallback(callback)
        name = f"{voice.accent}+{voice.variant}"
        if self._lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise SertoolkitError(f"espeak-ng has no voice {name}")
        settings = (
            (_RATE, voice.rate),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
            (_WORD_GAP, request.word_gap),
            (_VOLUME, 80),
        )
        for parameter, value in settings:
            self._lib.espeak_SetParameter(parameter, int(value), 0)
        text = request.text.encode()
        flags = _UTF8 | (_SSML if request.ssml else 0)
        self._lib.espeak_Synth(text, len(text) + 1, 0, 0, 0, flags, None, None)
        self._lib.espeak_Synchronize()
        return b"".join(chunks)


@functools.cache  # one library a process: it keeps its state in C globals
def _library() -> _Library:
    return _Library()


def _speak_in_child(request: Utterance) -> np.ndarray:
    """Fork, speak in the child, read its samples from a pipe."""
    library = _library()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(library.speak(request))
            status = 0
        finally:
            os._exit(status)  # the child must not run the parent's exit handlers
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not data:
        raise SertoolkitError(f"espeak-ng said nothing for {request.path.name}: {request.text!r}")
    samples = np.frombuffer(data, dtype=np.int16).astype(np.float32) / 32768
    return soxr.resample(samples, library.sampling_rate, SAMPLING_RATE)


def _finish(samples: np.ndarray, request: Utterance) -> np.ndarray:
    """Voice quality, and low room noise: without it, digital silence would rule the log spectrum."""
    loudness = np.sqrt(np.mean(samples**2))
    if request.press:
        drive = request.press / loudness
        samples = np.tanh(drive * samples) / drive
    noise_of = np.random.default_rng(request.seed)
    white = noise_of.standard_normal(len(samples) + 1).astype(np.float32)
    noise = white[1:] + 0.9 * white[:-1]  # tilted towards low frequencies, as rooms are
    level = loudness / np.sqrt(np.mean(noise**2))
    noisy = samples + noise * level * 10 ** (-request.snr / 20)
    if request.breath:
        envelope = np.sqrt(np.convolve(samples**2, np.full(320, 1 / 320, np.float32), mode="same"))  # 20 ms
        noisy = noisy + request.breath * envelope * noise_of.standard_normal(len(samples)).astype(np.float32)
    return noisy / max(1.0, 1.01 * float(np.abs(noisy).max()))


def _render(request: Utterance) -> float:
    samples = _finish(_speak_in_child(request), request)
    request.path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(request.path, samples, SAMPLING_RATE, subtype="PCM_16")
    return len(samples) / SAMPLING_RATE


def render(requests: Sequence[Utterance], *, num_jobs: int) -> Iterator[float]:
    """Speak all requests into their files; the bytes do not depend on ``num_jobs``.

    Args:
        requests: utterances, each with a file of its own
        num_jobs: processes

    Yields:
        durations in seconds, in the order of the requests

    Raises:
        SertoolkitError: if espeak-ng is missing or says nothing
    """
    # Fresh interpreters: a forked pool would inherit threads, and espeak-ng what this process said before.
    with multiprocessing.get_context("spawn").Pool(num_jobs) as pool:
        yield from pool.imap(_render, requests, chunksize=8)
