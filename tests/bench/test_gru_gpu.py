"""The benchmarks for a GPU, tried on the CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import gru_gpu

ROOT = Path(__file__).resolve().parents[2]
# what a machine with a GPU may lack
ABSENT = (
    "kaldiio",
    "soundfile",
    "soxr",
    "sentencepiece",
    "jiwer",
    "opensmile",
    "matplotlib",
    "typeguard",
    "pytest",
)


def test_every_section_runs_with_little_installed_and_leaves_no_result(tmp_path: Path) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton: pip install triton (PyTorch for GPUs brings it)")
    # a package that is None there cannot be imported
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n")
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env |= {"PYTHONPATH": str(tmp_path), "PYTHON": sys.executable}
    command = [ROOT / "bench" / "gpu.sh", "--device", "cpu", "--tiny", "--results", tmp_path / "results"]

    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=110)

    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "gru_kernel_errors",
        "gru_kernel_launches",
        "gru_cohort_equal",
        "gru_cohort_ragged",
        "ds2_training",
        "ds2_files",
        "ds2_encoding",
        "table1",
    ):
        assert f"{name}: a tiny run, no result; nothing written" in done.stdout
    assert not (tmp_path / "results").exists()


def test_without_a_gpu_it_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")

    with pytest.raises(SystemExit, match="2"):
        gru_gpu.main([])

    assert "--device cpu --tiny" in capsys.readouterr().err
