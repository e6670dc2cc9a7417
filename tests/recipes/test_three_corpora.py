"""LibriSpeech, TED-LIUM and VoxForge together: what goes into which set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.errors import DataError

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs" / "librispeech_tedlium_voxforge" / "asr"
SCRIPT = "librispeech_tedlium_voxforge/asr/local/sets"


def make_part(*speakers: str, duration: float = 2.0, with_segments: bool = False) -> DataDir:
    ids = [f"{speaker}-{number}" for speaker in speakers for number in range(2)]
    return DataDir(
        wav={utt_id: f"{utt_id}.wav" for utt_id in ids},
        utt2spk={utt_id: utt_id[:-2] for utt_id in ids},
        text={utt_id: f"SENTENCE {utt_id}" for utt_id in ids},
        utt2dur=dict.fromkeys(ids, duration),
        segments={utt_id: (utt_id, 1.0, 1 + duration) for utt_id in ids} if with_segments else {},
    )


def make_local(**tedlium: DataDir) -> dict[str, dict[str, DataDir]]:
    libri = ("train-clean-100", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other")
    ted = {"train": ("Ann", "Bob", "Cleo"), "dev": ("Dan",), "test": ("Cleo",)}
    return {
        "librispeech": {part: make_part(f"libri_{number}") for number, part in enumerate(libri)},
        "tedlium": {
            part: make_part(*(f"tedlium_{name}" for name in names), with_segments=True) for part, names in ted.items()
        }
        | tedlium,
        "voxforge": {
            "all": make_part("voxforge_bdl", "voxforge_slt", "voxforge_tom_r", "voxforge_anonymous_2010-a")
        },
    }  # fmt: skip


def test_speakers_are_never_shared(local_script):
    sets = local_script(SCRIPT).make_sets(make_local(), max_dur=15)
    assert {name: sorted(data.spk2utt) for name, data in sets.items() if name != "train"} == {
        "valid": ["libri_2", "libri_3", "tedlium_Dan", "voxforge_slt"],
        "valid_librispeech": ["libri_2", "libri_3"],
        "valid_tedlium": ["tedlium_Dan"],
        "valid_voxforge": ["voxforge_slt"],
        "test_clean": ["libri_4"],
        "test_other": ["libri_5"],
        "test_tedlium": ["tedlium_Cleo"],
        "test_voxforge": ["voxforge_tom_r"],
    }
    assert sorted(sets["train"].spk2utt) == [
        "libri_0", "libri_1", "tedlium_Ann", "tedlium_Bob", "voxforge_anonymous_2010-a", "voxforge_bdl",
    ]  # fmt: skip


def test_whole_files_and_segments_are_joined_as_segments(local_script):
    train = local_script(SCRIPT).make_sets(make_local(), max_dur=15)["train"]
    assert train.segments["libri_0-0"] == ("libri_0-0", 0.0, 2.0)
    assert train.segments["tedlium_Ann-1"] == ("tedlium_Ann-1", 1.0, 3.0)


def test_long_utterances_are_left_out_of_train_alone(local_script):
    local = make_local(train=make_part("tedlium_Ann", duration=15.01, with_segments=True))
    local["librispeech"]["dev-clean"] = make_part("libri_2", duration=30)
    sets = local_script(SCRIPT).make_sets(local, max_dur=15)
    assert "tedlium_Ann" not in sets["train"].spk2utt
    assert len(sets["valid_librispeech"].utt_ids) == 4


def test_reader_of_two_kinds_of_sets_is_an_error(local_script):
    local = make_local()
    local["librispeech"]["test-clean"] = make_part("libri_0")
    with pytest.raises(DataError, match="speaker libri_0: in test and train"):
        local_script(SCRIPT).make_sets(local, max_dur=15)


def test_missing_parts_and_empty_sets_are_named(local_script):
    local = make_local()
    del local["librispeech"]["dev-other"]
    del local["tedlium"]["dev"]
    with pytest.raises(DataError, match=r"librispeech: no data dir dev-other(.|\n)*tedlium: no data dir dev"):
        local_script(SCRIPT).make_sets(local, max_dur=15)
    local = {"voxforge": {"all": make_part("voxforge_bdl", "voxforge_slt")}}
    with pytest.raises(DataError, match="test_voxforge: no utterance; is its corpus complete"):
        local_script(SCRIPT).make_sets(local, max_dur=15)
    del local["voxforge"]
    local["librispeech"] = {
        name: data for name, data in make_local()["librispeech"].items() if not name.startswith("train")
    }
    with pytest.raises(DataError, match="train: no utterance"):
        local_script(SCRIPT).make_sets(local, max_dur=15)
    with pytest.raises(DataError, match="'timit': expected librispeech, tedlium, voxforge"):
        local_script(SCRIPT).make_sets({"timit": {}}, max_dur=15)


def test_a_twentieth_of_the_named_speakers_is_held_out_twice(local_script):
    voxforge_set = local_script(SCRIPT).voxforge_set
    found = [voxforge_set(f"voxforge_name{number}") for number in range(4000)]
    assert 150 < found.count("valid") < 250
    assert 150 < found.count("test") < 250
    assert voxforge_set("voxforge_anonymous_20100101-abc") == "train"


@pytest.fixture(scope="module")
def trees(layouts, corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the three corpora, small, in their original layouts."""
    root = tmp_path_factory.mktemp("corpora")
    for make in (layouts.librispeech, layouts.tedlium, layouts.voxforge):
        make(root, corpora)
    return root


def run(script: str, *options: object, tmp_path: Path) -> str:
    toolkit = tmp_path / "bin"
    toolkit.mkdir()
    for name, words in {"sertoolkit": "-m sertoolkit", "python": ""}.items():
        (toolkit / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (toolkit / name).chmod(0o755)
    environment = os.environ | {
        "SERTOOLKIT_BIN": str(toolkit),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", str(RECIPE / script), *map(str, options)],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_original_layouts_become_sets_and_features(trees, tmp_path):
    folders = [word for name in ("data", "dump", "exp") for word in (f"--{name}dir", tmp_path / name)]
    small = ["--local_data_opts", "--librispeech_train train-clean-100"]
    output = run(
        "run.sh", "--corpus_dir", trees, *folders, *small, "--stage", 0, "--stop_stage", 1, tmp_path=tmp_path
    )
    sets = {path.parent.name: DataDir.read(path.parent) for path in (tmp_path / "data").glob("*/utt2spk")}
    assert {name: (len(data.utt_ids), len(data.spk2utt)) for name, data in sets.items()} == {
        "train": (23, 6),
        "valid": (9, 4),
        "valid_librispeech": (3, 2),
        "valid_tedlium": (3, 1),
        "valid_voxforge": (3, 1),
        "test_clean": (1, 1),
        "test_other": (1, 1),
        "test_tedlium": (3, 1),
        "test_voxforge": (2, 1),
    }
    assert "train: kept 23 of 24 utterances, 1 longer than 15 s" in output
    assert "TED-LIUM: kept 10 of 13 utterances of train, 3 of people who speak in dev or test" in output
    assert "VoxForge: kept 15 of 20 utterances, 1 below 16 kHz, 1 damaged" in output
    train = sets["train"].text
    assert train["libri_1089-134691-0000"] == "HE COULD WAIT NO LONGER"
    assert train["tedlium_AdaWong-2008-00010150-00012050"] == "IN BEING COMPARATIVELY MODERN IT'S THE BOYS"
    stored = {path.parent.name for path in (tmp_path / "dump" / "power_spectrogram").glob("*/meta.yaml")}
    assert stored == set(sets) - {
        "train",
        "valid_librispeech",
        "valid_tedlium",
        "valid_voxforge",
    }  # on the fly


def test_one_corpus_alone_makes_its_own_sets(trees, tmp_path):
    options = ("--corpus_dir", trees, "--datadir", tmp_path / "data", "--corpora", "voxforge")
    output = run("local/data.sh", *options, tmp_path=tmp_path)
    assert {path.parent.name for path in (tmp_path / "data").glob("*/utt2spk")} == {
        "train", "valid", "valid_voxforge", "test_voxforge",
    }  # fmt: skip
    assert "set\tutterances\thours\tspeakers\tsentences\tin_train\n" in output
