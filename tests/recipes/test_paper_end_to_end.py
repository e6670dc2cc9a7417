"""The paper's two recipes from end to end, training included, on small trees in the layouts of its four corpora."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sertoolkit.config import load_yaml
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import read_protocol
from sertoolkit.storage.ark import ArkReader

EGS = Path(__file__).resolve().parents[2] / "egs"
SETS = {"test_clean": 1, "test_other": 1, "test_tedlium": 3, "test_voxforge": 2}  # utterances
SYSTEMS = [f"{head}-{n}" for head, ns in {"baseline": (64, 96, 128), "mp": (1, 2, 3), "rnn": (1, 2, 3),
                                          "progressive": (1, 2, 3)}.items() for n in ns]  # fmt: skip
BEYOND = ["words-2", "unfreeze-2", "joint-2"]
FOLDS = ("fold-01", "fold-02")  # of ten: one session
FIGURES = ("confusion", "genders", "layers", "neurons", "projection", "speakers")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run(new_line, layouts, corpora: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs a recipe in a folder of its own below ``run.folder``, which has the corpora too; its output."""
    line = new_line()
    tree = tmp_path_factory.mktemp("corpora")
    for make in (layouts.librispeech, layouts.tedlium, layouts.voxforge, layouts.iemocap_small):
        make(tree, corpora)

    def run(recipe: str, **options: object) -> str:
        work = line.folder / Path(recipe).name
        given = (
            {f"{name}dir": work / name for name in ("data", "dump", "exp")}
            | {"corpus_dir": tree, "nj": 1}
            | options
        )
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return line.call([str(EGS / recipe / "run.sh"), *words])

    run.folder, run.call = line.folder, line.call
    return run


@pytest.fixture(scope="module")
def recognised(run) -> str:
    """Output of the recognition recipe."""
    return run(
        "librispeech_tedlium_voxforge/asr",
        local_data_opts="--librispeech_train train-clean-100",
        asr_args="encoder_conf.conv_channels=2 encoder_conf.hidden_size=16 encoder_conf.num_layers=3"
        " training.batch_size=8 training.max_epochs=2",
    )


@pytest.fixture(scope="module")
def emotions(run, recognised) -> str:
    """Output of the emotion recipe on that recogniser."""
    narrow = [f"systems.{name}.head_conf.units=4" for name in SYSTEMS if not name.startswith("mp")]
    return run(
        "iemocap/ser",
        asr_exp=run.folder / "asr/exp/asr",
        extract_args="--copies 2",
        ser_args=" ".join([*narrow, "training.max_epochs=1"]),
        systems=" ".join([*BEYOND, *SYSTEMS]),
        folds=" ".join(FOLDS),
        seeds="1",
    )


def rows_of(report: str, first: str) -> list[list[str]]:
    """Cells of the first table whose header starts so, below the header."""
    lines = report[report.index(f"\n| {first} |") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_recogniser_is_trained_on_audio_of_three_corpora_and_tested_on_each(run, recognised) -> None:
    assert recognised.count(": done in") == 8  # seven stages, and all of it
    exp = run.folder / "asr/exp/asr"
    costs = load_yaml(exp / "training.yaml")
    assert (costs["num_utts"], costs["num_workers"]) == (23, 1)
    assert costs["peak_memory_mib"].keys() == {"process", "worker"}
    assert not (run.folder / "asr/dump/power_spectrogram/train").exists()
    assert len((exp / "train.jsonl").read_text().splitlines()) == 2
    rows = rows_of((exp / "variant/RESULTS.md").read_text(), "set")
    assert [row[0] for row in rows] == list(SETS)
    for name, num_utts, num_words, cer, wer, *_ in rows:
        data = DataDir.read(run.folder / "asr/data" / name)
        scores = json.loads((exp / f"variant/decode_{name}/scores.json").read_text())
        assert int(num_utts) == scores["num_utts"] == len(data.utt_ids) == SETS[name]
        assert int(num_words) == sum(len(text.split()) for text in data.text.values())
        assert (cer, wer) == (f"{100 * scores['cer']:.1f}", f"{100 * scores['wer']:.1f}")
    assert f"{exp.relative_to(run.folder)}/variant/RESULTS.md" in recognised


def test_twelve_systems_and_those_beyond_are_trained_and_tested_under_the_papers_protocol(
    run, emotions
) -> None:
    assert emotions.count(": done in") == 10
    resolved = read_protocol(run.folder / "ser/exp/ser/protocol")
    assert resolved.counts["kept"] == {"anger": 20, "happiness": 20, "neutral": 20, "sadness": 20}
    assert resolved.counts["dropped"] == {"fru": 10}
    assert [fold.speakers_of("test") for fold in resolved.folds.values()] == [
        [f"Ses0{session}{letter}"] for session in range(1, 6) for letter in "FM"
    ]
    tested = sorted(utt_id for name in FOLDS for utt_id in resolved.folds[name].test)
    assert len(tested) == len(set(tested)) == 16
    for system in [*SYSTEMS, *BEYOND]:
        files = sorted((run.folder / f"ser/exp/ser/{system}").glob("fold-*/seed-1/predictions.test.tsv"))
        ids = [row.split("\t")[0] for path in files for row in path.read_text().splitlines()[1:]]
        assert len(files) == len(FOLDS) and sorted(ids) == tested
    rows = (run.folder / "ser/exp/ser/variant/table.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == ["most-frequent", "random", *BEYOND, *SYSTEMS]


def test_turns_without_words_learn_emotion_alone_in_the_joint_system(run, emotions) -> None:
    text = DataDir.read(run.folder / "ser/data/all").text
    resolved = read_protocol(run.folder / "ser/exp/ser/protocol")
    kept = {utt_id for fold in resolved.folds.values() for utt_id in fold.truth}
    wordless = [utt_id for utt_id in kept if text[utt_id].startswith("[")]
    assert wordless
    assert f"{2 * len(wordless)} of 160 utterances, copies included, learn emotion alone" in emotions
    report = (run.folder / "ser/exp/ser/variant/RESULTS.md").read_text()
    assert "Recognition before and after joint training" in report


def test_each_utterance_is_stored_plain_and_as_a_copy_in_both_branches(run, emotions) -> None:
    data = DataDir.read(run.folder / "ser/data/all")
    expected = {name for utt_id in data.utt_ids for name in (utt_id, f"{utt_id}-aug1")}
    for store in ("mfcc_pitch", "power_spectrogram"):
        assert set(ArkReader(run.folder / f"ser/dump/{store}/all")) == expected


def test_the_report_has_table_audit_and_all_figures_in_one_file(run, emotions) -> None:
    summary = run.folder / "ser/exp/ser/variant"
    report = (summary / "RESULTS.md").read_text()
    assert report.startswith("# IEMOCAP, four classes\n")
    assert [row[0] for row in rows_of(report, "system")] == ["most-frequent", "random", *BEYOND, *SYSTEMS]
    assert "**Partial:** without fold-03, " in report
    assert "Kept 80 of 90 utterances" in report and "no speaker and no utterance is in two of" in report
    assert "egs/iemocap/ser/run.sh" in report and "--corpus_dir CORPUS_DIR" in report
    figures = re.findall(r"^!\[.+\]\((.+)\)$", report, re.MULTILINE)
    assert sorted(figures) == [f"analysis/{name}.png" for name in FIGURES]
    assert all((summary / path).read_bytes().startswith(b"\x89PNG") for path in figures)
    page = (summary / "report.html").read_text()
    links = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert sum(link.startswith("data:image/png") for link in links) == len(FIGURES)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert all(f">{system}<" in page for system in [*SYSTEMS, *BEYOND])


def test_the_packed_model_alone_predicts_a_recording(run, emotions, tmp_path: Path) -> None:
    shutil.copy(run.folder / "ser/exp/ser/variant/ser.safetensors", tmp_path)
    data = DataDir.read(run.folder / "ser/data/all")
    wavs = [data.wav[utt_id] for utt_id in data.utt_ids[:2]]
    output = run.call(["sertoolkit", "predict", "--model", str(tmp_path / "ser.safetensors"), *wavs])
    header, *rows = (row.split("\t") for row in output.splitlines() if "\t" in row)
    assert header == ["audio", "predicted", "anger", "happiness", "neutral", "sadness"]
    assert [row[0] for row in rows] == wavs
    assert np.array([row[2:] for row in rows], dtype=float).sum(1) == pytest.approx(1, abs=1e-3)
