"""A small experiment with systems on two layers, two seeds and three folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.storage.atomic import write_yaml

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def trained(exp: Path, add_member: Callable[..., Path]) -> Path:
    """Folder of the experiment; run 2 of fold 2 errs more than the others."""
    for system in ("baseline-96", "mp-1", "mp-2"):
        for fold in FOLDS:
            add_member(system, fold, 1, wrong=1 if system != "mp-1" else 2)
            add_member(system, fold, 2, wrong=3 if fold == "fold-02" else 1)
    heads = {"baseline-96": ("baseline", []), "mp-1": ("mean_pool", [1]), "mp-2": ("mean_pool", [2])}
    systems = {
        name: {"head": head, "layers": layers, "head_conf": {}} for name, (head, layers) in heads.items()
    }
    write_yaml(exp / "config.yaml", {"systems": systems})
    return exp
