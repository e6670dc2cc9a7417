"""Results by sentence: does a system know the emotion, or the sentence that it has heard in training?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sertoolkit.corpus.protocol import Fold, ResolvedProtocol, seen_sentences, words_of
from sertoolkit.scoring.emotion import METRICS, confusion_counts, numbers_of, scores_of_counts
from sertoolkit.scoring.members import ScoredMember

_PLAY = re.compile(r"_(impro|script)\d")  # in ids of IEMOCAP
_SAID = {"impro": "improvised", "script": "scripted"}


def sentence_rows(
    members: Sequence[ScoredMember], resolved: ResolvedProtocol, text: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Scores of each system over all test utterances of one kind together, averaged over seeds.

    The kinds are ``seen`` and ``unseen``: whether the same words are said in the fold's training set, of utterances with
    words; and for utterances whose id tells, as those of IEMOCAP do, ``scripted`` and ``improvised``: speakers say a
    script's lines with small changes, which make a sentence ``unseen``.

    Args:
        members: of all systems
        resolved: their protocol
        text: sentences by utterance

    Returns:
        dicts with ``system said num_utts`` and the metrics; UAR is over the classes that the kind holds

    """
    classes = resolved.protocol.classes
    kinds = {fold.name: list(_kinds(fold, text)) for fold in resolved.folds.values()}
    counts: dict[tuple[str, str], dict[int, np.ndarray]] = defaultdict(dict)
    for member in members:
        fold = resolved.folds[member.fold]
        truth = numbers_of([fold.truth[utt_id] for utt_id in fold.test], classes)
        for said, mine in kinds[member.fold]:
            runs = counts[member.system, said]
            table = confusion_counts(truth[mine], member.predicted[mine], len(classes))
            runs[member.seed] = runs.get(member.seed, 0) + table
    rows = []
    for (system, said), runs in counts.items():
        tables = list(runs.values())
        scores = [scores_of_counts(table) for table in tables]
        row = {"system": system, "said": said, "num_utts": int(max(table.sum() for table in tables))}
        rows.append(row | {metric: float(np.mean([run[metric] for run in scores])) for metric in METRICS})
    return rows


def _kinds(fold: Fold, text: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    """Each kind in the test set of a fold, and which of its utterances are of it."""
    seen = set(seen_sentences(fold, text))
    plays = [_PLAY.search(utt_id) for utt_id in fold.test]
    kinds = {
        "seen": [utt_id in seen for utt_id in fold.test],
        "unseen": [utt_id not in seen and words_of(text, utt_id) != "" for utt_id in fold.test],
        **{said: [play is not None and play[1] == word for play in plays] for word, said in _SAID.items()},
    }
    for said, mine in kinds.items():
        if any(mine):
            yield said, np.array(mine)
