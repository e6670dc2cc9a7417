"""The stage driver of the recipes, tools/stages.sh, and its stamps, `sertoolkit stage`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sertoolkit.errors import ConfigError, DataError
from sertoolkit.stages import Stage, Stamps, read_plan

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """#!/usr/bin/env bash
set -euo pipefail
MAIN_ROOT=@ROOT@ RECIPE_DIR=$(cd "$(dirname "$0")" && pwd) RECIPE=toy/ser PATH=$RECIPE_DIR/bin:$PATH
. "$MAIN_ROOT/tools/parse_options.sh"
. "$MAIN_ROOT/tools/stages.sh"
option word hello "what to say"
option expdir:path "$RECIPE_DIR/exp" "experiment folder"
parse_options "$@"
add_stage -1 download "fetch" "$expdir"
add_stage 0 data "write the word" "$expdir"
stage_options word
stage_outputs "$expdir/data"
add_stage 1 features "count its letters" "$expdir"
stage_inputs "$expdir/data"
stage_outputs "$expdir/features"
add_stage 2 train "sleep if asked to" "$expdir"
stage_inputs "$expdir/features"
stage_outputs "$expdir/model"
preflight() {
  if [ "$word" = bad ]; then fault "word bad is wrong"; fi
  if will_run features && [ "$word" = bad ]; then fault "features need another word"; fi
  check sh -c 'case $1 in bad) code=2 ;; crash) code=1 ;; *) exit 0 ;; esac; echo "about $1"; exit "$code"' - "$word"
}
stage_download() { run touch "$expdir/fetched"; }
stage_data() {
  run mkdir -p "$expdir/data"
  run sh -c 'printf "%s\\n" "$1" >"$2"' - "$word" "$expdir/data/text"
}
stage_features() {
  run sh -c 'wc -c <"$1" >"$2"' - "$expdir/data/text" "$expdir/features"
  if [ "$word" = broken ]; then
    run false --why not
    touch "$expdir/went-on"
  fi
}
stage_train() {
  if [ "$word" = slow ]; then run python3 "$RECIPE_DIR/slow.py" "$expdir"; fi
  if [ "$word" != lost ]; then run cp "$expdir/features" "$expdir/model"; fi
}
after_stages() { printf 'model: %s\\n' "$expdir/model"; }
run_stages "$expdir"
"""
# Stands for a training: its own child, and a state saved at SIGTERM.
SLOW = """
import pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
child = subprocess.Popen(["sleep", "60"])
def save(number, frame):
    time.sleep(0.2)
    child.terminate(); child.wait()
    (folder / "saved").write_text(str(number)); sys.exit(128 + number)
signal.signal(signal.SIGTERM, save); signal.signal(signal.SIGINT, save)
(folder / "pids").write_text(f"{__import__('os').getpid()} {child.pid}")
time.sleep(60)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of four tiny stages, as a script."""
    script = tmp_path / "run.sh"
    script.write_text(RECIPE.replace("@ROOT@", str(ROOT)))
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "bin").mkdir()
    toolkit = tmp_path / "bin" / "sertoolkit"
    toolkit.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m sertoolkit "$@"\n')
    toolkit.chmod(0o755)
    return script


def run(recipe: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        ["bash", str(recipe), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=recipe.parent.parent,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def ran(output: str) -> list[str]:
    return re.findall(r"Stage -?\d+ (\w+): done in", output)


def start(recipe: Path, *arguments: str) -> subprocess.Popen:
    """Start the recipe with its slow training and wait until that runs."""
    process = subprocess.Popen(
        ["bash", str(recipe), "--word", "slow", *arguments],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # tests started in the background ignore Ctrl-C, and bash cannot trap what it finds ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: (recipe.parent / "exp" / "pids").exists(), 60)
    return process


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(recipe: Path) -> list[int]:
    return list(map(int, (recipe.parent / "exp" / "pids").read_text().split()))


def test_stages_run_from_0_and_what_was_made_is_said(recipe: Path) -> None:
    output = run(recipe)
    assert ran(output) == ["data", "features", "train"]
    assert "3 of 3 stages ran" in output
    assert output.startswith(f"model: {recipe.parent}/exp/model")


def test_a_stage_that_is_up_to_date_is_skipped_and_says_so(recipe: Path) -> None:
    run(recipe)
    output = run(recipe)
    assert ran(output) == []
    assert output.count("up to date, skipped") == 3


def test_changed_options_rerun_what_depends_on_them_and_nothing_else(recipe: Path) -> None:
    run(recipe)
    assert ran(run(recipe, "--word", "jello")) == [
        "data",
        "features",
    ]  # as many letters: the model still holds


def test_an_explicit_stage_reruns_it_and_all_after_it(recipe: Path) -> None:
    run(recipe)
    assert ran(run(recipe, "--stage", "features")) == ["features", "train"]
    assert ran(run(recipe, "--stage", "1", "--stop-stage", "features")) == ["features"]
    assert ran(run(recipe, "--stage", "-1", "--skip_stages", "data 2")) == ["download", "features"]


def test_an_output_that_was_changed_or_deleted_is_named_and_made_again(recipe: Path) -> None:
    run(recipe)
    model = recipe.parent / "exp" / "model"
    model.write_text("X" + model.read_text()[1:])
    assert f"output {model} has changed" in run(recipe, "--status")
    (recipe.parent / "exp" / "features").unlink()
    assert re.search(r"features\s+stale\s+output .*/features is missing", run(recipe, "--status"))
    assert ran(run(recipe)) == ["features", "train"]


def test_a_stage_whose_input_is_missing_names_it_and_who_makes_it(recipe: Path) -> None:
    output = run(recipe, "--stage", "train", code=1)
    assert "exp/features is missing; stage features makes it" in output


def test_status_and_dry_run_change_nothing(recipe: Path) -> None:
    before = sorted(recipe.parent.rglob("*"))
    assert re.search(r"0  data\s+open\s+has not run", run(recipe, "--status"))
    assert "+ mkdir -p" in run(recipe, "--dry_run")
    assert sorted(recipe.parent.rglob("*")) == before


def test_list_stages_needs_no_environment(recipe: Path) -> None:
    (recipe.parent / "bin" / "sertoolkit").unlink()
    assert run(recipe, "--list_stages").splitlines() == [
        " -1  download   fetch",
        "  0  data       write the word",
        "  1  features   count its letters",
        "  2  train      sleep if asked to",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "9"], "--stage 9: no such stage; they are: -1 download, 0 data, 1 features, 2 train"),
        (["--stage", "abc"], "--stage abc: no such stage"),
        (["--stage", "features.sh"], "no such stage"),
        (["--stop_stage", "trian"], "--stop_stage trian: no such stage; did you mean train?"),
        (["--skip_stages", "1 $(touch x)"], "no such stage"),
        (["--stage", "2", "--stop_stage", "1"], "--stage 2 comes after --stop_stage 1"),
        (["--stgae", "2"], "did you mean --stage?"),
    ],
)
def test_a_wrong_stage_is_named_and_ends_with_2(recipe: Path, arguments: list[str], message: str) -> None:
    assert message in run(recipe, *arguments, code=2)
    assert not (recipe.parent / "exp").exists()


def test_preflight_names_all_that_is_missing_before_anything_runs(recipe: Path) -> None:
    output = run(recipe, "--word", "bad", code=2)
    assert "error: word bad is wrong" in output
    assert "error: features need another word" in output
    assert "error: about bad" in output
    assert not (recipe.parent / "exp").exists()


def test_a_check_that_breaks_is_shown_as_it_is_and_no_fault(recipe: Path) -> None:
    output = run(recipe, "--word", "crash", code=1)
    assert output.startswith("about crash\n")
    assert "error: the settings could not be checked" in output


def test_a_stage_that_ends_well_without_its_output_fails_by_name(recipe: Path) -> None:
    output = run(recipe, "--word", "lost", code=1)
    assert "stage train ended without an error, but: 1 fault" in output
    assert f"{recipe.parent}/exp/model was not made" in output
    assert ran(output) == ["data", "features"]
    assert re.search(r"train\s+open\s+was not finished", run(recipe, "--status", "--word", "lost"))


def test_a_failing_command_stops_its_stage_and_is_named_with_its_line(recipe: Path) -> None:
    output = run(recipe, "--word", "broken", code=1)
    line = RECIPE.splitlines().index("    run false --why not") + 1
    assert f"run.sh:{line}: exit code 1 from: false --why not" in output
    assert "Stage 1 features: failed after" in output
    assert not (recipe.parent / "exp" / "went-on").exists()
    assert re.search(r"features\s+open\s+was not finished", run(recipe, "--status", "--word", "broken"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_children_which_save_and_end(recipe: Path, number: int, code: int) -> None:
    process = start(recipe)
    os.kill(process.pid, number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert (recipe.parent / "exp" / "saved").read_text() == str(int(number))
    assert not any(map(alive, pids(recipe)))
    assert "start the same command again" in output
    assert "exit code" not in output  # a stop is no failure


def test_killed_outright_its_children_end_too_and_a_new_run_goes_on(recipe: Path) -> None:
    process = start(recipe)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    output = run(recipe)  # takes the lock as soon as the orphan has saved
    assert (recipe.parent / "exp" / "saved").exists()
    assert not any(map(alive, pids(recipe)))
    assert ran(output)[-1] == "train"


def test_a_second_run_on_the_same_folder_is_refused_with_the_pid_of_the_first(recipe: Path) -> None:
    process = start(recipe)
    assert f"exp is in use by pid {process.pid};" in run(recipe, code=2)
    assert ran(run(recipe, "--expdir", str(recipe.parent / "other"))) == ["data", "features", "train"]
    process.terminate()
    process.communicate(timeout=60)


def test_a_recipe_works_in_a_folder_with_blanks(recipe: Path) -> None:
    folder = recipe.parent.parent / "a folder; with $blanks"
    recipe.parent.rename(folder)
    assert ran(run(folder / "run.sh", "--expdir", f"{folder}/my exp")) == ["data", "features", "train"]
    assert (folder / "my exp" / "model").exists()


def stage(folder: Path, **changes: object) -> Stage:
    given = {"options": {"rate": "1"}, "inputs": [folder / "in"], "outputs": [folder / "out"], **changes}
    return Stage("train", folder / ".stamp.json", **given)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a finished stage."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    stamps = Stamps([stage(tmp_path)])
    stamps.start("train")
    stamps.finish("train")
    return tmp_path


def test_a_finished_stage_is_done(made: Path) -> None:
    assert Stamps([stage(made)]).state("train") == ("done", "")


def test_content_counts_and_not_time(made: Path) -> None:
    os.utime(made / "in" / "file", (1, 1))
    assert Stamps([stage(made)]).state("train")[0] == "done"


def test_a_recipe_folder_may_be_moved(made: Path) -> None:
    assert Stamps([stage(made.rename(made.with_name("moved")))]).state("train")[0] == "done"


def test_hidden_files_and_caches_do_not_count(made: Path) -> None:
    (made / "in" / ".backup").mkdir()
    (made / "in" / ".backup" / "old").touch()
    (made / "in" / "__pycache__").mkdir()
    (made / "in" / "__pycache__" / "x.pyc").touch()
    assert Stamps([stage(made)]).state("train")[0] == "done"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "in" / "file").write_text("IN"), "input {}/in/file has changed"),
        (lambda f: (f / "in" / "file").unlink(), "input {}/in/file is missing"),
        (lambda f: (f / "in" / "more").touch(), "input {}/in/more is new"),
        (lambda f: (f / "out" / "file").write_text("OUT"), "output {}/out/file has changed"),
        (lambda f: (f / "out").rename(f / "away"), "output {}/out is missing"),
    ],
)
def test_any_difference_of_files_makes_a_stage_stale(made: Path, change, reason: str) -> None:
    change(made)
    assert Stamps([stage(made)]).state("train") == ("stale", reason.format(made))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": {"rate": "2"}}, "option rate was '1', is '2'"),
        ({"options": {"rate": "1", "new": ""}}, "option new was None, is ''"),
        ({"inputs": []}, "has other inputs now"),
    ],
)
def test_any_difference_of_options_makes_a_stage_stale(made: Path, changes: dict, reason: str) -> None:
    assert Stamps([stage(made, **changes)]).state("train") == ("stale", reason)


def test_a_corpus_is_compared_by_names_and_sizes(made: Path) -> None:
    with_corpus = stage(made, trees=[made / "in"], inputs=[])
    stamps = Stamps([with_corpus])
    stamps.start("train")
    stamps.finish("train")
    (made / "in" / "file").write_text("IN")
    assert stamps.state("train")[0] == "done"
    (made / "in" / "more").touch()
    assert stamps.state("train") == ("stale", f"the corpus {made}/in is another one or has changed")


def test_a_corpus_that_is_gone_leaves_what_was_made_of_it_valid(made: Path) -> None:
    stamps = Stamps([stage(made, trees=[made / "in"], inputs=[])])
    stamps.start("train")
    stamps.finish("train")
    (made / "in").rename(made / "away")
    assert stamps.state("train")[0] == "done"
    with pytest.raises(DataError, match="in is missing; no stage makes it"):
        stamps.start("train")


def test_a_damaged_stamp_counts_as_none(made: Path) -> None:
    (made / ".stamp.json").write_text('{"version"')
    assert Stamps([stage(made)]).state("train") == ("open", "has not run")


def test_what_changes_while_a_stage_runs_is_noticed(made: Path) -> None:
    stamps = Stamps([stage(made)])
    stamps.start("train")
    (made / "in" / "file").write_text("edited meanwhile")
    stamps.finish("train")
    assert stamps.state("train")[0] == "stale"


def test_a_stage_that_did_not_make_its_outputs_is_no_success(made: Path) -> None:
    missing = stage(made, outputs=[made / "model", made / "log"])
    stamps = Stamps([missing])
    stamps.start("train")
    with pytest.raises(DataError, match=r"2 faults\n.*model was not made\n.*log was not made"):
        stamps.finish("train")


@pytest.mark.parametrize("plan", [b"train\0stamp\0", b"train\0input\0x\0", b"a\0stamp\0x\0a\0odd\0x\0"])
def test_what_is_no_plan_is_refused(plan: bytes) -> None:
    with pytest.raises(ConfigError, match="no plan of stages"):
        read_plan(plan)


def test_a_dry_run_without_an_environment_says_that_it_makes_none(recipe, monkeypatch):
    (recipe.parent / "bin" / "sertoolkit").unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    advice = f"no environment yet; make it by {ROOT}/tools/setup.sh"
    assert f"{advice}\n" in run(recipe, code=1)
    assert f"{advice} (--dry_run and --status make none)\n" in run(recipe, "--dry_run", code=1)
