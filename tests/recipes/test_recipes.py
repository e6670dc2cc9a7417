"""The recipes' scripts: what they would run, and what they refuse before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path.parent for path in (ROOT / "egs").glob("*/*/run.sh"))


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    """A bin folder with this checkout's `sertoolkit`."""
    script = tmp_path / "bin" / "sertoolkit"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sertoolkit "$@"\n')
    python = script.with_name("python")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for path in (script, python):
        path.chmod(0o755)
    return script.parent


def run(recipe: Path, toolkit: Path, *arguments: str, code: int = 0) -> str:
    """Run a recipe from elsewhere, with all that it makes in a temporary folder."""
    work = toolkit.parent / "work"
    folders = [f"--{name}dir={work}/{name}" for name in ("data", "dump", "exp")]
    done = subprocess.run(
        [str(recipe / "run.sh"), *folders, *arguments],
        env=os.environ | {"SERTOOLKIT_BIN": str(toolkit), "PYTHONPATH": str(ROOT)},
        cwd=toolkit.parent,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    assert not work.exists()
    return done.stdout + done.stderr


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT / "egs")))
def test_every_recipe_is_whole_and_lists_its_stages(recipe: Path, toolkit: Path) -> None:
    assert all(
        (recipe / name).exists() for name in ("path.sh", "cmd.sh", "conf", "local/data.sh", "README.md")
    )
    assert not [path for path in recipe.rglob("*") if path.is_symlink()]
    titles = run(recipe, toolkit, "--list_stages").splitlines()
    last = "8  pack" if recipe.name == "ser" else "6  pack"
    assert titles[0].lstrip().startswith("-1  download")
    assert titles[-1].lstrip().startswith(last)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT / "egs")))
def test_every_recipe_says_what_it_would_run(recipe: Path, toolkit: Path) -> None:
    model = toolkit.parent / "model.safetensors"
    model.touch()
    given = ["--asr_exp", str(model)] if recipe.name == "ser" else []
    output = run(recipe, toolkit, "--dry_run", "--corpus_dir", str(toolkit), *given)
    commands = ("validate-data", "extract", "pack", "train-ser" if given else "train-asr")
    assert all(f"+ sertoolkit {command} " in output for command in commands)


def test_a_missing_corpus_is_named_with_both_remedies(toolkit: Path) -> None:
    output = run(ROOT / "egs" / "english_small" / "asr", toolkit, "--corpus_dir", "/no/such/corpus", code=2)
    assert (
        "no corpus at /no/such/corpus: name its folder by --corpus_dir, or fetch it by --stage download"
        in output
    )


def test_a_recogniser_is_asked_for_only_if_a_system_needs_it(toolkit: Path) -> None:
    emodb = ROOT / "egs" / "emodb" / "ser"
    given = ["--corpus_dir", str(toolkit), "--asr_exp", "/no/such/recogniser"]
    output = run(emodb, toolkit, *given, "--systems", "mp-1 baseline-96", code=2)
    assert "--asr_exp /no/such/recogniser: no recogniser there" in output
    run(emodb, toolkit, *given, "--systems", "baseline-96", "--dry_run")


def test_a_recogniser_of_ones_own_must_be_there_also_where_a_recipe_would_make_another(toolkit: Path) -> None:
    output = run(ROOT / "egs" / "mini" / "ser", toolkit, "--asr_exp", "/no/such/recogniser", code=2)
    assert "--asr_exp /no/such/recogniser: no recogniser there" in output


def test_wrong_settings_are_named_all_at_once_before_anything_runs(toolkit: Path) -> None:
    emodb = ROOT / "egs" / "emodb" / "ser"
    output = run(emodb, toolkit, "--systems", "mp-1 basline-96", "--protocol", "/no/protocol.yaml", code=2)
    assert "unknown system 'basline-96'; did you mean 'baseline-96'?" in output
    assert "--protocol /no/protocol.yaml: no such file" in output


def test_the_random_control_has_folders_of_its_own(toolkit: Path) -> None:
    model = toolkit.parent / "model.safetensors"
    model.touch()
    given = ["--corpus_dir", str(toolkit), "--asr_exp", str(model), "--dry_run", "--random_encoder"]
    output = run(ROOT / "egs" / "emodb" / "ser", toolkit, *given)
    assert "sertoolkit random-encoder" in output
    assert "--out " + str(toolkit.parent / "work" / "exp" / "ser_random") in output
    assert str(toolkit.parent / "work" / "dump" / "encoded_random") in output
