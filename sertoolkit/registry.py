"""Plugins by kind and name, behind three doors.

Built-ins stand in a table and are imported when chosen; installed packages announce theirs by entry points
(``sertoolkit.heads`` and so on); one's own file comes by ``--plugin file.py`` or ``plugins:`` in YAML and uses
:func:`register`. A checkpoint or bundle can only name what is built in, installed, or given so: it brings no code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from sertoolkit.errors import PluginError, suggest

BASES = {
    "frontend": "sertoolkit.features.base:Frontend",
    "encoder": "sertoolkit.encoders.base:Encoder",
    "head": "sertoolkit.heads.base:Head",
}
KINDS = tuple(BASES)

BUILT_IN: dict[str, dict[str, str]] = {
    "frontend": {
        "power_spectrogram": "sertoolkit.features.power_spectrogram:PowerSpectrogram",
        "mfcc_pitch": "sertoolkit.features.mfcc_pitch:MfccPitch",
    },
    "encoder": {"ds2": "sertoolkit.encoders.ds2:DS2"},
    "head": {
        "baseline": "sertoolkit.heads.baseline:Baseline",
        "mean_pool": "sertoolkit.heads.mean_pool:MeanPool",
        "rnn": "sertoolkit.heads.rnn:RNN",
        "progressive": "sertoolkit.heads.progressive:Progressive",
        "words": "sertoolkit.heads.words:Words",
        "words_progressive": "sertoolkit.heads.words:WordsProgressive",
        "joint": "sertoolkit.heads.joint:Joint",
        "unfreeze": "sertoolkit.heads.unfreeze:Unfreeze",
        "unfreeze_progressive": "sertoolkit.heads.unfreeze:UnfreezeProgressive",
    },
}

_FILE_MODULE = "sertoolkit_plugin_"  # what modules of plugin files are called

_registered: dict[tuple[str, str], tuple[type, str]] = {}
_files: list[Path] = []


def register(kind: str, name: str) -> Callable[[type], type]:
    """Class decorator that makes a class known as ``name``.

    Raises:
        PluginError: if the kind is unknown, or the name belongs to another class already

    Examples:
        >>> @register("head", "my_head")
        ... class MyHead: ...

    """
    _check_kind(kind)

    def decorate(cls: type) -> type:
        module = sys.modules.get(cls.__module__)
        is_file = cls.__module__.startswith(_FILE_MODULE) and module is not None
        origin = f"{module.__file__ if is_file else cls.__module__}:{cls.__qualname__}"
        others = [other for other in _sources(kind).get(name, []) if other != origin]
        if others:
            raise PluginError(f"{kind} {name!r} is defined twice: by {others[0]} and by {origin}; rename one")
        _registered[kind, name] = (cls, origin)
        return cls

    return decorate


def names(kind: str) -> list[str]:
    """All known names of a kind, sorted; nothing is imported."""
    _check_kind(kind)
    return sorted(_sources(kind))


def get(kind: str, name: str) -> Any:
    """The class of a plugin; imports it if need be.

    Raises:
        PluginError: if the name is unknown or ambiguous, its module cannot be imported, or the class does not
            keep the contract of its kind

    """
    _check_kind(kind)
    sources = _sources(kind)
    if name not in sources:
        raise PluginError(
            f"unknown {kind} {name!r}{suggest(name, sources)} (known: {', '.join(sorted(sources))}); "
            "an own one comes by --plugin file.py or by an installed package"
        )
    if len(sources[name]) > 1:
        raise PluginError(
            f"{kind} {name!r} is defined twice: by {' and by '.join(sources[name])}; remove one"
        )
    if (kind, name) in _registered:
        return _checked(kind, name, _registered[kind, name][0])
    return _checked(kind, name, _import(kind, name, sources[name][0]))


def load_plugin(path: str | Path) -> None:
    """Run a plugin file of the user's own, once.

    Raises:
        PluginError: if the file is missing, fails, or lacks a package that it imports

    """
    path = Path(path).resolve()
    if not path.is_file():
        raise PluginError(f"{path}: no such plugin file")
    module_name = f"{_FILE_MODULE}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if path in _files:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    known = set(_registered)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        for key in set(_registered) - known:
            del _registered[key]
        if isinstance(error, PluginError):
            raise
        raise PluginError(f"{path}: {type(error).__name__}: {error}") from error
    _files.append(path)


def plugin_files() -> list[Path]:
    """Files that were loaded; a worker process loads them too."""
    return list(_files)


def describe() -> list[tuple[str, str, str]]:
    """Rows (kind, name, where it comes from) of every known plugin."""
    return [(kind, name, " and ".join(_sources(kind)[name])) for kind in KINDS for name in names(kind)]


def _checked(kind: str, name: str, cls: Any) -> Any:
    base = _import(kind, name, BASES[kind])
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(f"{kind} {name!r}: {cls!r} is not a subclass of {BASES[kind].replace(':', '.')}")
    if not dataclasses.is_dataclass(getattr(cls, "Config", None)):
        raise PluginError(f"{kind} {name!r}: {cls.__name__} has no `Config`, the dataclass of its settings")
    return cls


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(
            f"unknown kind of plugin {kind!r}{suggest(kind, KINDS)} (known: {', '.join(KINDS)})"
        )


def _entry_points(kind: str) -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=f"sertoolkit.{kind}s"))


def _sources(kind: str) -> dict[str, list[str]]:
    """Where each name of a kind comes from; more than one origin is an error once it is chosen."""
    sources = {name: [target] for name, target in BUILT_IN[kind].items()}
    found = [(point.name, point.value) for point in _entry_points(kind)]
    found += [(name, origin) for (its_kind, name), (_, origin) in _registered.items() if its_kind == kind]
    for name, origin in found:
        if origin not in sources.setdefault(name, []):  # a listed class may also register itself
            sources[name].append(origin)
    return sources


def _import(kind: str, name: str, target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        missing = "the plugin itself" if error.name == module_name else f"the package {error.name!r} it needs"
        raise PluginError(f"{kind} {name!r} ({target}): {missing} is not installed") from error
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{kind} {name!r} ({target}): {error}") from error
