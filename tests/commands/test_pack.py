"""``sertoolkit pack``, ``analyse`` and ``report``: which member is packed, and whose plugins are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit import registry
from sertoolkit.cli import main
from sertoolkit.config import load_yaml
from sertoolkit.errors import ConfigError
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.storage.atomic import write_yaml
from sertoolkit.storage.tensors import save_tensors

PLUGIN = """
from sertoolkit.heads.baseline import Baseline
from sertoolkit.registry import register

@register("head", "own")
class Own(Baseline): ...
"""


@pytest.fixture
def members(exp: Path, add_member: Callable[..., Path]) -> Path:
    """Two folds and two runs of a system; the later, the better by validation."""
    for number, (fold, seed) in enumerate((f, s) for f in ("fold-01", "fold-02") for s in (1, 2)):
        path = add_member("own-8", fold, seed) / "member.yaml"
        write_yaml(path, load_yaml(path) | {"valid_loss": 4.0 - number})
    return exp


@pytest.mark.parametrize(
    ("folds", "seeds", "place"),
    [
        (None, None, "fold-02/seed-2"),
        (["fold-01"], None, "fold-01/seed-2"),
        (None, [1], "fold-02/seed-1"),
        (["fold-01"], [1, 3], "fold-01/seed-1"),
    ],
)
def test_the_best_member_is_looked_for_among_the_folds_and_seeds_of_the_run(
    members: Path, folds: list[str] | None, seeds: list[int] | None, place: str
) -> None:
    assert best_member(members, "own-8", folds=folds, seeds=seeds) == members / "own-8" / place


def test_no_member_of_the_folds_and_seeds_is_an_error(members: Path) -> None:
    with pytest.raises(ConfigError, match="no finished member of system 'own-8' in the folds and seeds"):
        best_member(members, "own-8", seeds=[10])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """conf/ser.yaml with a plugin beside it; no plugin of another test is known."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_files", [])
    (tmp_path / "own.py").write_text(PLUGIN)
    (tmp_path / "ser.yaml").write_text("systems: {own-8: {head: own}}\nplugins: [own.py]\n")
    return tmp_path / "ser.yaml"


def test_a_head_of_the_yamls_plugins_is_packed(
    members: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = {"head": "own", "layers": [], "head_conf": {"units": 8}}
    registry.load_plugin(config.with_name("own.py"))
    head_class = registry.get("head", "own")
    head = head_class(head_class.Config(units=8), layer_dims=[], side_dim=3, num_classes=2)
    meta = {"system": system, "layer_dims": [], "side_dim": 3, "classes": ["anger", "sadness"], "side": None}
    save_tensors(
        members / "own-8/fold-01/seed-1/model.safetensors",
        head.state_dict(),
        meta | {"hashes": {"encoder": None}},
    )
    registry._registered.clear()
    registry._files.clear()
    options = ["--ser_exp", str(members), "--system", "own-8", "--folds", "fold-01", "--seeds", "1"]
    options += ["--out", str(tmp_path / "ser.safetensors")]

    assert main(["pack", *options]) == 2
    assert "unknown head 'own'" in capsys.readouterr().err  # nothing is imported because a file names it
    assert main(["pack", *options, "--ser_config", str(config)]) == 0
    assert isinstance(EmotionModel.load(tmp_path / "ser.safetensors").head, registry.get("head", "own"))


@pytest.mark.parametrize("command", [["analyse"], ["report", "--out", "none.md"]])
def test_analyse_and_report_know_the_yamls_plugins(
    command: list[str], members: Path, config: Path, tmp_path: Path
) -> None:
    options = ["--exp", str(members), "--protocol_dir", str(tmp_path / "none"), "--ser_config", str(config)]
    assert main([*command, *options]) == 1  # of no protocol, which it reads afterwards
    assert "own" in registry.names("head")
