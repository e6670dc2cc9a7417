"""The worst confusions: utterances that a system hears wrongly, and is sure about, in all its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sertoolkit.scoring.emotion import MOST_FREQUENT, RANDOM
from sertoolkit.scoring.predictions import read_predictions

if TYPE_CHECKING:
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.protocol import ResolvedProtocol
    from sertoolkit.scoring.members import ScoredMember

NUM_WORST = 20


def best_system(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """The trained system with the highest mean UAR.

    Args:
        systems: rows of the table by system

    """
    trained = [name for name in systems if name not in (MOST_FREQUENT, RANDOM)]
    return max(trained, key=lambda name: systems[name]["uar"]["mean"])


def mistake_rows(
    exp: Path,
    members: Sequence[ScoredMember],
    resolved: ResolvedProtocol,
    system: str,
    *,
    data_dir: DataDir | None = None,
) -> list[dict[str, Any]]:
    """Test utterances whose posterior, averaged over seeds, is wrong, the most confident first.

    Args:
        exp: folder of the experiment, with the predictions
        members: of all systems
        resolved: their protocol
        system: whose mistakes
        data_dir: tells the transcript of each

    Returns:
        at most ``NUM_WORST`` dicts with ``system utt_id truth predicted posterior truth_posterior num_wrong
        num_runs others_wrong text``: posteriors are means over seeds in [0, 1],
        ``others_wrong`` is the share of the trainings of other systems that err on the utterance (NaN where
        there are none), ``text`` is empty without ``data_dir``

    """
    classes = resolved.protocol.classes
    place = {name: number for number, name in enumerate(classes)}
    posteriors: dict[str, list[np.ndarray]] = {}
    others: dict[str, list[bool]] = {}
    for member in members:
        fold = resolved.folds[member.fold]
        if member.system != system:
            for utt_id, predicted in zip(fold.test, member.predicted.tolist(), strict=True):
                others.setdefault(utt_id, []).append(classes[predicted] != fold.truth[utt_id])
            continue
        folder = exp / system / member.fold / f"seed-{member.seed}"
        predictions = read_predictions(folder / "predictions.test.tsv", classes)
        for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
            posteriors.setdefault(utt_id, []).append(row)
    truth = {utt_id: fold.truth[utt_id] for fold in resolved.folds.values() for utt_id in fold.test}
    rows = []
    for utt_id, runs in posteriors.items():
        mean, true = np.mean(runs, axis=0), place[truth[utt_id]]
        predicted = int(mean.argmax())
        if predicted == true:
            continue
        row = {
            "system": system,
            "utt_id": utt_id,
            "truth": truth[utt_id],
            "predicted": classes[predicted],
            "posterior": float(mean[predicted]),
            "truth_posterior": float(mean[true]),
            "num_wrong": sum(int(run.argmax()) != true for run in runs),
            "num_runs": len(runs),
            "others_wrong": float(np.mean(others[utt_id])) if utt_id in others else float("nan"),
        }
        rows.append(row)
    rows.sort(key=lambda row: (-row["posterior"], row["utt_id"]))
    texts = data_dir.text if data_dir else {}
    return [row | {"text": texts.get(row["utt_id"], "")} for row in rows[:NUM_WORST]]
