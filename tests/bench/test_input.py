"""The benchmarks of input run, and say what they could not measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import features

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "rows"), [("features", ["all, ours normalised | sertoolkit"]), ("ark", ["float32", "16bit"])]
)
def test_a_tiny_run_prints_its_table_and_keeps_nothing(tmp_path: Path, module: str, rows: list[str]) -> None:
    command = [sys.executable, "-m", f"bench.{module}", "--tiny", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert all(f"| {row} " in done.stdout for row in rows)
    assert not list(tmp_path.iterdir())


def test_a_rival_that_is_not_installed_has_a_row_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    contestants = features._groups()["MFCC and deltas"]

    assert contestants["librosa"] is None
    rows = features._measure("MFCC", contestants, [np.ones(16000, np.float32)], 1)
    assert rows[-1] == {"features": "MFCC", "by": "librosa", "x real time": None, "ours is faster by": None}


def test_synthetic_voices_are_the_same_each_time() -> None:
    first, second = features.voices(3.0), features.voices(3.0)

    assert [voice.tobytes() for voice in first] == [voice.tobytes() for voice in second]
    assert sum(map(len, first)) >= 3 * 16000
