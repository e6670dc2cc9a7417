"""RESULTS.md says everything that one must know to believe a number."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from sertoolkit.analysis.figures import FigureNote, write_notes
from sertoolkit.cli import main
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.storage.atomic import write_yaml

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def report(exp: Path, add_member: Callable[..., Path]) -> Callable[..., str]:
    """Trains mp-2 with two seeds, runs the command, returns the text."""
    for fold in FOLDS:
        for seed in (1, 2):
            add_member("mp-2", fold, seed, wrong=1)

    def make(*options: str, out: Path | None = None) -> str:
        out = out or exp / "RESULTS.md"
        arguments = ["--exp", str(exp), "--protocol_dir", str(exp / "protocol"), "--out", str(out), *options]
        assert main(["report", *arguments]) == 0
        return out.read_text()

    return make


def row_of(text: str, first: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_has_scores_and_costs(report: Callable[..., str]) -> None:
    text = report()

    header, row = row_of(text, "system"), row_of(text, "mp-2")
    cells = dict(zip(header, row, strict=True))
    assert cells["accuracy"] == "0.833"  # 5 of 6 in every fold and run
    assert cells["pooled UAR"] == "0.875"  # (9/12 + 6/6) / 2
    assert cells["runs"] == "2"
    costs = text[text.index("Cost of training") :]
    cells = dict(zip(row_of(costs, "system"), row_of(costs, "mp-2"), strict=True))
    assert (cells["trained parameters"], cells["best epoch"], cells["seconds"]) == ("1,234", "3.0", "1.5")


def test_how_it_was_made_is_written(report: Callable[..., str], resolved: ResolvedProtocol) -> None:
    text = report("--title", "My corpus", "--command", "./run.sh --seeds '1 2'")

    assert text.startswith("# My corpus\n")
    for part in (
        "./run.sh --seeds '1 2'",
        "seeds 1 2: 6 trainings",
        resolved.hash,
        "| torch |",
        *(f"| {name} | {metadata.version(name)} |" for name in ("scipy", "sentencepiece", "python-stretch")),
        "| commit |",
    ):
        assert part in text


def test_protocol_is_written_with_counts_by_speaker(report: Callable[..., str]) -> None:
    text = report()

    assert "Kept 18 of 18 utterances: anger 12, sadness 6. Dropped for their label: none." in text
    assert row_of(text, "fold-02") == ["fold-02", "s1", "s2", "4", "2", "0 of 6"]


def test_environment_and_settings_of_the_training_are_used(report: Callable[..., str], exp: Path) -> None:
    write_yaml(exp / "environment.yaml", {"torch": "9.9.9"})
    write_yaml(exp / "config.yaml", {"training": {"learning_rate": 0.001}})

    text = report()

    assert row_of(text, "torch") == ["torch", "9.9.9"]
    assert "learning_rate: 0.001" in text


def test_figures_are_linked_from_where_the_report_lies(report: Callable[..., str], exp: Path) -> None:
    notes = [
        FigureNote(file=f"{name}.png", title="Mean confusion", caption="of all.", alt="Most on the diagonal.")
        for name in ("confusion", "speakers")
    ]
    write_notes(exp / "analysis", notes)
    (exp / "analysis" / "confusion.png").write_bytes(b"")

    text = report(out=exp.parent / "RESULTS.md")

    assert "![Most on the diagonal.](exp/analysis/confusion.png)\n\nMean confusion: of all." in text
    assert "speakers.png" not in text


def test_a_part_of_the_folds_is_called_partial(report: Callable[..., str]) -> None:
    text = report("--folds", "fold-01 fold-03")

    assert "**Partial:** without fold-02 of the protocol." in text


def test_all_folds_are_not_called_partial(report: Callable[..., str]) -> None:
    assert "Partial" not in report()


def test_differences_and_verdicts_are_written(
    report: Callable[..., str], add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        for seed in (1, 2):
            add_member("baseline-96", fold, seed, wrong=2)

    text = report()

    row = row_of(text[text.index("against baseline-96, by UAR") :], "mp-2")
    assert row[:4] == ["mp-2", "+0.125", "-", "3 of 3"]
    assert row[-1] == "cannot be shown by 3 folds (corrected p at least 0.250)"
    assert "- layer 2 beats the baseline in all variants: cannot be shown" in text
    assert re.search(
        r"  - mp-2 is above baseline-96 by \d+\.\d% \(\+0\.125 UAR\): cannot be shown by 3 folds"
        r" \(corrected p at least 0\.250\)",
        text,
    )


def test_scores_over_all_utterances_are_written_by_every_metric(report: Callable[..., str]) -> None:
    text = report()

    pooled = text[text.index("pooled weighted F1") :]
    assert row_of(pooled, "mp-2")[1].startswith("0.833")  # 15 of 18


def test_predictions_of_another_toolkit_are_named(
    report: Callable[..., str], resolved: ResolvedProtocol, tmp_path: Path
) -> None:
    tested = [u for fold in resolved.folds.values() for u in fold.test]
    path = tmp_path / "svm.tsv"
    path.write_text("utt_id\tpredicted\n" + "".join(f"{u}\tanger\n" for u in tested))

    text = report("--predictions", f"svm={path}")

    assert "Predictions of other toolkits: svm." in text
    assert "seeds 1 2: 6 trainings" in text
    assert "| svm |" not in text[text.index("Cost of training") :]


def test_same_experiment_gives_the_same_bytes(report: Callable[..., str]) -> None:
    assert report() == report()
