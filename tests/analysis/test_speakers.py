"""Results by speaker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.analysis.speakers import speaker_rows, speakers_tsv
from sertoolkit.cli import main
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


def test_text_form_has_one_line_a_system_and_speaker() -> None:
    row = {"system": "mp-2", "speaker": "s0", "fold": "fold-01", "num_utts": 6}

    assert speakers_tsv([{**row, "accuracy": 0.5, "uar": 2 / 3, "macro_f1": 0.25}]) == (
        "system\tspeaker\tfold\tnum_utts\taccuracy\tuar\tmacro_f1\nmp-2\ts0\tfold-01\t6\t0.5\t0.666667\t0.25\n"
    )


def test_command_writes_tables_and_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["analyse", "--exp", str(trained), "--protocol_dir", str(trained / "protocol")])

    assert code == 0
    assert "baseline-96, mp-2" in capsys.readouterr().out
    names = sorted(path.name for path in (trained / "analysis").iterdir())
    assert names == ["confusion.png", "confusion.tsv", "speakers.png", "speakers.tsv"]
    # 4 systems with the rows of chance, 2 classes
    assert len((trained / "analysis" / "confusion.tsv").read_text().splitlines()) == 1 + 4 * 2


def test_analysed_folder_scores_as_before(trained: Path, resolved: ResolvedProtocol) -> None:
    before = score_members(read_members(trained, resolved), resolved)

    main(["analyse", "--exp", str(trained), "--protocol_dir", str(trained / "protocol")])

    assert score_members(read_members(trained, resolved), resolved) == before
