"""The recipes' scripts: what they would run, and what they refuse before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sertoolkit.cli import main
from sertoolkit.storage.tensors import save_tensors

ROOT = Path(__file__).resolve().parents[2]
EGS = ROOT / "egs"
EMODB = EGS / "emodb" / "ser"
RECIPES = sorted(path.parent for path in EGS.glob("*/*/run.sh"))


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


@pytest.fixture
def check(toolkit: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """A dry run, and what `check-recipe` says to what it was asked: here in this process, which has torch already."""
    script, asked = toolkit / "sertoolkit", toolkit / "asked"
    record = f'if [ "$1" = check-recipe ]; then printf "%s\\n" "$@" >"{asked}"; exit; fi\n'
    script.write_text(script.read_text().replace("exec", f"{record}exec"))

    def run_and_check(recipe: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
        output = run(recipe, toolkit, "--dry_run", *arguments, code=code)
        main(asked.read_text().splitlines())
        return output, capsys.readouterr().err

    return run_and_check


@pytest.fixture
def recogniser(tmp_path: Path) -> Path:
    """The file of a recogniser with five layers; nothing runs it here."""
    path = tmp_path / "model.safetensors"
    conf = {"conv_channels": 2, "hidden_size": 4, "num_layers": 5}
    meta = {"kind": "asr", "encoder": "ds2", "encoder_conf": conf, "frontend": "power_spectrogram"}
    save_tensors(path, {}, meta)
    return path


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
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert not work.exists()
    return done.stdout + done.stderr


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(EGS)))
def test_every_recipe_is_whole_and_lists_its_stages(recipe: Path, toolkit: Path) -> None:
    assert all(
        (recipe / name).exists() for name in ("path.sh", "cmd.sh", "conf", "local/data.sh", "README.md")
    )
    assert not [path for path in recipe.rglob("*") if path.is_symlink()]
    titles = run(recipe, toolkit, "--list_stages").splitlines()
    last = "8  pack" if recipe.name == "ser" else "6  pack"
    assert titles[0].lstrip().startswith("-1  download")
    assert titles[-1].lstrip().startswith(last)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(EGS)))
def test_every_recipe_says_what_it_would_run(recipe: Path, check, toolkit: Path, recogniser: Path) -> None:
    given = ["--asr_exp", str(recogniser)] if recipe.name == "ser" else []
    output, faults = check(recipe, "--corpus_dir", str(toolkit), *given)
    assert not faults
    commands = ("validate-data", "extract", "pack", "train-ser" if given else "train-asr")
    assert all(f"+ sertoolkit {command} " in output for command in commands)


def test_a_joint_system_is_given_texts_and_needs_a_recogniser(check, toolkit: Path, recogniser: Path) -> None:
    given = ["--corpus_dir", str(toolkit), "--systems", "joint-2", "--asr_exp"]
    output, _ = check(EMODB, *given, str(recogniser))
    for command in ("train-ser", "score", "report"):
        (line,) = [line for line in output.splitlines() if f"+ sertoolkit {command} " in line]
        assert f"--text {toolkit.parent / 'work' / 'data' / 'all' / 'text'}" in line
    _, faults = check(EMODB, *given, "/no/such/recogniser")
    assert "--asr_exp /no/such/recogniser: no recogniser there" in faults


def test_a_gpu_encodes_and_trains_emotion(check, toolkit: Path, recogniser: Path) -> None:
    output, _ = check(EMODB, "--corpus_dir", str(toolkit), "--asr_exp", str(recogniser), "--ngpu", "1")
    for command in ("encode", "train-ser"):
        (line,) = [line for line in output.splitlines() if f"+ sertoolkit {command} " in line]
        assert " --ngpu 1" in line


@pytest.mark.parametrize(
    ("recipe", "given", "wanted"),
    [
        ("mini/asr", ["--ngpu", "4"], 4),
        ("mini/asr", ["--ngpu", "4", "--train_cmd", "srun"], 0),
        ("mini/asr", ["--ngpu", "4", "--stop_stage", "tokens"], 0),
        ("emodb/ser", ["--ngpu", "1", "--train_cmd", "srun"], 1),  # encode is not started by it
        ("emodb/ser", ["--ngpu", "1", "--systems", "baseline-96", "--asr_exp", "/none"], 1),
        (
            "emodb/ser",
            ["--ngpu", "1", "--systems", "baseline-96", "--asr_exp", "/none", "--train_cmd", "srun"],
            0,
        ),
    ],
)
def test_gpus_that_this_machine_lacks_are_a_fault_where_it_needs_them(
    check, toolkit: Path, recogniser: Path, monkeypatch: pytest.MonkeyPatch, recipe, given, wanted
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    own = ["--asr_exp", str(recogniser)] if recipe.endswith("ser") else []
    _, faults = check(EGS / recipe, "--corpus_dir", str(toolkit), *own, *given)
    assert faults.startswith(f"--ngpu {wanted}: PyTorch finds no CUDA GPU here") if wanted else not faults


@pytest.mark.parametrize("recipe", ["english_small/asr", "emodb/ser"])
def test_a_missing_corpus_is_named_with_both_remedies(recipe: str, toolkit: Path) -> None:
    output = run(EGS / recipe, toolkit, "--corpus_dir", "/no/such/corpus", "--stop_stage", "data", code=2)
    name_it = "error: no corpus at /no/such/corpus: name its folder by --corpus_dir, or fetch it: "
    fetch = f"{EGS}/{recipe}/run.sh --stage download --stop_stage download --corpus_dir /no/such/corpus\n"
    assert name_it + fetch in output


def test_what_is_advised_for_a_missing_corpus_needs_no_recogniser(toolkit: Path) -> None:
    given = [
        "--stage",
        "download",
        "--stop_stage",
        "download",
        "--corpus_dir",
        "/no/such/corpus",
        "--dry_run",
    ]
    assert "1 of 1 stages would" in run(EMODB, toolkit, *given, "--asr_exp", "/no/such/recogniser")


def test_a_folder_without_the_corpus_is_refused_with_both_remedies(toolkit: Path) -> None:
    script = EMODB / "local" / "data.sh"
    command = [str(script), "--corpus_dir", str(toolkit), "--datadir", str(toolkit.parent / "work")]
    done = subprocess.run(["bash", *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "--corpus_dir, or fetch it: " in done.stderr


def test_a_recogniser_is_asked_for_only_if_a_system_needs_it(check, toolkit: Path) -> None:
    given = ["--corpus_dir", str(toolkit), "--asr_exp", "/no/such/recogniser"]
    _, faults = check(EMODB, *given, "--systems", "mp-1 baseline-96")
    assert "--asr_exp /no/such/recogniser: no recogniser there" in faults
    assert check(EMODB, *given, "--systems", "baseline-96")[1] == ""


def test_a_recogniser_of_ones_own_must_be_there_also_where_a_recipe_would_make_another(check) -> None:
    _, faults = check(EGS / "mini" / "ser", "--asr_exp", "/no/such/recogniser")
    assert "--asr_exp /no/such/recogniser: no recogniser there" in faults


def test_wrong_settings_are_named_all_at_once_before_anything_runs(toolkit: Path, recogniser: Path) -> None:
    given = {
        "corpus_dir": "/no/such/corpus",
        "asr_exp": recogniser,
        "systems": "mp-1,rnn-2 basline-96",
        "seeds": "1 x",
        "folds": "fold-1",
        "ser_args": "systems.mp-1.layers=[6] systems.rnn-2.head_conf.unit=3",
        "protocol": "/no/protocol.yaml",
        "plugin": "own.py",
        "side_frontend": "mfcc_pich",
        "asr_frontend": "mfcc_pitch",
        "pack_system": "mp-3",
        "cohort": "8x",
        "ngpu": "2",
        "score_args=--metric f2 --predictions svm=/no/svm.tsv": "",
        "report_args=--player": "",
    }
    words = (str(word) for name, value in given.items() for word in (f"--{name}", value) if word)
    output = run(EMODB, toolkit, *words, code=2)
    for text in (
        "no corpus at /no/such/corpus",
        "--systems 'mp-1 rnn-2 basline-96'",
        "unknown system 'basline-96'; did you mean 'baseline-96'?",
        "--seeds: 'x': expected a whole number",
        "--folds: 'fold-1': expected all, or names such as fold-01",
        "system mp-1: layer 6: the encoder of ",
        "system rnn-2: head_conf: unknown key 'unit'; did you mean 'units'?",
        "/no/protocol.yaml: no such configuration file",
        "own.py: no such plugin file",
        "--side_frontend: unknown frontend 'mfcc_pich'",
        "reads features of 'power_spectrogram', the recipe makes 'mfcc_pitch'",
        "--pack_system mp-3: not among --systems",
        "--cohort 8x: expected auto, off, or a number from 1",
        "--score_args: argument --metric: invalid choice: 'f2'",
        "--report_args: unknown option '--player'; did you mean '--players'?",
        "--ngpu 2: expected 0 or 1; several GPUs are for asr recipes",
    ):
        assert text in output
    assert all(line.startswith("emodb/ser: error: ") for line in output.splitlines())


def test_no_systems_are_a_fault_among_others(check, toolkit: Path) -> None:
    _, faults = check(EMODB, "--corpus_dir", str(toolkit), "--systems", "")
    assert "--systems '': expected at least one name" in faults


def test_wrong_settings_of_a_recogniser_are_named_all_at_once(check, toolkit: Path) -> None:
    given = ["--corpus_dir", str(toolkit), "--asr_args", "encoder_conf.hiden_size=3", "--num_nodes", "2"]
    given += ["--token_type", "chr", "--frontend", "power_spectogram"]
    faults = "".join(check(EGS / "mini" / "asr", *given, code=2)).splitlines()
    assert len(faults) == 5
    for text in (
        "expected --rendezvous HOST:PORT",
        "'hidden_size'",
        "--num_nodes 2: expected --ngpu",
        "mean 'char'",
        "mean 'power_spectrogram'",
    ):
        assert any(text in fault for fault in faults)


def test_a_rendezvous_of_one_machine_is_a_fault(check, toolkit: Path) -> None:
    given = ["--corpus_dir", str(toolkit), "--ngpu", "2", "--rendezvous", "one:29400"]
    faults = "".join(check(EGS / "mini" / "asr", *given, code=2))
    assert "--rendezvous one:29400: expected --num_nodes" in faults


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "+ sertoolkit train-asr "),
        (["--ngpu", "1"], "+ sertoolkit train-asr "),
        (["--ngpu", "4"], "+ torchrun --nproc_per_node 4 --standalone -m sertoolkit train-asr "),
        (
            ["--ngpu", "4", "--num_nodes", "2", "--rendezvous", "one:29400", "--train_cmd", "srun -N 2"],
            "+ srun -N 2 torchrun --nproc_per_node 4 --nnodes 2 --rdzv_backend c10d --rdzv_endpoint one:29400 -m sertoolkit"
            " train-asr ",
        ),
    ],
)
def test_a_recogniser_is_trained_by_a_process_a_gpu(check, toolkit: Path, given, expected) -> None:
    options = ["--corpus_dir", str(toolkit), "--feats", "on_the_fly", "--nj", "10", *given]
    output, _ = check(EGS / "mini" / "asr", *options)
    (command,) = (line for line in output.splitlines() if " train-asr " in line)
    assert command.strip().startswith(expected)
    assert f"--ngpu {1 if given else 0}" in command
    assert f"--num_workers {3 if '4' in given else 10}" in command


VARIANT = "exp/ser/variant"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ([], f"{EMODB}"),
        (["--seeds", "1 2 3 4"], f"{EMODB}"),  # more than the recipe's own
        (["--ser_config", f"{EMODB}/local/../conf/ser.yaml"], f"{EMODB}"),  # the recipe's own
        (["--systems", "rnn-2"], VARIANT),
        (["--folds", "fold-01"], VARIANT),
        (["--seeds", "2"], VARIANT),
        (["--ser_args", "training.max_epochs=1"], VARIANT),
        (["--extract_args", "--resample"], VARIANT),
        (["--protocol", f"{ROOT}/conf/protocols/iemocap4-consensus.yaml"], VARIANT),
        (["--ser_config", f"{EGS}/mini/ser/conf/ser.yaml"], VARIANT),
        (["--drop", __file__], VARIANT),
        (["--plugin", __file__], VARIANT),
        (["--score_args", "--metric accuracy"], VARIANT),
        (["--report_args", "--players", "--analyse_args", "--num_utts 90"], f"{EMODB}"),  # shown otherwise
        (["--asr_exp", "/none"], VARIANT),
        (["--systems", "rnn-2", "--ser_tag", "mine"], "exp/ser_mine"),
        (["--systems", "rnn-2", "--results", "/tmp/RESULTS.md"], "/tmp"),
    ],
)
def test_a_run_that_is_not_the_recipes_own_leaves_its_results_alone(
    toolkit: Path, changes: list[str], place: str
) -> None:
    output = run(EMODB, toolkit, "--dry_run", "--stage", "score", *changes)
    work = toolkit.parent / "work"
    assert f"--out {work / place}/RESULTS.md" in output
    is_variant = place != str(EMODB) and "--ser_tag" not in changes
    assert ("emodb/ser: a variant: other settings" in output) == is_variant
    own = f"--exp {work}/exp/ser --protocol_dir" in output
    assert own == (place == str(EMODB))
    assert (f"--out {work}/exp/ser/ser.safetensors" in output) == own


def test_options_of_the_last_stages_are_handed_on_and_make_them_stale(toolkit: Path) -> None:
    table = toolkit / "svm.tsv"
    table.touch()
    given = [
        f"--score_args=--predictions svm={table}",
        "--report_args",
        "--players",
        "--analyse_args=--num_utts 90",
    ]
    output = run(EMODB, toolkit, "--dry_run", "--stage", "score", *given)
    lines = {
        name: next(line for line in output.splitlines() if f"+ sertoolkit {name} " in line)
        for name in ("score", "analyse", "report")
    }
    assert all(f"--predictions svm={table}" in lines[name] for name in ("score", "report"))
    assert lines["analyse"].endswith(" --num_utts 90")
    assert lines["report"].endswith(" --players")
    assert f"--data_dir {toolkit.parent / 'work'}/data/all" in lines["report"]

    script = toolkit / "sertoolkit"  # what it is told of all stages, kept
    script.write_text(f'#!/bin/sh\ntee "{toolkit}/plan" | "{sys.executable}" -m sertoolkit "$@"\n')
    run(EMODB, toolkit, *given, "--status")
    plan = (toolkit / "plan").read_text().split("\0")
    triples = set(zip(*[iter(plan)] * 3, strict=False))
    options = {
        ("score", "score_args"),
        ("analyse", "analyse_args"),
        ("report", "score_args"),
        ("report", "report_args"),
    }
    values = {"score_args": given[0][13:], "report_args": "--players", "analyse_args": "--num_utts 90"}
    assert {(stage, "option", f"{name}={values[name]}") for stage, name in options} <= triples
    assert {(stage, "input", str(table)) for stage in ("score", "report")} <= triples


def test_the_packed_model_is_of_the_folds_and_seeds_of_the_run(toolkit: Path) -> None:
    output = run(EMODB, toolkit, "--dry_run", "--stage", "pack", "--folds", "fold-01 fold-02", "--seeds", "2")
    assert "--folds 'fold-01 fold-02' --seeds 2" in output


def test_the_random_control_has_folders_of_its_own(check, toolkit: Path, recogniser: Path) -> None:
    given = ["--corpus_dir", str(toolkit), "--asr_exp", str(recogniser), "--random_encoder"]
    output, _ = check(EMODB, *given)
    assert "sertoolkit random-encoder" in output
    assert "--out " + str(toolkit.parent / "work" / "exp" / "ser_random") in output
    assert str(toolkit.parent / "work" / "dump" / "encoded_random") in output


def test_the_papers_recipes_augment_as_it_says(toolkit: Path, recogniser: Path) -> None:
    output = run(
        EGS / "iemocap" / "ser",
        toolkit,
        "--dry_run",
        "--asr_exp",
        str(recogniser),
        "--corpus_dir",
        str(toolkit),
    )
    extracted = [line for line in output.splitlines() if "+ sertoolkit extract" in line]
    assert len(extracted) == 2 and all(line.endswith("--copies 4") for line in extracted)
    (analysed,) = [line for line in output.splitlines() if "+ sertoolkit analyse" in line]
    assert analysed.endswith(" --num_utts 2000")
    output = run(
        EGS / "librispeech_tedlium_voxforge" / "asr", toolkit, "--dry_run", "--corpus_dir", str(toolkit)
    )
    (command,) = (line for line in output.splitlines() if "+ sertoolkit train-asr" in line)
    assert "--num_workers" in command and "--train_feats" not in command
    assert "/data/train --frontend" not in output  # nothing of the training set is stored


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        (["--feats", "arc"], ["--feats arc: expected ark or on_the_fly"]),
        (["--feats", "ark"], ["augment: in the configuration needs features made on the fly"]),
        (["--tempo", "0.9 1.0"], ["--tempo 0.9 1.0 makes stored copies"]),
    ],
)
def test_features_that_do_not_fit_the_augmentation_are_refused(
    toolkit: Path, options: list[str], faults: list[str]
) -> None:
    recipe = EGS / "librispeech_tedlium_voxforge" / "asr"
    output = run(recipe, toolkit, "--dry_run", "--corpus_dir", str(toolkit), *options, code=2)
    found = [line for line in output.splitlines() if " error: " in line]
    assert len(found) == len(faults)
    assert all(fault in line for fault, line in zip(faults, found, strict=True))


MINI = EGS / "mini" / "asr"


@pytest.mark.parametrize(
    ("changes", "results", "texts"),
    [
        ([], f"{MINI}", "exp/asr"),
        (["--nj", "1", "--asr_config", f"{MINI}/local/../conf/asr.yaml"], f"{MINI}", "exp/asr"),
        (["--decode_args", "--beam 16"], "exp/asr/variant", "exp/asr/variant"),
        (["--asr_args", "training.max_epochs=1"], "exp/asr/variant", "exp/asr/variant"),
        (["--test_sets", "valid"], "exp/asr/variant", "exp/asr/variant"),
        (["--asr_tag", "mine", "--asr_args", "seed=2"], "exp/asr_mine", "exp/asr_mine"),
        (["--asr_tag", "mine", "--decode_args", "--beam 4"], "exp/asr_mine/variant", "exp/asr_mine/variant"),
    ],
)
def test_what_another_recogniser_or_search_hears_is_kept_apart(
    toolkit: Path, changes: list[str], results: str, texts: str
) -> None:
    output = run(MINI, toolkit, "--dry_run", "--stage", "decode", *changes)
    work = toolkit.parent / "work"
    (report,) = (line for line in output.splitlines() if "+ sertoolkit report-asr" in line)
    assert f"--out {work / results}/RESULTS.md --title mini/asr " in report
    assert f"--decoded {work}/{texts}/decode_" in report
    (decode,) = (line for line in output.splitlines() if "+ sertoolkit decode" in line)
    assert ("mini/asr: a variant: other settings" in output) == texts.endswith("variant")
    assert ("--beam" in decode) == ("--decode_args" in changes)


def test_another_language_model_of_the_same_name_makes_decoding_stale(toolkit: Path) -> None:
    words = toolkit / "words.arpa"
    words.touch()
    script = toolkit / "sertoolkit"  # what it is told of all stages, kept
    script.write_text(f'#!/bin/sh\ntee "{toolkit}/plan" | "{sys.executable}" -m sertoolkit "$@"\n')
    given = [f"--decode_args=--beam 2 --lm {words}", "--status"]
    run(MINI, toolkit, *given)
    plan = (toolkit / "plan").read_text().split("\0")
    triples = list(zip(*[iter(plan)] * 3, strict=False))
    assert ("decode", "input", str(words)) in triples
    assert ("decode", "option", f"decode_args=--beam 2 --lm {words}") in triples
