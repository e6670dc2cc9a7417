"""The command `check-recipe`: every fault of a recipe's settings, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sertoolkit import registry
from sertoolkit.cli import main
from sertoolkit.storage.tensors import save_tensors

SYSTEMS = """
systems:
  baseline-8: {head: baseline, head_conf: {units: 8}}
  mp-1: {head: mean_pool, layers: [1]}
  rnn-3: {head: rnn, layers: [3], head_conf: {units: 8}}
"""
PROTOCOL = "{name: two, version: 1, classes: [glad, sad], labels: {joy: glad, grief: sad}}"
PLUGIN = """
from sertoolkit.heads.mean_pool import MeanPool
from sertoolkit.registry import register

@register("head", "own")
class Own(MeanPool): ...
"""


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_files", [])


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Checks conf/ser.yaml with these options; lines of faults, or of the answer where there is none."""
    (tmp_path / "ser.yaml").write_text(SYSTEMS)

    def run(*options: object, config: str = "ser") -> list[str]:
        given = [f"--{config}_config", tmp_path / f"{config}.yaml"]
        code = main(["check-recipe", *map(str, given), *map(str, options)])
        output = capsys.readouterr()
        assert code == (2 if output.err else 0)
        assert not (output.out and output.err)
        return (output.err or output.out).splitlines()

    return run


@pytest.fixture
def recogniser(tmp_path: Path) -> Path:
    """The file of a recogniser with two layers; its weights do not matter here."""
    path = tmp_path / "asr" / "model.safetensors"
    path.parent.mkdir()
    conf = {"conv_channels": 2, "hidden_size": 4, "num_layers": 2}
    meta = {"kind": "asr", "encoder": "ds2", "encoder_conf": conf, "frontend": "power_spectrogram"}
    save_tensors(path, {}, meta)
    return path


def test_right_settings_name_the_systems_that_read_layers(check, recogniser: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(PROTOCOL)
    options = {
        "systems": "baseline-8 mp-1",
        "folds": "fold-01 fold-10",
        "seeds": "0 12",
        "protocol": tmp_path / "two.yaml",
        "asr_exp": recogniser.parent,
        "side_frontend": "mfcc_pitch",
        "asr_frontend": "power_spectrogram",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert check(*words) == ["systems that read layers of a recogniser: mp-1"]
    assert check("--systems", "baseline-8") == ["systems that read layers of a recogniser: none"]


def test_all_faults_are_named_at_once_one_a_line(check, recogniser: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(PROTOCOL.replace("grief: sad", "grief: bad"))
    options = {
        "systems": "rnn-3 basline-8",
        "set": "systems.rnn-3.head_conf.unit=3",
        "folds": "fold-1",
        "seeds": "1 x",
        "protocol": tmp_path / "two.yaml",
        "plugin": tmp_path / "own.py",
        "asr_exp": recogniser,
        "side_frontend": "mfcc_pich",
        "asr_frontend": "mfcc_pitch",
        "token_type": "chr",
    }
    faults = check(*(word for name, value in options.items() for word in (f"--{name}", value)))
    expected = [
        f"plugin: {tmp_path}/own.py: no such plugin file",
        "--folds: 'fold-1': expected all, or names such as fold-01",
        "--seeds: 'x': expected a whole number",
        "unknown class 'bad'; did you mean 'sad'?",
        "--side_frontend: unknown frontend 'mfcc_pich'; did you mean 'mfcc_pitch'?",
        "--token_type 'chr': expected one of char, bpe, unigram; did you mean 'char'?",
        "system rnn-3: head_conf: unknown key 'unit'; did you mean 'units'?",
        "unknown system 'basline-8'; did you mean 'baseline-8'?",
        f"the recogniser {recogniser} reads features of 'power_spectrogram', the recipe makes 'mfcc_pitch'",
        f"system rnn-3: layer 3: the encoder of {recogniser} has layers 1 to 2",
    ]
    assert len(faults) == len(expected)
    for fault, text in zip(faults, expected, strict=True):
        assert text in fault


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("systems", "mp-1,rnn-3", "names are separated by blanks: --systems 'mp-1 rnn-3'"),
        ("systems", "mp-1 mp-1", "--systems: 'mp-1' stands there twice"),
        ("systems", "", "--systems '': expected at least one name"),
        ("folds", "fold-01,fold-02", "names are separated by blanks: --folds 'fold-01 fold-02'"),
        ("folds", "all fold-01", "'all' stands alone"),
        ("folds", "1", "--folds: '1': expected all, or names such as fold-01"),
        ("seeds", "1 2 1", "--seeds: '1' stands there twice"),
        ("seeds", "-1", "--seeds: '-1': expected a whole number"),
        ("seeds", "01", "--seeds: '01': expected a whole number"),
        ("seeds", "1.5", "--seeds: '1.5': expected a whole number"),
        ("set", "training.learning_rate=-1", "learning_rate must be above 0"),
        ("set", "systems.mp-1.training.patienc=2", "training of mp-1: unknown key 'patienc'"),
        (
            "set",
            "systems.mp-1.head=mean_pol",
            "system mp-1: unknown head 'mean_pol'; did you mean 'mean_pool'?",
        ),
        ("set", "systems.mp-1.layers=[]", "system mp-1: head 'mean_pool' reads encoder layers: name them"),
        ("set", "systems.baseline-8.head_conf.units=0", "system baseline-8: head_conf: baseline: units is 0"),
        ("set", "plugins=[lost.py]", "lost.py: no such plugin file"),
    ],
)
def test_a_wrong_setting_is_named(check, option: str, value: str, message: str) -> None:
    faults = [
        line for line in check(f"--{option}={value}", "--asr_recipe=x", "--asr_exp=/none") if message in line
    ]
    assert len(faults) == 1


def test_folds_are_compared_with_those_of_the_protocol_where_it_is_made(check, exp: Path) -> None:
    options = ("--protocol_dir", exp / "protocol", "--systems", "baseline-8", "--folds")
    assert check(*options, "fold-01 fold-03") == ["systems that read layers of a recogniser: none"]
    (fault,) = check(*options, "fold-01 fold-04")
    assert fault.startswith("--folds: unknown fold 'fold-04'; did you mean 'fold-0")
    assert fault.endswith("(known: fold-01, fold-02, fold-03)")


def test_a_plugin_is_loaded_by_option_and_by_yaml(check, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLUGIN)
    own = (
        "--set",
        "systems.own-1={head: own, layers: [1]}",
        "--systems",
        "own-1",
        "--asr_recipe=x",
        "--asr_exp=/none",
    )
    assert "unknown head 'own'" in check(*own)[0]
    answer = ["systems that read layers of a recogniser: own-1"]
    assert check(*own, "--plugin", tmp_path / "own.py") == answer


def test_plugins_of_the_yaml_stand_beside_it(check, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLUGIN)
    own = (
        "--set",
        "systems.own-1={head: own, layers: [1]}",
        "--systems",
        "own-1",
        "--asr_recipe=x",
        "--asr_exp=/none",
    )
    assert check(*own, "--set", "plugins=[own.py]") == ["systems that read layers of a recogniser: own-1"]


def test_a_broken_plugin_is_a_fault_among_others(check, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import no_such_package")
    faults = check("--plugin", tmp_path / "own.py", "--systems", "baseline-8", "--seeds", "x")
    assert len(faults) == 2
    assert "no_such_package" in faults[0]


def test_a_recogniser_must_be_named_and_there_unless_a_recipe_makes_it(check, tmp_path: Path) -> None:
    assert "rnn-3 read layers of a recogniser: name it by --asr_exp" in check("--systems", "rnn-3")[0]
    missing = ("--systems", "rnn-3", "--asr_exp", tmp_path / "none")
    assert f"--asr_exp {tmp_path}/none: no recogniser there" in check(*missing)[0]
    assert check(*missing, "--asr_recipe", tmp_path) == ["systems that read layers of a recogniser: rnn-3"]
    (tmp_path / "empty.safetensors").touch()
    assert "empty.safetensors: damaged" in check("--asr_exp", tmp_path / "empty.safetensors")[0]


@pytest.mark.parametrize("recipe", ["english_small", "librispeech_tedlium_voxforge"])
def test_the_recipe_that_makes_a_missing_recogniser_is_named(check, tmp_path: Path, recipe: str) -> None:
    egs = Path(__file__).resolve().parents[2] / "egs"
    (fault,) = check(
        "--systems", "rnn-3", "--asr_exp", f"{egs}/mini/../{recipe}/asr/exp/asr_none/asr.safetensors"
    )
    assert fault.endswith(f"no recogniser there; egs/{recipe}/asr/run.sh makes one")
    (fault,) = check("--systems", "rnn-3", "--asr_exp", tmp_path / "asr" / "exp" / "asr")
    assert fault.endswith("no recogniser there; an asr recipe makes one")


def test_the_settings_of_a_recogniser_are_checked(check, tmp_path: Path) -> None:
    (tmp_path / "asr.yaml").write_text("encoder: ds2\nencoder_conf: {hidden_size: 4, num_layers: 2}\n")
    right = ("--asr_frontend", "power_spectrogram", "--token_type", "char")
    assert check(*right, config="asr") == ["no fault found"]
    for option, message in {
        "--set=encoder=ds": "unknown encoder 'ds'",
        "--set=encoder_conf.hiden_size=3": "encoder_conf: unknown key 'hiden_size'; did you mean 'hidden_size'?",
        "--set=training.optimiser=adm": "'adm' is not one of sgd, adam, adamw",
        "--asr_frontend=mfcc_pitch": "encoder 'ds2' reads features of 'power_spectrogram', the recipe makes 'mfcc_pitch'",
    }.items():
        faults = check(option, config="asr")
        assert len(faults) == 1
        assert message in faults[0]


def test_a_missing_configuration_is_a_fault(check, tmp_path: Path) -> None:
    (tmp_path / "ser.yaml").unlink()
    assert check() == [f"{tmp_path}/ser.yaml: no such configuration file"]


def test_an_encoder_of_the_papers_size_is_asked_without_memory_for_its_weights() -> None:
    from sertoolkit.preflight import _build

    encoder = _build("ds2", {})
    assert encoder.layer_dims == [2000] * 5
    assert all(parameter.is_meta for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("feats", "fault"), [("ark", "augment: in the configuration needs"), ("on_the_fly", "")]
)
def test_stored_features_cannot_be_augmented(check, tmp_path: Path, feats: str, fault: str) -> None:
    (tmp_path / "asr.yaml").write_text("augment: {tempo: [0.9, 1.1]}")
    (line,) = check("--feats", feats, config="asr")
    assert line.startswith(fault or "no fault found")


@pytest.mark.parametrize(
    ("found", "wanted", "fault"),
    [
        (
            0,
            1,
            "--ngpu 1: PyTorch finds no CUDA GPU here (`sertoolkit doctor` says more); leave it out for the CPU",
        ),
        (
            1,
            4,
            "--ngpu 4: PyTorch finds 1 CUDA GPU here (`sertoolkit doctor` says more); give at most 1, or leave",
        ),
        (4, 4, ""),
        (0, 0, ""),
    ],
)
def test_gpus_are_counted(
    check, monkeypatch: pytest.MonkeyPatch, found: int, wanted: int, fault: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    (line,) = check("--systems", "baseline-8", "--ngpu", wanted)
    assert line.startswith(fault or "systems that read layers")


def test_options_that_are_handed_on_are_checked_by_the_command_that_gets_them(
    check: Callable[..., list[str]], tmp_path: Path
) -> None:
    table = tmp_path / "svm.tsv"
    wrong = [
        f"--score_args=--metric uar --predictions svm={table}",
        "--analyse_args=--num_utts many",
        "--report_args=--player",
    ]

    own = ("--systems", "baseline-8")
    assert check(*own, *wrong) == [
        f"--score_args: --predictions svm={table}: no such file",
        "--analyse_args: argument --num_utts: invalid int value: 'many'",
        "--report_args: unknown option '--player'; did you mean '--players'?",
    ]
    table.touch()
    right = [wrong[0], "--analyse_args=--num_utts 90", "--report_args=--players"]
    assert check(*own, *right) == ["systems that read layers of a recogniser: none"]


def test_options_that_the_recipe_gives_itself_are_not_handed_on(check: Callable[..., list[str]]) -> None:
    wrong = ["--score_args=--seeds 9", "--analyse_args=--out else", "--report_args=--metric accuracy"]

    assert check("--systems", "baseline-8", *wrong) == [
        "--score_args: --seeds is given by the recipe; use the recipe's own options",
        "--analyse_args: --out is given by the recipe; use the recipe's own options",
        "--report_args: --metric would differ from the table; give it by --score_args",
    ]
