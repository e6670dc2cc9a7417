"""Options of the recipes: tools/parse_options.sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
set -euo pipefail
. "$ROOT/tools/parse_options.sh"
usage="probe: shows what options hold."
option stage "" "first stage"
option nj:count 2 "processes"
option value "" "called as a variable of the parser"
option seed:int 1 "seed"
option dry_run:flag false "show only"
option asr_tag:tag "" "name of the experiment"
option asr_config:path /conf/asr.yaml "configuration"
parse_options "$@"
for name in "${option_names[@]}"; do printf '%s=%s\\0' "$name" "${!name}"; done
"""
DEFAULTS = {
    "stage": "", "nj": "2", "value": "", "seed": "1", "dry_run": "false", "asr_tag": "",
    "asr_config": "/conf/asr.yaml",
}  # fmt: skip


def parse(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", SCRIPT, "probe.sh", *arguments],
        env={"ROOT": str(ROOT), "PATH": "/usr/bin:/bin"}, cwd=cwd, capture_output=True, text=True, timeout=10,
    )  # fmt: skip


def values(*arguments: str, cwd: Path = ROOT) -> dict[str, str]:
    done = parse(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return dict(field.split("=", 1) for field in done.stdout.split("\0")[:-1])


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ([], {}),
        (["--asr_tag="], {}),
        (["--stage", ""], {}),
        (["--stage", "-1"], {"stage": "-1"}),
        (["--seed", "-3"], {"seed": "-3"}),
        (["--nj", "8"], {"nj": "8"}),
        (["--nj=8"], {"nj": "8"}),
        (["--value", "x", "--nj", "8"], {"value": "x", "nj": "8"}),
        (["--asr-tag", "small"], {"asr_tag": "small"}),
        (["--asr-tag=small"], {"asr_tag": "small"}),
        (["--stage=a=b"], {"stage": "a=b"}),
        (["--stage=--nj"], {"stage": "--nj"}),
        (["--stage", "--minutes 1 --seed 2"], {"stage": "--minutes 1 --seed 2"}),
        (["--stage", "--resample"], {"stage": "--resample"}),
        (["--dry-run"], {"dry_run": "true"}),
        (["--dry_run", "--nj", "3"], {"dry_run": "true", "nj": "3"}),
        (["--dry_run", "false"], {"dry_run": "false"}),
        (["--dry_run=true"], {"dry_run": "true"}),
        (["--nj", "3", "--nj", "4"], {"nj": "4"}),
        (["--asr_config", "/x/y.yaml"], {"asr_config": "/x/y.yaml"}),
        (["--stage", "a b  c"], {"stage": "a b  c"}),
        (["--stage", "größe"], {"stage": "größe"}),
        (["--nj", "3", "--", "--nj", "4"], {"nj": "4"}),
        (["--nj", "3", "--value=x", "--"], {"nj": "3", "value": "x"}),
    ],
)
def test_an_option_takes_its_value_in_every_spelling(arguments: list[str], changed: dict[str, str]) -> None:
    assert values(*arguments) == {**DEFAULTS, **changed}


def test_a_relative_path_is_taken_from_where_the_user_stands(tmp_path: Path) -> None:
    assert values("--asr_config", "my/asr.yaml", cwd=tmp_path)["asr_config"] == f"{tmp_path}/my/asr.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nj", "0"], "--nj 0: expected a whole number from 1"),
        (["--nj", "-2"], "--nj -2: expected a whole number from 1"),
        (["--nj", ""], "--nj '': expected"),
        (["--nj", "08"], "--nj 08: expected"),
        (["--seed", "abc"], "--seed abc: expected a whole number"),
        (["--seed", "1e3"], "--seed 1e3: expected"),
        (["--dry_run=yes"], "--dry_run yes: expected true or false"),
        (["--nj"], "--nj needs a value"),
        (["--stage", "--nj", "3"], "--stage needs a value"),
        (["--stage", "--nj=3"], "--stage needs a value"),
        (["--stage", "--dry-run"], "--stage needs a value"),
        (["--asr_conf", "x"], "unknown option --asr_conf; did you mean --asr_config?"),
        (["--njobs=3"], "unknown option --njobs"),
        (["--ROOT", "/x"], "unknown option --ROOT"),
        (["--PATH=/x"], "unknown option --PATH"),
        (["--option_type", "x"], "unknown option --option_type"),
        (["--9"], "unknown option --9"),
        (["stray"], "stray word stray"),
        (["-x"], "stray word -x"),
        (["--", "--"], "stray word --"),
        ([""], "stray word ''"),
        (["--asr_config", ""], "--asr_config '': expected a path"),
        (["--asr_tag", ".."], "--asr_tag ..: expected a name"),
        (["--asr_tag", "../../x"], "--asr_tag ../../x: expected a name"),
        (["--asr_tag", "/etc"], "--asr_tag /etc: expected a name"),
        (["--asr_tag", "a" * 101], f"--asr_tag {'a' * 101}: expected a name"),
        (["--asr_tag=-rf"], "--asr_tag -rf: expected a name"),
        (["--stage", "1\n2"], "--stage $'1\\n2': expected no line break"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named_and_ends_with_2(arguments: list[str], message: str) -> None:
    done = parse(*arguments)
    assert done.returncode == 2
    assert f"probe.sh: error: {message}" in done.stderr
    assert done.stdout == ""


def test_all_faults_are_named_at_once() -> None:
    faults = parse("--nj", "0", "--stge", "1", "stray").stderr
    assert faults.count("error:") == 3
    assert "did you mean --stage?" in faults


@pytest.mark.parametrize("option", ["--stage", "--asr_tag", "--nj", "--asr_config", "--dry_run", "--x"])
@pytest.mark.parametrize(
    "value",
    ["$(touch sentinel)", "`touch sentinel`", "; touch sentinel", "x[$(touch sentinel)]", "0 || touch x"],
)
@pytest.mark.parametrize("form", ["separate", "joined", "as name"])
def test_a_value_is_never_evaluated(option: str, value: str, form: str, tmp_path: Path) -> None:
    forms = {"separate": [option, value], "joined": [f"{option}={value}"], "as name": [f"--{value}", "1"]}
    words = forms[form]
    done = parse(*words, cwd=tmp_path)
    assert done.returncode == 2 or value in done.stdout
    assert not list(tmp_path.iterdir())


def test_settings_of_the_recipe_before_a_double_dash_are_the_defaults_that_help_shows() -> None:
    text = parse("--nj", "3", "--value=x", "--", "--nj", "4", "--help").stdout
    assert "processes [3]" in text
    assert "called as a variable of the parser [x]" in text


def test_help_names_every_option_with_its_default() -> None:
    done = parse("--help")
    assert done.returncode == 0
    assert "probe: shows what options hold." in done.stdout
    assert "--nj <count>" in done.stdout and "processes [2]" in done.stdout
    assert "--dry_run " in done.stdout
