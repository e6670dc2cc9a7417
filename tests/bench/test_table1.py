"""The benchmark of the whole table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import table1


@pytest.mark.parametrize("options", [["--nj", "2"], ["--device", "cpu:0"]])
def test_a_tiny_run_trains_every_kind_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """The device is the CPU, its memory told."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**31, 2**31))
    table1.main(["--tiny", "--results", str(tmp_path / "results"), *options])

    printed = capsys.readouterr().out
    for system in ("baseline-64", "mp-1", "rnn-1"):
        assert f"| {system} " in printed
    assert "table1: a tiny run, no result; nothing written" in printed
    assert not list(tmp_path.iterdir())


def test_by_default_the_twelve_systems_of_the_paper_are_trained() -> None:
    config = table1.load_config(
        table1.SerConfig, table1.ROOT / "egs" / "iemocap" / "ser" / "conf" / "ser.yaml"
    )
    assert len(table1.systems_of_table1(config)) == 12


def test_a_store_in_memory_holds_what_it_would_write(tmp_path: Path) -> None:
    corpus = table1.Corpus(tmp_path, 40, tiny=True)
    corpus.write()

    for name in ("side", "layers/layer-2/frames", "layers/layer-2/pooled"):
        memory, disk = corpus.open(tmp_path / name), table1.ser.ArkReader(tmp_path / name)
        assert memory.num_frames == disk.num_frames
        assert all(np.array_equal(memory[utt_id], disk[utt_id]) for utt_id in disk)


def test_what_was_stopped_is_extrapolated_by_steps_and_what_is_whole_is_not() -> None:
    rows = [
        {"epochs": 20, "to their end": 100, "s": 3600.0, "steps a second": 1.0},
        {"epochs": None, "to their end": 0, "s": 60.0, "steps a second": 100.0},
    ]
    table1._extrapolate(rows, is_whole=True)

    assert (rows[0]["hours"], rows[0]["extrapolated"]) == (1.0, "no")
    assert rows[1]["hours"] == pytest.approx(100 * table1.NUM_STEPS * 20 / 100 / 3600)
    assert rows[1]["extrapolated"] == "yes"


def test_epochs_of_a_part_of_the_corpus_are_not_taken_for_those_of_the_whole() -> None:
    row = {"epochs": 300, "to their end": 100, "s": 60.0, "steps a second": 100.0}
    table1._extrapolate([row], is_whole=False)

    assert row["hours"] == pytest.approx(100 * table1.NUM_STEPS * table1.LIKELY_EPOCHS / 100 / 3600)
