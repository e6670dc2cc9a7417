"""Loads the local scripts of recipes, which are no package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EGS = Path(__file__).parents[2] / "egs"


@pytest.fixture
def local_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a script such as ``emodb/ser/local/emodb`` as Python starts it, its folder first."""

    def load(name: str) -> ModuleType:
        path = EGS / name
        monkeypatch.syspath_prepend(str(path.parent))
        return importlib.import_module(path.name)

    yield load
    # A later test may load a script of the same name from another recipe.
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(EGS)):
            del sys.modules[name]


@pytest.fixture
def make_files(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Write text files (empty ones stand for audio) below a folder and return it."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "corpus"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("latin-1"))
        return root

    return make
