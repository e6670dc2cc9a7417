import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sertoolkit.errors import ConfigError, DataError

pytest.importorskip("espeakng_loader")
ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "egs" / "mini" / "local"
READ_SPEECH = (
    "--minutes",
    "0.2",
    "--held_out_minutes",
    "0.05",
    "--num_voices",
    "8",
    "--held_out_voices",
    "1",
)
ACTED_SPEECH = ("--utterances", "60")


def make(script, out, *options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(LOCAL / script), "--out", str(out), *options]
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
    return out


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def read_speech(tmp_path_factory):
    return make("read_speech.py", tmp_path_factory.mktemp("read") / "out", *READ_SPEECH, "--nj", "1")


@pytest.fixture(scope="module")
def acted_speech(tmp_path_factory):
    return make("acted_speech.py", tmp_path_factory.mktemp("acted") / "out", *ACTED_SPEECH, "--nj", "1")


def plan(script, **changes):
    settings = {
        "minutes": 2.0,
        "held_out_minutes": 0.5,
        "num_voices": 20,
        "num_held_out": 4,
        "seed": 1,
        "texts": [],
    }
    return script.plan(**settings | changes)


def test_read_speech_is_the_same_bytes_in_another_process_with_other_jobs(read_speech, tmp_path):
    again = make("read_speech.py", tmp_path / "again", *READ_SPEECH, "--nj", "3")
    assert digests(again) == digests(read_speech)


def test_acted_speech_is_the_same_bytes_in_another_process_with_other_jobs(acted_speech, tmp_path):
    again = make("acted_speech.py", tmp_path / "again", *ACTED_SPEECH, "--nj", "3")
    assert digests(again) == digests(acted_speech)


def test_preparation_of_librispeech_reads_read_speech(local_script, read_speech, tmp_path):
    script = local_script("librispeech_tedlium_voxforge/asr/local/librispeech")
    corpus = read_speech / "LibriSpeech"
    parts = script.list_parts(corpus)
    assert parts == ["dev-mini", "test-mini", "train-mini"]
    data = script.prepare(corpus, "train-mini", prefix="espeak_")
    data.write(tmp_path / "train")
    assert set(data.spk2gender.values()) == {"f", "m"}
    assert len(set(data.utt2spk.values())) == 6


def test_preparation_of_iemocap_reads_acted_speech(local_script, acted_speech, tmp_path):
    data = local_script("iemocap/ser/local/iemocap").prepare(acted_speech / "IEMOCAP_full_release")
    data.write(tmp_path / "all")
    assert len(data.wav) == 60
    assert len(data.spk2gender) == 10
    consensus = local_script("mini/local/acted_speech").consensus
    for utt_id, raters in data.utt2raters.items():
        labels = {
            r.split(":")[0].removeprefix("C-"): tuple(r.split(":")[1].split(",")) for r in raters.split()
        }
        assert data.utt2emo[utt_id] == consensus(labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"E1": ("neu",), "E2": ("ang",), "E3": ("sad",)}, "xxx"),
        ({"E1": ("neu",), "E2": ("neu",), "E3": ("sad",)}, "neu"),
        (
            {"E1": ("neu",), "E2": ("sad",), "E3": ("hap",), "F1": ("neu",)},
            "xxx",
        ),  # self-evaluation does not count
        ({"E1": ("ang", "fru"), "E2": ("fru",), "E3": ("ang",)}, "xxx"),
        ({"E1": ("ang", "fru"), "E2": ("ang",), "E3": ("sad",)}, "ang"),
    ],
)
def test_consensus_needs_two_evaluators_and_no_tie(local_script, labels, expected):
    assert local_script("mini/local/acted_speech").consensus(labels) == expected


def test_no_voice_and_no_sentence_is_in_two_parts(local_script):
    parts = plan(local_script("mini/local/read_speech")).values()
    for values in ([{r.voice for r in part} for part in parts], [{r.text for r in part} for part in parts]):
        assert sum(map(len, values)) == len(set().union(*values))


def test_given_texts_are_read_in_train_only(local_script):
    texts = [f"given text {word}" for word in ("one", "two", "three")]
    parts = plan(local_script("mini/local/read_speech"), texts=texts)
    read = {part: {request.text for request in requests} & set(texts) for part, requests in parts.items()}
    assert read == {"train-mini": set(texts), "dev-mini": set(), "test-mini": set()}


def test_another_seed_is_another_corpus(local_script):
    script = local_script("mini/local/read_speech")
    first, second = (plan(script, seed=seed)["train-mini"] for seed in (1, 2))
    assert {r.text for r in first} != {r.text for r in second}


@pytest.mark.parametrize("number", [0, 8, 197])
def test_number_of_voices_that_cannot_be_is_refused(local_script, number):
    with pytest.raises(ConfigError, match=f"--num_voices {number}"):
        plan(local_script("mini/local/read_speech"), num_voices=number)


@pytest.mark.parametrize(("accent", "variant"), [("en-gb", "f1"), ("en-us", "f9"), ("en-us", "andy")])
def test_unknown_voice_is_refused(local_script, accent, variant):
    with pytest.raises(DataError, match=r"unknown (accent|variant)"):
        local_script("mini/local/espeak").Voice(accent=accent, variant=variant)


def test_every_variant_is_one_of_the_library(local_script):
    import espeakng_loader

    files = set(os.listdir(Path(espeakng_loader.get_data_path()) / "voices" / "!v"))
    variants = [name for names in local_script("mini/local/espeak").VARIANTS.values() for name in names]
    assert set(variants) <= files
    assert len(variants) == len(set(variants))


def test_acted_corpus_has_every_class_of_every_speaker(local_script):
    script = local_script("mini/local/acted_speech")
    counts = Counter()
    for turns in script.plan(num_utterances=480, seed=1).values():
        for turn in turns:
            label = script.consensus(turn.labels).replace("exc", "hap")
            counts[turn.name.split("_")[0][:5], turn.name.split("_")[-1][0], label] += 1
    for session in range(1, 6):
        for gender in "FM":
            for label in ("ang", "hap", "neu", "sad"):
                assert counts[f"Ses{session:02d}", gender, label] >= 2


def test_scripted_lines_are_the_same_in_all_sessions(local_script):
    sessions = local_script("mini/local/acted_speech").plan(num_utterances=300, seed=1)
    lines = [[turn.text for turn in turns if "script" in turn.name] for turns in sessions.values()]
    assert lines[0]
    assert all(other == lines[0] for other in lines)


def test_less_than_a_dialog_a_session_is_refused(local_script):
    with pytest.raises(ConfigError, match="at least 60"):
        local_script("mini/local/acted_speech").plan(num_utterances=59, seed=1)
