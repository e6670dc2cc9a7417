"""Pitch by openSMILE's subharmonic summation.

openSMILE is driven by its C interface (SMILEapi.h), its framer left out: cut frames go in. That doubles the
speed of `opensmile.Smile` with the same components and gives the same values to the last bit. openSMILE is free
for research only; nothing else in the frontends imports it.
"""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from opensmile.core.lib import SMILE_SUCCESS, ExternalSinkCallback, smileapi

from sertoolkit.errors import SertoolkitError
from sertoolkit.features.base import frames

PITCH_CONFIG = Path(__file__).with_name("opensmile") / "pitch.conf"

RATE = 16000  # Hz
PITCH_WINDOW = 960  # samples: 60 ms, the size of a frame in pitch.conf
AVERAGE = 15  # frames, smaWin in pitch.conf
FULL_SCALE = 32768.0  # 16-bit steps
KEPT_FRAMES = 6000  # an engine keeps the memory of its longest recording: 23 MB a minute


class ShsPitch:
    """Pitch of 60 ms windows in Hz, 0 where unvoiced.

    An object may be used by several threads and sent to other processes.

    Args:
        step: from window to window, in samples
        smooth: under a moving average of 15 frames, which gives seven frames more at the end
        voiced_only: the average leaves unvoiced frames out

    """

    def __init__(self, *, step: int = 160, smooth: bool = True, voiced_only: bool = False) -> None:
        self.step = step
        self._options = {
            "frameStep": str(step / RATE),
            "level": "pitch" if smooth else "contour",
            "noZeroSma": str(int(voiced_only)),
        }
        self._idle: list[_Engine] = []

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Pitch of one recording.

        Args:
            waveform: (num_samples,), in [-1, 1], 16 kHz, at least one window and one step long

        Returns:
            float32 (num_windows,), or (num_windows + 7,) if smooth; window k covers samples `k * step` to
            `k * step + 959`

        """
        # 16 bits wrap around at +1; openSMILE scales by 1 / 32767
        clipped = np.clip(np.asarray(waveform, np.float32), -1, 1 - 1 / FULL_SCALE)
        samples = (clipped * np.float32(FULL_SCALE)).astype(np.int16) / np.float32(FULL_SCALE - 1)
        windows = np.ascontiguousarray(frames(samples, window=PITCH_WINDOW, step=self.step))
        # Setting an engine up takes as long as half a second of speech: keep those that are done
        try:
            engine = self._idle.pop()
        except IndexError:
            engine = _Engine(self._options)
        pitch = engine.run(windows)
        if len(windows) <= KEPT_FRAMES:
            self._idle.append(engine)
        return pitch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}


class _Engine:
    """One openSMILE object with pitch.conf."""

    def __init__(self, options: dict[str, str]) -> None:
        words = [word.encode() for option in options.items() for word in option]
        self._object = smileapi.smile_new()
        weakref.finalize(self, smileapi.smile_free, self._object)
        self._check(
            smileapi.smile_initialize(
                self._object,
                str(PITCH_CONFIG).encode(),
                len(options),
                (ctypes.c_char_p * len(words))(*words),
                0,  # log level
                0,
                0,
                None,
            )
        )
        self._is_new = True
        values: list[float] = []

        def take(data: Any, size: int, _: Any) -> int:
            values.append(data[0])
            return 1

        # openSMILE holds the callback's address alone; the object must live as long
        self._values, self._callback = values, ExternalSinkCallback(take)

    def run(self, windows: np.ndarray) -> np.ndarray:
        """One value a window; `windows` is float32 (num_windows, PITCH_WINDOW), C-contiguous."""
        if not self._is_new:
            self._check(smileapi.smile_reset(self._object))
        self._is_new = False
        self._values.clear()
        data = windows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        self._check(smileapi.smile_extsink_set_data_callback(self._object, b"extsink", self._callback, None))
        self._check(smileapi.smile_extsource_write_data(self._object, b"extsource", data, len(windows)))
        self._check(smileapi.smile_extsource_set_external_eoi(self._object, b"extsource"))
        self._check(smileapi.smile_run(self._object))
        return np.array(self._values, np.float32)

    def _check(self, result: int) -> None:
        if result != SMILE_SUCCESS:
            message = smileapi.smile_error_msg(self._object) or b""
            raise SertoolkitError(
                f"openSMILE with {PITCH_CONFIG.name} failed with code {result}: {message.decode(errors='replace')}"
            )
