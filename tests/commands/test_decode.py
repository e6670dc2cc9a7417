"""The command `decode` with a recogniser of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.cli import main
from sertoolkit.config import load_yaml
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.text.tokens import make_tokens

NUM_FRAMES = {"b-1": 40, "a-1": 80, "a-2": 30}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Command line of a greedy decoding, on a random recogniser and random features."""
    torch.manual_seed(1)
    frontend = {"frontend": "power_spectrogram", "frontend_conf": {"normalise": True}}
    recogniser = Recogniser.build(
        encoder="ds2",
        encoder_conf={"conv_channels": 2, "num_layers": 1, "hidden_size": 8},
        tokens=make_tokens(["AB BA"]),
        **frontend,
    )
    recogniser.save(tmp_path / "asr.safetensors")
    generator = np.random.default_rng(1)
    with ArkWriter(tmp_path / "feats", {**frontend, "frame_shift": 0.01}) as writer:
        for utt_id, count in NUM_FRAMES.items():
            writer.write(utt_id, generator.normal(size=(count, 161)).astype(np.float32))
    paths = {"asr_exp": "asr.safetensors", "feats": "feats", "out": "out"}
    return ["decode", *(word for name, path in paths.items() for word in (f"--{name}", str(tmp_path / path)))]


def test_transcripts_are_written_with_the_real_time_factor(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0

    lines = (tmp_path / "out" / "text").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["a-1", "a-2", "b-1"]
    told = load_yaml(tmp_path / "out" / "decode.yaml")
    assert told["search"] == "greedy" and told["num_utts"] == 3
    assert told["audio_seconds"] == pytest.approx(1.5)
    assert told["real_time_factor"] > 0
    assert "3 utterances, 1.5 s of audio in" in capsys.readouterr().out


def test_a_beam_search_tells_its_settings(words: list[str], tmp_path: Path) -> None:
    assert main([*words, "--beam", "4"]) == 0

    told = load_yaml(tmp_path / "out" / "decode.yaml")
    assert (told["search"], told["beam"]) == ("beam", 4)
    assert "lm" not in told


def test_a_language_model_of_other_spelling_is_warned_of(
    words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("kenlm")
    head = "\\data\\\nngram 1=4\nngram 2=1\n"
    unigrams = "\n\\1-grams:\n-1\t<unk>\n0\t<s>\t0\n-1\t</s>\n-1\tab\t0\n"
    (tmp_path / "words.arpa").write_text(head + unigrams + "\n\\2-grams:\n-1\t<s> ab\n\n\\end\\\n")

    assert main([*words, "--beam", "4", "--lm", str(tmp_path / "words.arpa"), "--word_bonus", "9"]) == 0
    told = load_yaml(tmp_path / "out" / "decode.yaml")
    assert (told["lm_weight"], told["word_bonus"], told["lm_known_words"]) == (0.5, 9.0, 0.0)
    assert "holds 0 % of the words heard; is it spelt as the transcripts are" in caplog.text


def test_options_without_what_they_belong_to_are_all_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--lm", "words.arpa", "--word_bonus", "1"]) == 2
    assert "--lm is set but --beam is not" in capsys.readouterr().err

    assert main([*words, "--lm_weight", "1", "--word_bonus", "1"]) == 2
    told = capsys.readouterr().err
    assert "--lm_weight is set but --lm is not" in told and "--word_bonus is set but --lm is not" in told
