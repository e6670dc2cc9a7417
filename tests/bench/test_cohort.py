"""The benchmark of cohorts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import cohort
from bench.iemocap import frames_like_iemocap
from sertoolkit.heads.baseline import Baseline, BaselineConfig


def test_durations_are_those_of_iemocap() -> None:
    seconds = frames_like_iemocap(6416) / 100

    assert seconds.mean() == pytest.approx(4.46, rel=0.03)
    assert np.median(seconds) == pytest.approx(3.6, rel=0.03)
    assert (seconds.min(), seconds.max()) == (0.6, 34)


@pytest.mark.parametrize("lengths", [[5, 9, 3], [9, 9, 9]])
def test_the_rival_computes_what_the_baseline_computes(lengths: list[int]) -> None:
    rival = cohort.Plain(8).eval()
    head = Baseline(BaselineConfig(units=8), layer_dims=[], side_dim=cohort.DIM, num_classes=4).eval()
    state = {f"output.{name}": value for name, value in rival.output.state_dict().items()}
    for name, value in rival.gru.state_dict().items():
        kind, _, place = name.rpartition("_l")
        layer, _, reverse = place.partition("_")
        state[f"rnn.{'backwards' if reverse else 'forwards'}.{layer}.{kind}_l0"] = value
    head.load_state_dict(state)
    x, lengths_ = torch.randn(3, 9, cohort.DIM), torch.tensor(lengths)

    torch.testing.assert_close(rival(x, lengths_), head([], None, x, lengths_), atol=1e-5, rtol=0)


@pytest.mark.parametrize("curves", [False, True])
def test_a_tiny_run_prints_its_tables_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], curves: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    threads = torch.get_num_threads()
    cohort.main(["--tiny", "--results", str(tmp_path / "results"), *["--curves"] * curves])
    torch.set_num_threads(threads)

    names = ("cohort_members", "cohort_length") if curves else ("cohort_iemocap", "cohort_equal")
    printed = capsys.readouterr().out
    assert all(f"{name}: a tiny run, no result; nothing written" in printed for name in names)
    assert curves or "ours, automatic: cohorts of 8" in printed
    assert not list(tmp_path.iterdir())
