"""The worst confusions: averaged over seeds, the most confident first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sertoolkit.analysis.mistakes import best_system, mistake_rows
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.predictions import write_predictions

CLASSES = ("anger", "sadness")


def test_posteriors_are_averaged_over_runs(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    fold = resolved.folds["fold-01"]
    truth = [fold.truth[utt_id] for utt_id in fold.test]
    for seed, first, second in ((1, 0.9, 0.3), (2, 0.7, 0.6)):
        folder = add_member("mp-2", "fold-01", seed)
        right = np.array([[0.8, 0.2] if label == "anger" else [0.2, 0.8] for label in truth])
        right[0], right[1] = (1 - first, first), (1 - second, second)
        write_predictions(folder / "predictions.test.tsv", fold.test, truth, right, CLASSES)
    for seed, wrong in ((1, 1), (2, 0)):
        add_member("rnn-2", "fold-01", seed, wrong=wrong)
    members = read_members(exp, resolved, folds=["fold-01"])

    (row,) = mistake_rows(exp, members, resolved, "mp-2")

    # the second utterance is wrong in one run alone, and right on average
    assert (row["utt_id"], row["truth"], row["predicted"]) == (fold.test[0], "anger", "sadness")
    assert (row["posterior"], row["truth_posterior"]) == pytest.approx((0.8, 0.2))
    assert (row["num_wrong"], row["num_runs"], row["others_wrong"]) == (2, 2, 0.5)


def test_most_confident_mistake_comes_first_with_its_text(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    fold = resolved.folds["fold-01"]
    folder = add_member("mp-2", "fold-01", 1, wrong=2)
    truth = [fold.truth[utt_id] for utt_id in fold.test]
    posteriors = np.array([[label == name for name in CLASSES] for label in truth], dtype=float)
    posteriors[0], posteriors[1] = (0.4, 0.6), (0.1, 0.9)
    write_predictions(folder / "predictions.test.tsv", fold.test, truth, posteriors, CLASSES)
    data_dir = DataDir(
        wav=dict.fromkeys(fold.test, "a.wav"),
        utt2spk=dict.fromkeys(fold.test, "s0"),
        text={fold.test[1]: "some words"},
    )

    rows = mistake_rows(
        exp, read_members(exp, resolved, folds=["fold-01"]), resolved, "mp-2", data_dir=data_dir
    )

    assert [row["utt_id"] for row in rows] == [fold.test[1], fold.test[0]]
    assert [row["text"] for row in rows] == ["some words", ""]
    assert np.isnan(rows[0]["others_wrong"])


def test_best_system_is_no_row_of_chance() -> None:
    uar = {"most-frequent": 0.9, "random": 0.9, "mp-1": 0.4, "mp-2": 0.5}

    assert best_system({name: {"uar": {"mean": value}} for name, value in uar.items()}) == "mp-2"
