"""Recognition before and after joint training: what systems that transcribe hear of their test sets, scored."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from sertoolkit.corpus.protocol import Fold, ResolvedProtocol, seen_sentences
from sertoolkit.errors import DataError
from sertoolkit.scoring.members import ScoredMember
from sertoolkit.scoring.recognition import score_recognition
from sertoolkit.scoring.table import format_columns
from sertoolkit.storage.tensors import load_meta
from sertoolkit.text.spelling import spell
from sertoolkit.text.tokens import Tokens, tokens_from_state
from sertoolkit.text.transcripts import read_transcripts

logger = logging.getLogger(__name__)

TRANSCRIPTS = {"before": "transcripts.before.txt", "after": "transcripts.test.txt"}
"""Files of a member, Kaldi `text`: what the recogniser that training began with hears of the test set, and what the
system hears."""

NOTE = (
    "before: the recogniser as it was; after: what the system itself transcribes, mean over seeds. CER, WER: errors of all"
    " test utterances together by the length of all references, in the letters of the recogniser. Of sentences that are"
    " spoken in training too (seen), `after` tells how well they were learnt by heart, not how well new speech is"
    " recognised; unseen tells that."
)
CAPTION = "Recognition before and after joint training"
HEADER = ("system", "sentences", "utterances", "CER before", "CER after", "WER before", "WER after")


def recognition_rows(
    exp: Path, members: Sequence[ScoredMember], resolved: ResolvedProtocol, text: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Error rates of each system that transcribes, over the test sets of all its members.

    Utterances whose text is missing or cannot be spelt by the recogniser's tokens are left out and named.

    Args:
        exp: folder of the experiment
        members: of all systems; those without transcripts do not count
        resolved: their protocol
        text: what was said, by utterance

    Returns:
        dicts with ``system``, ``sentences`` (``all``, and where both are there ``seen`` and ``unseen``: spoken in the
        fold's training set or not, as the recogniser's tokens spell it), ``num_utts``, and ``cer_before cer_after
        wer_before wer_after`` (0 is best)

    Raises:
        DataError: if transcripts are damaged, or do not belong to the test set of their fold

    """
    # system -> seed -> utterances of all folds: reference, before, after, whether the sentence is unseen
    heard: dict[str, dict[int, list[tuple[str, str, str, bool]]]] = defaultdict(lambda: defaultdict(list))
    left_out: set[str] = set()
    for member in members:
        folder = Path(exp) / member.system / member.fold / f"seed-{member.seed}"
        if not member.meta or not (folder / TRANSCRIPTS["after"]).exists():
            continue
        fold = resolved.folds[member.fold]
        texts = {when: _read(folder / name, fold) for when, name in TRANSCRIPTS.items()}
        meta = load_meta(folder / "model.safetensors")
        not_learnt = set(meta.get("emotion_alone", ()))
        learnt = [utt_id for utt_id in fold.train if utt_id not in not_learnt]
        spelt = _spell_all((*learnt, *fold.test), text, tokens_from_state(meta["tokens"]))
        references = {utt_id: spelt[utt_id] for utt_id in fold.test if utt_id in spelt}
        left_out |= set(fold.test) - set(references)
        seen = set(seen_sentences(fold, spelt))  # what CTC learns are texts as they are spelt
        heard[member.system][member.seed] += [
            (reference, texts["before"][utt_id], texts["after"][utt_id], utt_id not in seen)
            for utt_id, reference in references.items()
        ]
    if left_out:
        logger.warning(
            "recognition: left out %d test utterances, their text is missing or cannot be spelt: %s",
            len(left_out),
            " ".join(sorted(left_out)[:20]),
        )
    return [row for system, runs in heard.items() for row in _rows_of(system, list(runs.values()))]


def _read(path: Path, fold: Fold) -> dict[str, str]:
    texts = read_transcripts(path, may_be_empty=True)
    if texts.keys() != set(fold.test):
        raise DataError(f"{path}: not the test set of {fold.name}; train this member again")
    return texts


def _spell_all(utt_ids: Sequence[str], text: Mapping[str, str], tokens: Tokens) -> dict[str, str]:
    found = {}
    for utt_id in utt_ids:
        try:
            found[utt_id] = spell(text.get(utt_id, ""), tokens)
        except DataError:
            continue  # of the test set are counted by the caller
    return found


def _rows_of(system: str, runs: Sequence[Sequence[tuple[str, str, str, bool]]]) -> list[dict[str, Any]]:
    kinds = {"all": (False, True)}
    if len({unseen for run in runs for *_, unseen in run}) == 2:
        kinds |= {"seen": (False,), "unseen": (True,)}
    rows = []
    for name, kind in kinds.items():
        scores = []
        for run in runs:
            mine = [utterance for utterance in run if utterance[3] in kind]
            if not mine:
                continue
            references, before, after = (
                {str(n): utterance[column] for n, utterance in enumerate(mine)} for column in range(3)
            )
            old, new = score_recognition(references, before), score_recognition(references, after)
            scores.append((len(mine), old["cer"], new["cer"], old["wer"], new["wer"]))
        if scores:
            num_utts, *rates = np.mean(scores, 0).tolist()
            names = ("cer_before", "cer_after", "wer_before", "wer_after")
            row = {"system": system, "sentences": name, "num_utts": round(num_utts)}
            rows.append(row | dict(zip(names, rates, strict=True)))
    return rows


def format_recognition(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table in columns, and what it means."""
    return f"{CAPTION}:\n\n{format_columns([HEADER, *recognition_cells(rows)])}\n\n{fill(NOTE, 110)}"


def recognition_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells of the rows under `HEADER`."""
    return [
        [
            row["system"],
            row["sentences"],
            str(row["num_utts"]),
            *(f"{row[name]:.3f}" for name in ("cer_before", "cer_after", "wer_before", "wer_after")),
        ]
        for row in rows
    ]
