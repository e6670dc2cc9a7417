"""Results by speaker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.analysis.speakers import speaker_rows
from sertoolkit.config import from_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import Protocol, ResolvedProtocol, resolve
from sertoolkit.scoring.members import read_foreign, read_members
from sertoolkit.scoring.table import count_speakers, score_members

CLASSES = ("anger", "sadness")
FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def trained(exp: Path, add_member: Callable[..., Path]) -> Path:
    for system in ("baseline-96", "mp-2"):
        for fold in FOLDS:
            add_member(system, fold, 1, wrong=1)
            add_member(system, fold, 2, wrong=3 if fold == "fold-02" else 1)
    return exp


def rows_of(exp: Path, resolved: ResolvedProtocol) -> list[dict]:
    rows = speaker_rows(count_speakers(read_members(exp, resolved), resolved), resolved)
    return [row for row in rows if row["system"] == "mp-2"]


def test_speaker_has_the_mean_over_seeds_of_its_fold(trained: Path, resolved: ResolvedProtocol) -> None:
    rows = rows_of(trained, resolved)

    assert [(row["speaker"], row["fold"], row["num_utts"]) for row in rows] == [
        ("s0", "fold-01", 6),
        ("s1", "fold-02", 6),
        ("s2", "fold-03", 6),
    ]
    assert [row["accuracy"] for row in rows] == pytest.approx([5 / 6, (5 / 6 + 3 / 6) / 2, 5 / 6])


def test_every_speaker_of_a_session_has_a_row_of_its_own(tmp_path: Path) -> None:
    utts = [f"s{s}{who}-{label}{n}" for s in (1, 2, 3) for who in "FM" for label in CLASSES for n in range(2)]
    data_dir = DataDir(
        wav=dict.fromkeys(utts, "a.wav"),
        utt2spk={u: u[:3] for u in utts},
        utt2ses={u: u[:2] for u in utts},
        utt2emo={u: u[4:-1] for u in utts},
    )
    protocol = {"name": "sessions", "version": 1, "classes": list(CLASSES), "folds": {"rule": "session"}}
    labels = {name: name for name in CLASSES}
    resolved = resolve(from_dict(Protocol, protocol | {"labels": labels}), data_dir)
    answers = tmp_path / "svm.tsv"  # wrong for men when angry
    answers.write_text(
        "utt_id\tpredicted\n" + "".join(f"{u}\t{'sadness' if 'M' in u else u[4:-1]}\n" for u in utts)
    )

    counts = count_speakers(read_foreign([("svm", answers)], resolved), resolved)
    rows = [row for row in speaker_rows(counts, resolved) if row["system"] == "svm"]

    assert [(row["speaker"], row["fold"], row["num_utts"], row["accuracy"]) for row in rows] == [
        (f"s{s}{who}", f"fold-0{s}", 4, accuracy)
        for s in (1, 2, 3)
        for who, accuracy in (("F", 1), ("M", 0.5))
    ]
    system = score_members(read_foreign([("svm", answers)], resolved), resolved)["systems"]["svm"]
    assert (system["num_folds"], system["accuracy"]["mean"]) == (3, 0.75)
    assert system["accuracy"]["interval"] is None  # three folds, though six speakers
