"""A tree of IEMOCAP's full size, 10,039 turns with the label counts of the real corpus, through stages 0 and 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import load_protocol, read_protocol, resolve

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs" / "iemocap" / "ser"
PROTOCOLS = ROOT / "conf" / "protocols"


@pytest.fixture(scope="module")
def tree(layouts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder IEMOCAP_full_release."""
    return layouts.iemocap(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture(scope="module")
def work(tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with data and exp, as stages 0 and 1 of run.sh make them."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "bin").mkdir()
    for name, words in {"sertoolkit": "-m sertoolkit", "python": ""}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    folders = [word for name in ("data", "dump", "exp") for word in (f"--{name}dir", str(folder / name))]
    done = subprocess.run(
        [str(RECIPE / "run.sh"), "--corpus_dir", str(tree.parent), *folders, "--stage", "0", "--stop_stage", "1"],
        env=os.environ | {"SERTOOLKIT_BIN": str(folder / "bin"), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, cwd=folder, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def data(work: Path) -> DataDir:
    return DataDir.read(work / "data" / "all")


def test_all_turns_have_the_released_labels(data, layouts):
    assert len(data.utt_ids) == 10039
    assert Counter(data.utt2emo.values()) == layouts.LABELS
    assert Counter(data.utt2ses.values()) == layouts.SESSIONS


def test_speaker_is_the_letter_of_the_last_field_and_not_who_wore_the_markers(data, layouts):
    assert data.spk2gender == {speaker: speaker[-1].lower() for speaker in layouts.SPEAKERS}
    wearers = {(utt_id.split("-")[1][5], speaker[-1]) for utt_id, speaker in data.utt2spk.items()}
    assert wearers == {("F", "F"), ("F", "M"), ("M", "F"), ("M", "M")}
    assert any(utt_id.startswith("Ses05F-Ses05M_script01_1b_F") for utt_id in data.utt_ids)


def test_every_turn_has_text_evaluators_and_attributes(data):
    utt_id = next(u for u in data.utt_ids if data.utt2emo[u] == "hap")
    raters = {"C-E2": "hap", "C-E3": "hap", "C-E4": "hap", f"C-{utt_id[5]}1": "hap"}
    assert data.utt2raters[utt_id] == " ".join(f"{rater}:{label}" for rater, label in raters.items())
    assert all(len(ratings.split()) == 4 for ratings in data.utt2raters.values())
    events = {utt_id for utt_id, text in data.text.items() if text == "[LAUGHTER]"}
    assert events == {utt_id for utt_id in data.utt_ids if int(utt_id[-3:]) % 10 == 9}
    texts = [text for utt_id, text in data.text.items() if utt_id not in events]
    assert all(text.startswith("TURN ") and text.endswith(" OF IT ISN'T IT") for text in texts)
    assert {name: set(values.values()) for name, values in data.extra.items()} == {
        "utt2valence": {"2.5000"},
        "utt2activation": {"3.5000"},
        "utt2dominance": {"2.0000"},
    }


def test_every_label_of_an_evaluator_who_gives_several_is_kept(data):
    labels = [
        [label for rating in ratings.split() if rating.startswith("C-E") for label in rating[5:].split(",")]
        for ratings in data.utt2raters.values()
    ]
    assert sum(len(given) > 3 for given in labels) == 2890  # as in the real corpus


def test_consensus_gives_the_published_folds(work, layouts):
    resolved = read_protocol(work / "exp" / "ser" / "protocol")
    assert resolved.counts["kept"] == {"anger": 1103, "happiness": 1636, "neutral": 1708, "sadness": 1084}
    tested = {fold.speakers_of("test")[0]: len(fold.test) for fold in resolved.folds.values()}
    assert tested == layouts.SPEAKERS
    for fold in resolved.folds.values():
        (test,), (valid,) = fold.speakers_of("test"), fold.speakers_of("valid")
        assert test[:5] == valid[:5]
        assert len(fold.speakers_of("train")) == 8


def test_majority_merges_excitement_before_the_vote(data):
    counts = resolve(load_protocol(PROTOCOLS / "iemocap4-majority.yaml"), data).counts
    assert counts["kept"] == {"anger": 1124, "happiness": 2410, "neutral": 1655, "sadness": 1071}
    # of 2,507 without consensus all but 795, and the ties of neutral and sad turns
    assert counts["dropped"]["no-majority"] == 2507 - 795 + 53 + 13


@pytest.mark.parametrize("label", ["consensus", "majority"])
def test_sessions_are_left_out_whole(data, label):
    whole = resolve(load_protocol(PROTOCOLS / f"iemocap4-{label}.yaml"), data)
    resolved = resolve(load_protocol(PROTOCOLS / f"iemocap4-{label}-session5.yaml"), data)
    assert resolved.counts["kept"] == whole.counts["kept"]
    sides = [
        [sorted({speaker[:5] for speaker in fold.speakers_of(name)}) for name in ("test", "valid", "train")]
        for fold in resolved.folds.values()
    ]
    assert sides[0] == [["Ses01"], ["Ses02"], ["Ses03", "Ses04", "Ses05"]]
    assert [test for test, _, _ in sides] == [[f"Ses0{number}"] for number in range(1, 6)]
    assert all(len(fold.speakers_of("test")) == 2 for fold in resolved.folds.values())


def test_download_says_how_to_get_the_corpus(tmp_path):
    command = ["bash", str(RECIPE / "local" / "download.sh"), "--corpus_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "sail.usc.edu/iemocap" in done.stderr
    (tmp_path / "IEMOCAP_full_release" / "Session1").mkdir(parents=True)
    assert subprocess.run(command, capture_output=True, timeout=30).returncode == 0
