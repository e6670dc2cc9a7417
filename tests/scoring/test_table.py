"""The table: which numbers are averaged first, and what each spread is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members, summarise

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def two_runs(exp: Path, add_member: Callable[..., Path]) -> Path:
    """Accuracies by fold: run 1 gives 6/6 5/6 4/6, run 2 gives 5/6 5/6 2/6."""
    for seed, errors in ((1, (0, 1, 2)), (2, (1, 1, 4))):
        for fold, wrong in zip(FOLDS, errors, strict=True):
            add_member("mp-2", fold, seed, wrong=wrong)
    return exp


def test_seeds_are_averaged_before_folds(two_runs: Path, resolved: ResolvedProtocol) -> None:
    row = score_members(read_members(two_runs, resolved), resolved)["systems"]["mp-2"]

    fold_means = [(1 + 5 / 6) / 2, 5 / 6, (4 / 6 + 2 / 6) / 2]
    run_means = [mean([1, 5 / 6, 4 / 6]), mean([5 / 6, 5 / 6, 2 / 6])]
    assert row["accuracy"] == pytest.approx(
        {"mean": mean(fold_means), "sd_folds": stdev(fold_means), "sd_runs": stdev(run_means)}
    )
    assert (row["num_folds"], row["num_runs"]) == (3, 2)


def test_recall_is_averaged_over_classes_in_folds_and_pooled(
    two_runs: Path, resolved: ResolvedProtocol
) -> None:
    row = score_members(read_members(two_runs, resolved), resolved)["systems"]["mp-2"]

    # errors are all on the four angry utterances of a fold; sad ones are all right
    by_fold = [mean([1, 7 / 8]), 7 / 8, mean([6 / 8, 4 / 8])]
    pooled = mean([(9 / 12 + 6 / 6) / 2, (6 / 12 + 6 / 6) / 2])
    assert row["uar"]["mean"] == pytest.approx(mean(by_fold))
    assert row["pooled_uar"] == pytest.approx(pooled)


def test_folds_of_unequal_mixture_show_why_recall_is_pooled() -> None:
    # fold 1: 3 of class a right, 1 of b wrong; fold 2: only class a, all wrong
    counts = {"f1": {1: np.array([[3, 0], [1, 0]])}, "f2": {1: np.array([[0, 1], [0, 0]])}}
    scores = {fold: {1: {"accuracy": 0.0, "uar": 0.0, "macro_f1": 0.0}} for fold in counts}

    assert summarise(counts, scores)["pooled_uar"] == pytest.approx((3 / 4 + 0 / 1) / 2)


def test_one_seed_has_no_spread_over_runs(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-2", fold, 1)

    row = score_members(read_members(exp, resolved), resolved)["systems"]["mp-2"]

    assert row["accuracy"] == {"mean": 1.0, "sd_folds": 0.0, "sd_runs": None}


def test_rows_of_chance_come_first(two_runs: Path, resolved: ResolvedProtocol) -> None:
    scores = score_members(read_members(two_runs, resolved), resolved)

    assert list(scores["systems"]) == ["most-frequent", "random", "mp-2"]
    most_frequent = scores["systems"]["most-frequent"]
    assert most_frequent["accuracy"]["mean"] == pytest.approx(4 / 6)
    assert most_frequent["uar"]["mean"] == pytest.approx(1 / 2)
    assert scores["systems"]["random"]["num_runs"] == 10


def test_command_prints_the_table_and_writes_both_files(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["score", "--exp", str(two_runs), "--protocol_dir", str(two_runs / "protocol")])

    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith("mp-2"))
    assert code == 0
    assert row[1] == "0.750"  # (11/12 + 10/12 + 6/12) / 3
    assert "U-Acc of Lakomkin" in printed
    assert json.loads((two_runs / "scores.json").read_text())["systems"]["mp-2"]["num_runs"] == 2
    header, *rows = (two_runs / "table.tsv").read_text().splitlines()
    assert header.split("\t")[:4] == ["system", "accuracy", "accuracy_sd_folds", "accuracy_sd_runs"]
    assert [line.split("\t")[0] for line in rows] == ["most-frequent", "random", "mp-2"]


def test_command_fails_on_missing_members_unless_partial(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_runs / "mp-2" / "fold-02" / "seed-2" / "member.yaml").unlink()
    arguments = ["score", "--exp", str(two_runs), "--protocol_dir", str(two_runs / "protocol")]

    assert main(arguments) == 1
    assert "mp-2/fold-02/seed-2" in capsys.readouterr().err
    assert main([*arguments, "--partial"]) == 0
