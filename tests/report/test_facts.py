"""What both reports tell, by the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.report.facts import collect_facts
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members


def facts_of(exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol):
    for fold in resolved.folds:
        add_member("mp-2", fold, 1, wrong=1)
    members = read_members(exp, resolved)
    return collect_facts(
        exp, resolved, members, score_members(members, resolved), title="Title", command="./run.sh"
    )


def test_what_was_taken_out_of_the_data_dir_is_told(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    resolved.counts["left_out"] = "3 (too short 3; of speakers s0 3)"

    texts = facts_of(exp, add_member, resolved).protocol

    assert (
        "Kept 18 of 18 utterances: anger 12, sadness 6. Dropped for their label: none."
        " Left out of the data before these were counted: 3 (too short 3; of speakers s0 3)."
    ) in texts


def test_protocols_that_do_not_say_what_was_taken_out_say_nothing_of_it(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    resolved.counts.pop("left_out", None)

    assert "Left out" not in " ".join(facts_of(exp, add_member, resolved).protocol)


def test_both_reports_tell_every_text_and_table(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    facts = facts_of(exp, add_member, resolved)
    out, html = exp / "RESULTS.md", exp / "report.html"
    options = ["--exp", exp, "--protocol_dir", exp / "protocol", "--out", out, "--html", html]
    assert main(["report", *map(str, options), "--title", "Title", "--command", "./run.sh"]) == 0

    tables = (facts.scores, facts.means, facts.pooled, facts.folds, facts.costs, facts.environment)
    told = [facts.summary, facts.time, facts.hashes, facts.command, *facts.protocol]
    told += [table.caption for table in tables]
    told += [cell for table in tables for row in (table.header, *table.rows) for cell in row]
    for path in (out, html):
        text = path.read_text().replace("&#39;", "'").replace("&lt;", "<")
        assert [part for part in told if part not in text] == []


def test_players_are_made_of_a_data_dir_that_is_named(
    exp: Path,
    add_member: Callable[..., Path],
    resolved: ResolvedProtocol,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for fold in resolved.folds:
        add_member("mp-2", fold, 1, wrong=1)
    speakers = resolved.folds["fold-01"].speakers
    DataDir(wav=dict.fromkeys(speakers, "/corpus/a.wav"), utt2spk=dict(speakers)).write(tmp_path / "data")
    chosen = ["--exp", str(exp), "--protocol_dir", str(exp / "protocol")]
    assert main(["analyse", *chosen]) == 0
    html = exp / "report.html"
    report = ["report", *chosen, "--out", str(exp / "RESULTS.md")]

    assert main([*report, "--html", str(html)]) == 0
    assert "a.wav" not in html.read_text()
    assert main([*report, "--html", str(html), "--data_dir", str(tmp_path / "data")]) == 0
    assert "a.wav" not in html.read_text()
    assert main([*report, "--html", str(html), "--data_dir", str(tmp_path / "data"), "--players"]) == 0
    assert "corpus/a.wav" in html.read_text()
    assert main([*report, "--data_dir", str(tmp_path / "data"), "--players"]) == 2
    assert "give --html" in capsys.readouterr().err
    assert main([*report, "--html", str(html), "--players"]) == 2
    assert "give --data_dir" in capsys.readouterr().err


def test_an_experiment_must_be_named(exp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--protocol_dir", str(exp / "protocol"), "--predictions", "svm=svm.tsv", "--out", "R.md"]

    assert main(["report", *options]) == 2

    assert "--exp" in capsys.readouterr().err
