"""Features of a data dir computed from its audio whenever they are asked for, for corpora too big to store.

Plain, they equal those that :func:`sertoolkit.features.dump.extract` stores, byte for byte. In training each
utterance sounds anew every epoch, by (augmentation seed, epoch, utterance) and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sertoolkit.audio.augmentation import PLAIN, Augmentation, Variant
from sertoolkit.config import hash_of, to_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.errors import AudioError
from sertoolkit.features.base import Frontend, frame_starts
from sertoolkit.features.dump import ExtractOptions, Extractor, Item, check_headers


class AudioFeatures:
    """Features by utterance id, from audio.

    Args:
        data: where the audio lies
        frontend: computes the features
        options: what is asked of the audio; its copies are not made
        augmentation: how utterances sound in training; None: as they are
        drop_list: file to list the utterances in that are refused

    Attributes:
        num_frames: of each plain utterance
        fewest_frames: of each utterance at its fastest
        most_frames: of each utterance at its slowest
        meta: what makes the features, as that of a store

    Raises:
        DataError: names every utterance whose audio cannot be used, as far as headers tell

    """

    def __init__(
        self,
        data: DataDir,
        frontend: Frontend,
        *,
        options: ExtractOptions,
        augmentation: Augmentation | None,
        drop_list: Path,
    ) -> None:
        self.augmentation = augmentation
        self._extractor = Extractor(frontend, options)
        self._items = {utt_id: Item(utt_id, *data.audio(utt_id)) for utt_id in data.utt_ids}
        num_samples = check_headers(list(self._items.values()), frontend, options, str(drop_list))
        self.num_frames = {utt_id: self._count(length, 1.0) for utt_id, length in num_samples.items()}
        slowest, fastest = augmentation.tempo if augmentation else (1.0, 1.0)
        self.fewest_frames = {utt_id: self._count(length, fastest) for utt_id, length in num_samples.items()}
        self.most_frames = {utt_id: self._count(length, slowest) for utt_id, length in num_samples.items()}
        self.meta = {
            "kind": "audio",
            "frontend": frontend.name,
            "frontend_conf": to_dict(frontend.config),
            "resample": options.resample,
            "channel": options.channel,
            "input_hash": hash_of(num_samples),
        }

    def _count(self, num_samples: int, tempo: float) -> int:
        frontend = self.frontend
        step = frontend.frame_shift * frontend.sampling_rate * tempo
        return len(frame_starts(num_samples, window=frontend.min_samples, step=step))

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, utt_id: str) -> np.ndarray:
        return self._compute(utt_id, PLAIN)

    def of_epoch(self, utt_id: str, epoch: int) -> np.ndarray:
        """Features of an utterance as it sounds in an epoch.

        Args:
            utt_id: which
            epoch: from 1

        Returns:
            (num_frames, dim)

        Raises:
            AudioError: if the audio is damaged

        """
        return self._compute(utt_id, self._draw(utt_id, epoch))

    def recording_of_epoch(self, utt_id: str, epoch: int) -> tuple[np.ndarray, Variant]:
        """What :meth:`of_epoch` makes features of.

        Returns:
            samples as they were recorded, (num_samples,), and how they are to sound

        Raises:
            AudioError: if the audio is damaged

        """
        frontend, variant = self.frontend, self._draw(utt_id, epoch)
        with self._naming(utt_id):
            waveform = self._extractor.read(self._items[utt_id])
            frontend.check(waveform, frontend.sampling_rate, tempo=variant.tempo)
        return waveform, variant

    @property
    def frontend(self) -> Frontend:
        """What computes the features."""
        return self._extractor.frontend

    def _draw(self, utt_id: str, epoch: int) -> Variant:
        return self.augmentation.draw(utt_id, epoch - 1) if self.augmentation else PLAIN

    def _compute(self, utt_id: str, variant: Variant) -> np.ndarray:
        with self._naming(utt_id):
            return self._extractor.features(self._extractor.read(self._items[utt_id]), variant)

    @contextmanager
    def _naming(self, utt_id: str) -> Iterator[None]:
        try:
            yield
        except AudioError as error:
            raise AudioError(f"utterance {utt_id}: {error}") from error
