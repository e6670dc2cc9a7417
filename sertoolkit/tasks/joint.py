"""Emotion by cross-entropy and transcripts by CTC, together; validation cross-entropy selects, as for other heads."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sertoolkit.audio.augmentation import plain_id
from sertoolkit.config import hash_of
from sertoolkit.corpus.protocol import Fold
from sertoolkit.decoding.greedy import greedy_decode
from sertoolkit.encoders.ctc import ctc_loss
from sertoolkit.errors import ConfigError, DataError, report_faults
from sertoolkit.heads.base import Head
from sertoolkit.scoring.recognition import score_recognition
from sertoolkit.scoring.transcripts import TRANSCRIPTS
from sertoolkit.tasks.asr import check_length
from sertoolkit.tasks.encoder_inputs import EncoderInputs
from sertoolkit.tasks.ser import SerTask
from sertoolkit.text.spelling import spell
from sertoolkit.text.transcripts import read_transcripts

logger = logging.getLogger(__name__)


class JointInputs(EncoderInputs):
    """The encoder, the features that it reads, and transcripts.

    Args:
        head: the class; it needs `text`
        layers: encoder layers, from 1
        text: Kaldi `text` of the corpus
        others: as :class:`EncoderInputs` has them

    Raises:
        ConfigError: if the text is not given
        DataError: if its lines are faulty

    """

    def __init__(self, head: type[Head], layers: Sequence[int], *, text: Path | None, **others: Any) -> None:
        if text is None:
            raise ConfigError(f"head {head.__name__} learns to transcribe: give --text (data/<set>/text)")
        super().__init__(head, layers, **others)
        self._path, self._texts = text, read_transcripts(text, may_be_empty=True)
        self._spelt: dict[str, str | None] = {}  # by utterance, of those that were asked for
        self._refused: dict[str, str] = {}  # why, of those that are None there
        self._heard: dict[tuple[str, ...], list[str]] = {}  # by batch

    @property
    def head_arguments(self) -> dict[str, Any]:
        """What the head is built with."""
        return {**super().head_arguments, "output": self.recogniser.model.output}

    @property
    def description(self) -> dict[str, Any]:
        """The tokens, by which transcripts are spelt that are compared with those of the head; texts it did not learn."""
        return {"tokens": self.recogniser.tokens.to_state(), "emotion_alone": sorted(self._refused)}

    def text_of(self, utt_id: str) -> str | None:
        """Transcript of an utterance, in the letters of the recogniser; None where CTC cannot learn from it.

        That is so where it holds no word (``[LAUGHTER]``), the tokens cannot spell it, or the utterance is too short for
        it. A copy at another tempo has the text of its utterance and a length of its own.
        """
        if utt_id not in self._spelt:
            try:
                self._spelt[utt_id] = self._learnable(utt_id)
            except DataError as error:
                self._spelt[utt_id], self._refused[utt_id] = None, str(error)
        return self._spelt[utt_id]

    def _learnable(self, utt_id: str) -> str:
        text = spell(
            self._texts[utt_id if utt_id in self._texts else plain_id(utt_id)], self.recogniser.tokens
        )
        check_length(self.recogniser.encoder, self.num_frames(utt_id), self.recogniser.tokens.encode(text))
        return text

    def target_of(self, utt_id: str) -> list[int] | None:
        """Token numbers of the transcript of an utterance, where it has one to learn from."""
        text = self.text_of(utt_id)
        return None if text is None else self.recogniser.tokens.encode(text)

    def check_texts(self, folds: Sequence[Fold]) -> None:
        """Look at the texts of all training and validation sets; of no other is the text read.

        Utterances without a text that CTC can learn from are named, and learn emotion alone.

        Raises:
            DataError: if `text` lacks an utterance, or none of a training or validation set is left for CTC

        """
        sets = {
            f"{part} of {fold.name}": getattr(fold, part) for fold in folds for part in ("train", "valid")
        }
        utt_ids = sorted(set(itertools.chain(*sets.values())))
        missing = [f"utterance {utt_id}: not in it" for utt_id in utt_ids if utt_id not in self._texts]
        report_faults(f"{self._path}", missing, DataError)
        empty = [name for name, mine in sets.items() if not any(map(self.text_of, mine))]
        copies = [copy for utt_id in utt_ids for copy in self.copies_of(utt_id)]
        refused = [
            f"utterance {copy}: {self._refused[copy]}" for copy in copies if self.text_of(copy) is None
        ]
        report_faults(
            f"no text that a recogniser can learn from in {', '.join(empty)}",
            refused if empty else [],
            DataError,
        )
        if refused:
            logger.info(
                "%d of %d utterances, copies included, learn emotion alone; CTC cannot learn from their text:\n  %s",
                len(refused),
                len(copies),
                "\n  ".join(refused),
            )

    def hashes_of(self, fold: Fold) -> dict[str, str]:
        """Of the recogniser, its output layer included, and of the transcripts that training on a fold reads."""
        texts = {utt_id: self.text_of(utt_id) for utt_id in (*fold.train, *fold.valid)}
        return {"recogniser": self._recogniser_hash, "text": hash_of(texts)}

    @cached_property
    def _recogniser_hash(self) -> str:
        return self.recogniser.hash()

    def heard_before(self, utt_ids: Sequence[str]) -> list[str]:
        """What the unchanged recogniser hears in a batch; decoded once for all seeds of a fold."""
        key = tuple(utt_ids)
        if key not in self._heard:
            self._heard[key] = self.recogniser.decode([self.layers[0][utt_id] for utt_id in utt_ids])
        return self._heard[key]


class JointTask(SerTask):
    """Training of a head that needs `text` on one fold.

    Args:
        model: the head
        inputs: a :class:`JointInputs`, or the same on a device
        fold: utterances, classes and speakers
        classes: in the order of the output units
        others: as :class:`SerTask` has them

    """

    def __init__(
        self, model: Head, inputs: JointInputs, fold: Fold, classes: Sequence[str], **others: Any
    ) -> None:
        super().__init__(model, inputs, fold, classes, **others)
        self._tokens = inputs.recogniser.tokens
        copies = [copy for utt_id in fold.train for copy in inputs.copies_of(utt_id)]
        self._text_targets = {copy: inputs.target_of(copy) for copy in copies}
        texts = {utt_id: inputs.text_of(utt_id) for utt_id in fold.valid}
        self._valid_texts = {utt_id: text for utt_id, text in texts.items() if text is not None}

    def loss(self, indices: np.ndarray) -> torch.Tensor:
        """Mean cross-entropy, and `ctc_weight` times the mean over utterances of the CTC loss a token.

        That of an utterance without a text to learn from is zero.
        """
        utt_ids = [self.utt_ids[index] for index in indices]
        logits, log_probs, _ = self.model.listen(*self.inputs.batch(utt_ids))
        emotion = functional.cross_entropy(logits, self.targets(utt_ids).to(logits.device))
        targets = [self._text_targets[utt_id] for utt_id in utt_ids]
        rows = [row for row, target in enumerate(targets) if target is not None]
        if not rows:
            return emotion
        # on the CPU, so that a GPU need not be waited for
        lengths = torch.tensor([self.inputs.num_frames(utt_ids[row]) for row in rows])
        lengths = self.model.encoder.output_lengths(lengths)
        if len(rows) < len(utt_ids):
            log_probs = log_probs[rows]
        texts = [target for target in targets if target is not None]
        recognition = ctc_loss(log_probs, lengths, texts, blank=self._tokens.blank, reduction="mean")
        return emotion + self.model.config.ctc_weight * recognition * (len(rows) / len(utt_ids))

    def validate(self) -> dict[str, float]:
        """Cross-entropy and unweighted average recall, and the character error rate beside them."""
        posteriors, texts = self.listen(self.fold.valid)
        heard = {u: text for u, text in zip(self.fold.valid, texts, strict=True) if u in self._valid_texts}
        return self.metrics(posteriors) | {"valid_cer": score_recognition(self._valid_texts, heard)["cer"]}

    def posteriors(self, utt_ids: Sequence[str]) -> torch.Tensor:
        """Posterior of each class, (N, C)."""
        return self.listen(utt_ids)[0]

    @torch.no_grad()
    def listen(self, utt_ids: Sequence[str]) -> tuple[torch.Tensor, list[str]]:
        """Emotion and words by one pass of the encoder.

        Args:
            utt_ids: any utterances of the store

        Returns:
            posteriors (N, C) float64 and transcripts, in the order of ``utt_ids``

        """
        self.model.eval()
        logits = torch.empty(len(utt_ids), len(self.classes), dtype=torch.float64)
        texts = [""] * len(utt_ids)
        for rows in self.chunks(utt_ids):
            found, log_probs, lengths = self.model.listen(*self.inputs.batch([utt_ids[row] for row in rows]))
            logits[rows] = found.double().to(logits.device)
            for row, ids in zip(rows, greedy_decode(log_probs, lengths), strict=True):
                texts[row] = self._tokens.decode(ids)
        return logits.softmax(1), texts

    def transcripts(self) -> dict[str, dict[str, str]]:
        """What the model, and the recogniser that it began with, hear of the test set."""
        utt_ids = self.fold.test
        before = {}
        for rows in self.chunks(utt_ids):
            some = [utt_ids[row] for row in rows]
            before |= zip(some, self.inputs.heard_before(some), strict=True)
        after = dict(zip(utt_ids, self.listen(utt_ids)[1], strict=True))
        return {TRANSCRIPTS["after"]: after, TRANSCRIPTS["before"]: before}
