"""Task ``asr``: characters by CTC; the epoch with the lowest validation character error rate is kept."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sertoolkit.audio.augmentation import plain_id
from sertoolkit.config import hash_of
from sertoolkit.decoding.greedy import greedy_decode
from sertoolkit.encoders.base import Encoder
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.errors import DataError, report_faults
from sertoolkit.features.loading import copy_ahead, pad, read_ahead
from sertoolkit.features.on_the_fly import AudioFeatures
from sertoolkit.features.waveforms import Waveforms
from sertoolkit.scoring.recognition import score_recognition
from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.base import Task
from sertoolkit.text.tokens import Tokens
from sertoolkit.training.batches import make_batches
from sertoolkit.training.config import AsrTraining
from sertoolkit.training.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Transcribed:
    """Utterances with features and transcripts, checked.

    Attributes:
        feats: features of all utterances, stored or computed from audio
        utt_ids: those that can be trained on
        texts: transcript of each
        targets: token numbers of each

    """

    feats: ArkReader | AudioFeatures
    utt_ids: list[str]
    texts: list[str]
    targets: list[list[int]]

    @classmethod
    def check(
        cls,
        feats: ArkReader | AudioFeatures,
        text: Mapping[str, str],
        tokens: Tokens,
        encoder: Encoder,
        *,
        drop_bad: bool = False,
    ) -> Transcribed:
        """Pair features with transcripts; find every utterance that CTC cannot learn from.

        Args:
            feats: features by utterance; copies at other tempos and gains share its transcript
            text: transcripts by utterance
            tokens: the token list
            encoder: tells how many frames it leaves
            drop_bad: leave bad utterances out, with a count, instead of refusing

        Raises:
            DataError: names every utterance without transcript, with symbols outside the token list, or too short
                for its text

        """
        kept: list[tuple[str, str, list[int]]] = []
        faults = []
        num_frames = feats.fewest_frames if isinstance(feats, AudioFeatures) else feats.num_frames
        for utt_id in feats:
            transcript = text.get(utt_id if utt_id in text else plain_id(utt_id))
            try:
                if transcript is None or not transcript.strip():
                    raise DataError("no transcript; add it to `text`")
                target = tokens.encode(transcript)
                check_length(encoder, num_frames[utt_id], target)
            except DataError as error:
                faults.append(f"utterance {utt_id}: {error}")
            else:
                kept.append((utt_id, transcript, target))
        if not drop_bad:
            report_faults(f"{len(feats)} utterances for CTC (--drop_bad leaves them out)", faults, DataError)
        elif faults:
            logger.warning(
                "kept %d of %d utterances; left out:\n  %s", len(kept), len(feats), "\n  ".join(faults)
            )
        if not kept:
            raise DataError("no utterance is left to train on or to validate with")
        utt_ids, texts, targets = (list(column) for column in zip(*kept, strict=True))
        return cls(feats, utt_ids, texts, targets)

    @property
    def lengths(self) -> list[int]:
        """Frames of each utterance, at its slowest: what batches are made by."""
        feats = self.feats
        num_frames = feats.most_frames if isinstance(feats, AudioFeatures) else feats.num_frames
        return [num_frames[utt_id] for utt_id in self.utt_ids]

    def read(self, utt_id: str, epoch: int) -> np.ndarray:
        """Features (T, D) of an utterance as it sounds in an epoch of training; from a store always the same."""
        if isinstance(self.feats, AudioFeatures):
            return self.feats.of_epoch(utt_id, epoch)
        return self.feats[utt_id]


class AsrTask(Task):
    """CTC training of an encoder.

    Args:
        model: encoder and output layer
        train: training utterances
        valid: validation utterances
        tokens: the token list
        training: its optimisation; validation too is in batches of this size
        settings: all that a resumed training must share, for the fingerprint
        num_workers: processes that read batches ahead; 0: none
        device_features: features of audio are computed where the model is, not by those processes; the frontend must
            have `compute_frames`
        ranks: the processes that share the validation set

    """

    selects = "valid_cer"

    def __init__(
        self,
        model: CtcModel,
        train: Transcribed,
        valid: Transcribed,
        tokens: Tokens,
        *,
        training: AsrTraining,
        settings: Mapping,
        num_workers: int = 0,
        device_features: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.train, self.valid, self.tokens = model, train, valid, tokens
        self.training, self.num_workers = training, num_workers
        self.device_features, self.ranks = device_features, ranks
        self.utt_ids, self.lengths = train.utt_ids, train.lengths
        self.device = next(model.parameters()).device
        self._ahead = copy_ahead(read_ahead(train.read, []), self.device)
        data = [[part.feats.meta, part.utt_ids, part.texts] for part in (train, valid)]
        self.fingerprint = hash_of([settings, tokens.to_state(), data])

    def begin_epoch(self, epoch: int, batches: Sequence[np.ndarray]) -> None:
        """Start to read the batches."""
        read, stack = self.train.read, pad
        if self.device_features:
            read = self.train.feats.recording_of_epoch
            stack = functools.partial(Waveforms.pad, frontend=self.train.feats.frontend)
        on_host = read_ahead(
            functools.partial(read, epoch=epoch),
            [[self.utt_ids[index] for index in batch] for batch in batches],
            stack=stack,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )
        self._ahead = copy_ahead(on_host, self.device)

    def close(self) -> None:
        """End the processes that read ahead; to be called also where training is stopped, for they would live on."""
        self._ahead.close()

    def fetch(self) -> None:
        """Take the next batch."""
        self._fetched = next(self._ahead)

    def loss(self, indices: np.ndarray) -> torch.Tensor:
        """CTC loss, summed over frames and averaged over utterances, of the batch that was fetched."""
        batch, sent = self._fetched
        if isinstance(sent, Waveforms):
            features = sent.to_features(self.train.feats.frontend)
        else:
            features = sent.features
        return self._loss(self.train, indices, features, batch.lengths)[0]

    def validate(self) -> dict[str, float]:
        """Loss an utterance, and corpus-level character and word error rate of greedy decoding."""
        batches = make_batches(self.valid.lengths, **self.training.limits, seed=0, epoch=0, ascending=True)
        with self.ranks.together():
            mine = self._validate(batches[self.ranks.number :: self.ranks.count])
        parts = self.ranks.gather(mine)
        total = sum(part[0] for part in parts)
        hypotheses = {utt_id: text for part in parts for utt_id, text in part[1].items()}
        references = dict(zip(self.valid.utt_ids, self.valid.texts, strict=True))
        scores = score_recognition(references, hypotheses)
        return {
            "valid_loss": total / len(self.valid.utt_ids),
            "valid_cer": scores["cer"],
            "valid_wer": scores["wer"],
        }

    def _validate(self, batches: Sequence[np.ndarray]) -> tuple[float, dict[str, str]]:
        """Sum of the losses, and what was heard by utterance."""
        total, hypotheses = 0.0, {}
        for indices in batches:
            features, lengths = pad([self.valid.feats[self.valid.utt_ids[index]] for index in indices])
            loss, log_probs, lengths = self._loss(self.valid, indices, features.to(self.device), lengths)
            total += loss.item() * len(indices)
            for index, ids in zip(indices, greedy_decode(log_probs, lengths), strict=True):
                hypotheses[self.valid.utt_ids[index]] = self.tokens.decode(ids)
        return total, hypotheses

    def _loss(
        self, data: Transcribed, indices: Sequence[int], features: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.model.loss(
            features,
            lengths,
            [data.targets[index] for index in indices],
            blank=self.tokens.blank,
            in_bfloat16=self.training.precision == "bfloat16",
            on_cpu=self.training.deterministic,
        )


def check_length(encoder: Encoder, num_frames: int, target: Sequence[int]) -> None:
    """Refuse an utterance that has fewer frames than its text needs.

    Args:
        encoder: tells how many frames it leaves
        num_frames: of the features
        target: token numbers of the text

    Raises:
        DataError: if it is too short

    """
    if num_frames < encoder.min_frames:
        raise DataError(f"{num_frames} frames; the encoder needs at least {encoder.min_frames}")
    left = int(encoder.output_lengths(torch.tensor([num_frames]))[0])
    # CTC puts a blank between equal neighbours (Graves et al. 2006)
    needed = len(target) + sum(one == next_one for one, next_one in itertools.pairwise(target))
    if left < needed:
        raise DataError(f"too short for its text: {left} frames after the encoder, CTC needs {needed}")
