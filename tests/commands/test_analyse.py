"""``sertoolkit analyse`` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members
from sertoolkit.storage.atomic import write_yaml


@pytest.fixture
def analyse(exp: Path, add_member: Callable[..., Path]) -> Callable[..., int]:
    """Three folds and two runs of two systems; runs the command."""
    for system in ("baseline-96", "mp-2"):
        for fold in ("fold-01", "fold-02", "fold-03"):
            for seed in (1, 2):
                add_member(system, fold, seed, wrong=seed)
    heads = {"baseline-96": ("baseline", []), "mp-2": ("mean_pool", [2])}
    systems = {name: {"head": head, "layers": layers} for name, (head, layers) in heads.items()}
    write_yaml(exp / "config.yaml", {"systems": systems})

    def run(*options: str) -> int:
        return main(["analyse", "--exp", str(exp), "--protocol_dir", str(exp / "protocol"), *options])

    return run


def files(exp: Path) -> set[str]:
    return {path.name for path in (exp / "analysis").iterdir()}


def test_what_lacks_an_option_is_named(
    analyse: Callable[..., int], exp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse() == 0

    out = capsys.readouterr().out
    assert "baseline-96, mp-2" in out
    assert "projection: left out, needs --layers" in out
    assert "neurons: left out, needs --data_dir and --asr_exp" in out
    assert "genders: left out" in out
    made = {"confusion", "layers", "speakers"}
    expected = {f"{name}.{kind}" for name in made for kind in ("png", "tsv")}
    assert files(exp) == expected | {"mistakes.tsv", "figures.json"}


def test_data_dir_adds_genders_and_names_no_recording(
    analyse: Callable[..., int], exp: Path, resolved: ResolvedProtocol, tmp_path: Path
) -> None:
    speakers = resolved.folds["fold-01"].speakers
    DataDir(
        wav=dict.fromkeys(speakers, "/corpus/a.wav"),
        utt2spk=dict(speakers),
        spk2gender={"s0": "f", "s1": "m", "s2": "m"},
    ).write(tmp_path / "data")

    assert analyse("--data_dir", str(tmp_path / "data")) == 0

    assert {"genders.png", "genders.tsv"} <= files(exp)
    assert not [path for path in (exp / "analysis").iterdir() if b"/corpus" in path.read_bytes()]


def test_every_figure_has_a_note_with_words_for_those_who_cannot_see_it(
    analyse: Callable[..., int], exp: Path
) -> None:
    analyse()

    notes = json.loads((exp / "analysis" / "figures.json").read_text())
    assert {note["file"] for note in notes} == {name for name in files(exp) if name.endswith(".png")}
    assert all(note["title"] and note["caption"] and note["alt"] for note in notes)


def test_old_results_do_not_stay(analyse: Callable[..., int], exp: Path) -> None:
    (exp / "analysis").mkdir()
    (exp / "analysis" / "neurons.png").write_bytes(b"old")

    analyse()

    assert "neurons.png" not in files(exp)


def test_analysed_folder_scores_as_before(
    analyse: Callable[..., int], exp: Path, resolved: ResolvedProtocol
) -> None:
    before = score_members(read_members(exp, resolved), resolved)

    analyse()

    assert score_members(read_members(exp, resolved), resolved) == before


def test_too_few_utterances_to_part_are_refused(
    analyse: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse("--num_utts", "3") == 2

    assert "expected at least 4" in capsys.readouterr().err
