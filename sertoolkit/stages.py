"""Stamps of recipe stages: is what a stage made still what it would make now?

A recipe script describes its stages as a plan: zero-terminated fields ``name, kind, value``, repeated. Kinds:

``stamp``
    the stage's stamp file; comes first
``option``
    ``name=value``, a setting that its result depends on
``input``
    a file or folder that it reads, compared by content
``tree``
    a folder that it reads, compared by the names and sizes of its files: a corpus, too big to read
``output``
    a file or folder that it makes

A stamp holds all of them as they were, with size, modification time and SHA-256 of every file. Content is
read again only where size or time differ, so that asking costs milliseconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sertoolkit.errors import ConfigError, DataError, report_faults
from sertoolkit.storage.atomic import hash_file, write_json
from sertoolkit.version import __version__

Files = dict[str, list[Any]]
"""Path within the stage's input or output -> [size in bytes, modification time in ns, SHA-256]."""


@dataclasses.dataclass
class Stage:
    """One stage of a recipe, as its script describes it."""

    name: str
    stamp: Path
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    inputs: list[Path] = dataclasses.field(default_factory=list)
    trees: list[Path] = dataclasses.field(default_factory=list)
    outputs: list[Path] = dataclasses.field(default_factory=list)

    @property
    def started(self) -> Path:
        """The record of a stage that has not finished: its stamp without the outputs."""
        return self.stamp.with_name(f"{self.stamp.name}.started")


def read_plan(data: bytes) -> list[Stage]:
    """The stages of a plan, in its order.

    Args:
        data: zero-terminated triples as the module describes them

    Raises:
        ConfigError: if it is no such plan

    """
    try:
        fields = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
        stages: dict[str, Stage] = {}
        for name, kind, value in zip(*[iter(fields)] * 3, strict=True):
            if kind == "stamp":
                stages[name] = Stage(name, Path(value))
            elif kind == "option":
                key, _, setting = value.partition("=")
                stages[name].options[key] = setting
            else:
                {"input": stages[name].inputs, "tree": stages[name].trees, "output": stages[name].outputs}[
                    kind
                ].append(Path(value))
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"stdin is no plan of stages ({error!r}): expected name, kind, value, ..., from tools/stages.sh"
        ) from None
    return list(stages.values())


class Stamps:
    """The stamps of a recipe.

    Args:
        stages: all stages; a file that one made and another reads is hashed once

    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._hashes: dict[tuple[str, int, int], str] = {}
        for stage in self._stages.values():
            record = _read(stage.stamp)
            for root, files in [*record.get("inputs", {}).items(), *record.get("outputs", {}).items()]:
                for name, (size, time, digest) in files.items():
                    self._hashes[_absolute(stage, root, name), size, time] = digest

    def state(self, name: str) -> tuple[str, str]:
        """Whether a stage is up to date.

        Args:
            name: of the stage

        Returns:
            ``"done"``, ``"stale"`` or ``"open"`` (not run to its end yet), and for the latter two the reason

        """
        stage = self._stages[name]
        record = _read(stage.stamp)
        if not record:
            return "open", "was not finished" if stage.started.exists() else "has not run"
        reason = next(self._differences(stage, record), "")
        return ("stale", reason) if reason else ("done", "")

    def start(self, name: str) -> None:
        """Take the stamp away and note what the stage is about to read.

        Raises:
            DataError: if something that it reads is missing

        """
        stage = self._stages[name]
        missing = [path for path in stage.inputs + stage.trees if not path.exists()]
        report_faults(
            f"stage {name} cannot start",
            [f"{path} is missing; {self._maker(path)}" for path in missing],
            DataError,
        )
        stage.stamp.unlink(missing_ok=True)
        write_json(stage.started, self._reads(stage))

    def finish(self, name: str) -> None:
        """Write the stamp of a stage that has run.

        Raises:
            DataError: if something that it should have made is missing, or it was not started

        """
        stage = self._stages[name]
        record = _read(stage.started)
        faults = [f"{path} was not made" for path in stage.outputs if not path.exists()]
        if not record:
            faults.append(f"{stage.started} is missing; was the stage started?")
        report_faults(f"stage {name} ended without an error, but", faults, DataError)
        record["outputs"] = {_relative(stage, path): self._files(path) for path in stage.outputs}
        write_json(stage.stamp, record)
        stage.started.unlink(missing_ok=True)

    def _maker(self, path: Path) -> str:
        for stage in self._stages.values():
            if any(path == output or output in path.parents for output in stage.outputs):
                return f"stage {stage.name} makes it"
        return "no stage makes it: check the options"

    def _reads(self, stage: Stage) -> dict[str, Any]:
        return {
            "version": __version__,
            "options": stage.options,
            "inputs": {_relative(stage, path): self._files(path) for path in stage.inputs},
            "trees": {_relative(stage, path): _tree(path) for path in stage.trees},
        }

    def _differences(self, stage: Stage, record: dict[str, Any]) -> Iterator[str]:
        if record["version"] != __version__:
            yield f"made by sertoolkit {record['version']}, this is {__version__}"
        for key in sorted(record["options"].keys() | stage.options.keys()):
            old, new = record["options"].get(key), stage.options.get(key)
            if old != new:
                yield f"option {key} was {old!r}, is {new!r}"
        for role, paths in (("input", stage.inputs), ("output", stage.outputs)):
            if set(record[f"{role}s"]) != {_relative(stage, path) for path in paths}:
                yield f"has other {role}s now"
            for path in paths:
                old = record[f"{role}s"].get(_relative(stage, path))
                if not path.exists():
                    yield f"{role} {path} is missing"
                elif old is not None:
                    yield from self._changes(role, path, old)
        # A corpus that is not there is no difference: what was made of it can do without it.
        for path in filter(Path.exists, stage.trees):
            if record["trees"].get(_relative(stage, path)) != _tree(path):
                yield f"the corpus {path} is another one or has changed"

    def _changes(self, role: str, path: Path, old: Files) -> Iterator[str]:
        new = self._files(path)
        for name in sorted(old.keys() | new.keys()):
            place = path / name if name else path
            if name not in new:
                yield f"{role} {place} is missing"
            elif name not in old:
                yield f"{role} {place} is new"
            elif old[name][2] != new[name][2]:
                yield f"{role} {place} has changed"

    def _files(self, path: Path) -> Files:
        files = {}
        for file in _walk(path):
            found = file.stat()
            key = str(file.absolute()), found.st_size, found.st_mtime_ns
            if key not in self._hashes:
                self._hashes[key] = hash_file(file)
            name = "" if file == path else str(file.relative_to(path))
            files[name] = [found.st_size, found.st_mtime_ns, self._hashes[key]]
        return files


def _walk(path: Path) -> Iterator[Path]:
    """A file itself, or all files below a folder but hidden ones and Python's caches, sorted."""
    if path.is_file():
        yield path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__")))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _tree(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _walk(path):
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """A record, or nothing where there is none that this version understands."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if isinstance(record, dict) and "version" in record else {}
    except (FileNotFoundError, ValueError):
        return {}


# Relative to the stamp, so that a recipe folder may be moved.
def _relative(stage: Stage, path: Path) -> str:
    return os.path.relpath(path, stage.stamp.parent)


def _absolute(stage: Stage, root: str, name: str) -> str:
    return os.path.abspath(stage.stamp.parent / root / name)
