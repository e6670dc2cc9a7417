"""local/download.sh of recipes, with a toolkit that fetches nothing: what they do with what arrives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EGS = Path(__file__).resolve().parents[2] / "egs"
# download URL --out FILE ... --extract DIR: a file, and a folder of a part with its tables, unless it is there.
TOOLKIT = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --out) out=$2 ;; --extract) folder=$2 ;; esac
  shift
done
mkdir -p "${out%/*}"
echo archive >"$out"
if [ -n "$folder" ] && [ ! -d "$folder" ]; then
  mkdir -p "$folder/${folder##*/LibriSpeech-}"
  touch "$folder/SPEAKERS.TXT"
fi
"""


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run local/download.sh of a recipe into tmp_path/corpora."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sertoolkit").write_text(TOOLKIT)
    (tmp_path / "bin" / "sertoolkit").chmod(0o755)

    def run(recipe: str, *options: str) -> subprocess.CompletedProcess:
        script = str(EGS / recipe / "local" / "download.sh")
        command = ["bash", script, "--corpus_dir", str(tmp_path / "corpora"), *options]
        environment = os.environ | {"SERTOOLKIT_BIN": str(tmp_path / "bin")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("left", ["SPEAKERS.TXT", None])
def test_librispeech_goes_on_after_a_kill_between_two_moves(fetch, tmp_path: Path, left: str | None) -> None:
    whole = tmp_path / "corpora" / "archives" / "LibriSpeech-dev-clean"
    (whole / "dev-clean").mkdir(parents=True)
    if left:
        (whole / left).touch()
    done = fetch("librispeech_tedlium_voxforge/asr", "--corpora", "librispeech")
    assert done.returncode == 0, done.stderr
    parts = {path.name for path in (tmp_path / "corpora" / "LibriSpeech").iterdir()}
    assert {"dev-clean", "train-other-500", "SPEAKERS.TXT"} <= parts
    assert not whole.exists()


def test_ravdess_is_not_unpacked_if_it_is_not_what_the_publisher_has(fetch, tmp_path: Path) -> None:
    done = fetch("ravdess/ser")
    assert done.returncode == 1
    assert "Audio_Speech_Actors_01-24.zip: not what the publisher has; remove it" in done.stderr
    assert not (tmp_path / "corpora" / "RAVDESS").exists()
