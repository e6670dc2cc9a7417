"""The command ``score``: what it reads, prints and writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.protocol import ResolvedProtocol

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def score(exp: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command under the protocol of ``exp``; returns exit code, what it printed, and its errors."""

    def run(*options: object) -> tuple[int, str, str]:
        code = main(["score", "--protocol_dir", str(exp / "protocol"), *map(str, options)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def two_systems(exp: Path, add_member: Callable[..., Path]) -> Path:
    """baseline-96 and mp-2 with seeds 1 and 2; mp-2 has one error less in each fold."""
    for fold in FOLDS:
        for seed in (1, 2):
            add_member("baseline-96", fold, seed, wrong=2)
            add_member("mp-2", fold, seed, wrong=1)
    return exp


@pytest.fixture
def answers(tmp_path: Path, resolved: ResolvedProtocol) -> Path:
    """Another toolkit's predictions, all right."""
    path = tmp_path / "svm.tsv"
    tested = [(u, fold.truth[u]) for fold in resolved.folds.values() for u in fold.test]
    path.write_text("utt_id\tpredicted\n" + "".join(f"{u}\t{label}\n" for u, label in tested))
    return path


def row_of(printed: str, system: str) -> list[str]:
    return next(line.split() for line in printed.splitlines() if line.startswith(system))


def test_table_and_tests_are_printed_and_written(score: Callable, two_systems: Path) -> None:
    code, printed, _ = score("--exp", two_systems)

    assert code == 0
    assert "3 of 3 folds, 12 members" in printed
    assert row_of(printed, "mp-2")[1] == "0.833"
    assert "Against baseline-96, by UAR" in printed
    scores = json.loads((two_systems / "scores.json").read_text())
    assert scores["systems"]["mp-2"]["num_runs"] == 2
    assert scores["tests"]["against_baseline"][0]["difference"] == pytest.approx(1 / 8)
    header, *rows = (line.split("\t") for line in (two_systems / "table.tsv").read_text().splitlines())
    assert header[:5] == ["system", "accuracy", "accuracy_sd_folds", "accuracy_sd_runs", "accuracy_low"]
    assert [row[0] for row in rows] == ["most-frequent", "random", "baseline-96", "mp-2"]
    assert all(len(row) == len(header) for row in rows)


def test_missing_members_fail_by_name(score: Callable, two_systems: Path) -> None:
    (two_systems / "mp-2" / "fold-02" / "seed-2" / "member.yaml").unlink()

    code, _, errors = score("--exp", two_systems)

    assert code == 1
    assert "mp-2/fold-02/seed-2" in errors
    assert score("--exp", two_systems, "--seeds", "1")[0] == 0
    assert score("--exp", two_systems, "--folds", "fold-01 fold-03")[0] == 0


def test_systems_folds_and_seeds_are_chosen(score: Callable, two_systems: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    code, printed, _ = score(
        "--exp", two_systems, "--systems", "mp-2", "--folds", "fold-02", "--seeds", "2", "--out", out
    )

    assert code == 0
    assert "1 of 3 folds, 1 members" in printed
    assert json.loads((out / "scores.json").read_text())["members"]["mp-2"].keys() == {"fold-02"}
    assert not (two_systems / "scores.json").exists()


def test_another_toolkit_stands_in_the_same_table_and_tests(
    score: Callable, two_systems: Path, answers: Path
) -> None:
    code, printed, _ = score("--exp", two_systems, "--predictions", f"svm={answers}")

    assert code == 0
    assert row_of(printed, "svm")[1] == "1.000"
    tests = json.loads((two_systems / "scores.json").read_text())["tests"]
    assert [record["title"] for record in tests["against_baseline"]] == [
        "mp-2 > baseline-96",
        "svm > baseline-96",
    ]


def test_another_toolkit_is_scored_without_an_experiment(
    score: Callable, exp: Path, answers: Path, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())

    code, printed, _ = score("--predictions", f"svm={answers}", f"lda={answers}", "--baseline", "lda")

    assert code == 0
    assert row_of(printed, "svm")[1] == "1.000"
    assert "Against lda, by UAR" in printed
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --exp, --predictions or both"),
        (("--predictions", "svm.tsv"), "expected NAME=FILE"),
        (("--predictions", "my svm={answers}"), "expected NAME=FILE, the name without blanks"),
        (("--predictions", "random={answers}"), "choose another name"),
        (("--exp", "{exp}", "--predictions", "mp-2={answers}"), "choose another name"),
        (("--exp", "{exp}", "--baseline", "mp-1"), "--baseline mp-1: not among .* did you mean"),
        (("--exp", "{exp}", "--folds", "fold-04"), "unknown fold 'fold-04'"),
        (("--exp", "{exp}", "--seeds", "one"), "expected whole numbers"),
        (("--exp", "{exp}", "--metric", "f1"), "invalid choice: 'f1'"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(
    score: Callable, two_systems: Path, answers: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, errors = score(*(option.format(exp=two_systems, answers=answers) for option in options))

    assert code == 2
    assert re.search(message, errors)
