import os
import subprocess
import sys
from pathlib import Path

import pytest

from sertoolkit.corpus.data_dir import DataDir

ROOT = Path(__file__).parents[2]


def data_sh(recipe, *options, cwd="/"):
    environment = os.environ | {"SERTOOLKIT_BIN": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT)}
    command = ["bash", str(ROOT / "egs" / recipe / "local" / "data.sh"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=60)


def test_mini_asr_makes_three_sets(tmp_path):
    pytest.importorskip("espeakng_loader")
    places = ("--corpus_dir", tmp_path / "corpus", "--datadir", tmp_path / "data")
    done = data_sh("mini/asr", *places, "--minutes", 1, "--num_voices", 10)
    assert done.returncode == 0, done.stderr
    sets = {name: DataDir.read(tmp_path / "data" / name) for name in ("train", "valid", "test")}
    assert [len(data.spk2utt) for data in sets.values()] == [2, 4, 4]
    assert all(Path(path).is_file() for data in sets.values() for path in data.wav.values())


def test_mini_ser_makes_one_labelled_set(tmp_path):
    pytest.importorskip("espeakng_loader")
    places = ("--corpus_dir", tmp_path / "corpus", "--datadir", tmp_path / "data")
    done = data_sh("mini/ser", *places, "--utterances", 60)
    assert done.returncode == 0, done.stderr
    data = DataDir.read(tmp_path / "data" / "all")
    assert len(data.utt2emo) == len(data.utt2raters) == len(data.utt2ses) == 60


def test_emodb_takes_the_corpus_or_the_folder_that_holds_it(tmp_path):
    (tmp_path / "corpora" / "EmoDB" / "wav").mkdir(parents=True)
    (tmp_path / "corpora" / "EmoDB" / "wav" / "03a01Fa.wav").touch()
    for corpus_dir in ("corpora", "corpora/EmoDB"):
        done = data_sh("emodb/ser", "--corpus_dir", corpus_dir, "--datadir", tmp_path / "data", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert DataDir.read(tmp_path / "data" / "all").utt2emo == {"emodb_03-03a01Fa": "happiness"}


@pytest.mark.parametrize(
    ("recipe", "count"), [("english_small/asr", 4), ("librispeech_tedlium_voxforge/asr", 2)]
)
def test_all_missing_corpora_are_named(tmp_path, recipe, count):
    (tmp_path / "LibriSpeech").mkdir()
    done = data_sh(recipe, "--corpus_dir", tmp_path, "--datadir", tmp_path / "data")
    assert done.returncode == 1
    assert done.stderr.count("no such folder") == count
    assert "LibriSpeech: no" not in done.stderr


def test_unknown_option_ends_with_2_and_makes_nothing(tmp_path):
    done = data_sh("mini/asr", "--datadir", tmp_path / "data", "--num_voice", 10)
    assert done.returncode == 2
    assert "--num_voices" in done.stderr
    assert not (tmp_path / "data").exists()
