"""RESULTS.md of a recogniser: rates of each set, how they were heard, and how the recogniser was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sertoolkit.cli import main
from sertoolkit.config import load_yaml
from sertoolkit.storage.atomic import write_yaml
from sertoolkit.storage.tensors import save_tensors

GREEDY = {"search": "greedy", "real_time_factor": 0.0123, "threads": 2, "processor": "A processor"}
BEAM = GREEDY | {"search": "beam", "beam": 16}
WORDS = {
    "lm": "/somewhere/words.arpa",
    "lm_sha256": "0123456789abcdef" * 4,
    "lm_weight": 0.5,
    "word_bonus": 1.0,
}


@pytest.fixture
def asr_exp(tmp_path: Path) -> Path:
    """A recogniser's folder, as training leaves it."""
    folder = tmp_path / "asr"
    meta = {"kind": "asr", "encoder": "ds2", "encoder_hash": "abcd", "num_parameters": 1234567}
    save_tensors(folder / "model.safetensors", {}, meta | {"best_epoch": 4, "epochs": 5, "valid_cer": 0.251})
    write_yaml(folder / "config.yaml", {"encoder": "ds2", "seed": 7})
    write_yaml(folder / "environment.yaml", {"commit": "0123abc", "torch": "2.0"})
    write_yaml(
        folder / "training.yaml",
        {
            **{"num_utts": 1500, "num_copies": 4500, "hours": 5.123, "seconds": 3723.4},
            **{"peak_memory_mib": {"process": 2100, "worker": 300}, "device": "A processor"},
            **{"num_processes": 1, "threads": 2, "num_workers": 3},
        },
    )
    return folder


def add_set(asr_exp: Path, name: str, decoding: dict, *, num_dropped: int = 0) -> Path:
    folder = asr_exp / f"decode_{name}"
    counts = {"reference": 2000, "hits": 1500, "substitutions": 400, "deletions": 100, "insertions": 30}
    scores = {"num_utts": 120, "cer": 0.1234, "wer": 0.265, "words": counts, "num_dropped": num_dropped}
    folder.mkdir()
    (folder / "scores.json").write_text(json.dumps(scores))
    write_yaml(folder / "decode.yaml", decoding)
    return folder


def report(asr_exp: Path, *decoded: Path, code: int = 0) -> str:
    out = asr_exp / "RESULTS.md"
    words = [
        "--asr_exp",
        asr_exp,
        "--out",
        out,
        "--title",
        "Mine",
        "--command",
        "./run.sh --nj 2",
        "--decoded",
    ]
    assert main(["report-asr", *map(str, [*words, *decoded])]) == code
    return out.read_text() if code == 0 else ""


def cells_of(text: str, first: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_test_set_has_a_row(asr_exp: Path) -> None:
    text = report(asr_exp, add_set(asr_exp, "test_b", GREEDY), add_set(asr_exp, "a", GREEDY))

    assert text.startswith("# Mine\n")
    assert text.index("| test_b |") < text.index("| a |")  # as named
    cells = dict(zip(cells_of(text, "set"), cells_of(text, "test_b"), strict=True))
    assert cells == {
        "set": "test_b", "utterances": "120", "words": "2,000", "CER %": "12.3", "WER %": "26.5",
        "substitutions": "400", "deletions": "100", "insertions": "30", "real-time factor": "0.0123",
    }  # fmt: skip
    assert text.count("Decoding: greedy, no language model.") == 1
    assert "2 threads, A processor" in text
    assert "taken out" not in text


def test_a_search_is_told_with_its_settings_and_no_path(asr_exp: Path) -> None:
    sets = [add_set(asr_exp, "a", BEAM), add_set(asr_exp, "b", BEAM | WORDS, num_dropped=3)]
    text = report(asr_exp, *sets)

    assert "- a: Decoding: prefix beam search, 16 prefixes, no language model." in text
    assert (
        "- b: Decoding: prefix beam search, 16 prefixes, language model words.arpa (sha256 0123456789abcdef),"
        in text
    )
    assert "weight 0.5, word bonus 1." in text
    assert "/somewhere" not in text
    assert "b: 3 utterances were taken out of the data dir and not scored" in text


def test_how_the_recogniser_was_made_is_told(asr_exp: Path) -> None:
    text = report(asr_exp, add_set(asr_exp, "a", GREEDY))

    for first, told in {
        "encoder": "ds2, hash abcd",
        "parameters": "1,234,567",
        "training set": "1,500 utterances; 4,500 with stored copies; 5.12 h an epoch",
        "epochs": "5, epoch 4 kept",
        "validation": "CER 25.1 % at that epoch, greedy",
        "seed": "7",
        "training time": "1:02:03 (h:min:s) by the clock, validation included;"
        " 2 threads and 3 processes that read audio, A processor",
        "peak memory": "the process 2,100 MiB, the largest process that reads audio 300 MiB",
        "commit": "0123abc",
    }.items():
        assert cells_of(text, first)[1] == told
    assert "```sh\n./run.sh --nj 2\n```" in text
    assert "```yaml\nencoder: ds2\nseed: 7\n```" in text


def test_memory_is_that_of_the_first_of_several_processes(asr_exp: Path) -> None:
    costs = load_yaml(asr_exp / "training.yaml") | {"num_processes": 4}
    write_yaml(
        asr_exp / "training.yaml", costs | {"peak_memory_mib": {"process": 2100, "worker": 300, "gpu": 5}}
    )
    told = cells_of(report(asr_exp, add_set(asr_exp, "a", GREEDY)), "peak memory")[1]

    assert told == "the first process 2,100 MiB, the largest that reads audio for it 300 MiB, its GPU 5 MiB"


def test_costs_that_nobody_measured_are_not_made_up(asr_exp: Path) -> None:
    costs = load_yaml(asr_exp / "training.yaml")
    write_yaml(asr_exp / "training.yaml", {name: costs[name] for name in ("num_utts", "num_copies", "hours")})
    text = report(asr_exp, add_set(asr_exp, "a", GREEDY))

    assert cells_of(text, "training time")[1] == cells_of(text, "peak memory")[1] == "not recorded"


def test_a_set_that_was_not_scored_is_named(asr_exp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = add_set(asr_exp, "a", GREEDY)
    (folder / "scores.json").unlink()
    report(asr_exp, folder, code=1)

    assert "decode_a/scores.json" in capsys.readouterr().err
    assert not (asr_exp / "RESULTS.md").exists()
