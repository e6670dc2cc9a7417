"""Results by speaker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.analysis.speakers import speaker_rows
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def trained(exp: Path, add_member: Callable[..., Path]) -> Path:
    for system in ("baseline-96", "mp-2"):
        for fold in FOLDS:
            add_member(system, fold, 1, wrong=1)
            add_member(system, fold, 2, wrong=3 if fold == "fold-02" else 1)
    return exp


def test_speaker_has_the_mean_over_seeds_of_its_fold(trained: Path, resolved: ResolvedProtocol) -> None:
    scores = score_members(read_members(trained, resolved), resolved)

    rows = [row for row in speaker_rows(scores["members"], resolved.folds) if row["system"] == "mp-2"]

    assert [(row["speaker"], row["fold"], row["num_utts"]) for row in rows] == [
        ("s0", "fold-01", 6),
        ("s1", "fold-02", 6),
        ("s2", "fold-03", 6),
    ]
    assert [row["accuracy"] for row in rows] == pytest.approx([5 / 6, (5 / 6 + 3 / 6) / 2, 5 / 6])
