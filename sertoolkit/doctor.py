"""Is this installation complete, and what mends it?"""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from sertoolkit import registry
from sertoolkit.errors import PluginError
from sertoolkit.version import __version__, git_commit

SETUP = "run tools/setup.sh, or install into your environment by pip install -e ."
COMPILE = "install a C++ compiler (Debian: apt install g++), then tools/setup.sh --force"
AUDIO_FORMATS = ("WAV", "FLAC", "OGG", "MP3")
PROGRAMS = ("bash", "awk", "flock")  # what tools/*.sh call and a bare system may lack
FREE_SPACE = 10e9  # bytes; what the environment and two small recipes take


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        state: ``note``: works, but something is limited; ``missing``: something will fail
        subject: what was looked at
        found: what was found
        remedy: what to do, empty where all is well

    """

    state: Literal["ok", "note", "missing"]
    subject: str
    found: str
    remedy: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Look at everything that the toolkit stands on.

    Args:
        folder: where results will be written; its disk is looked at

    Yields:
        findings, each as soon as it is known

    """
    yield Finding("ok", "sertoolkit", f"{__version__}, commit {git_commit()}")
    for check in (_python, _packages, _torch, _audio, _plugins, _demo, _programs):
        yield from _guarded(check)
    yield _disk(folder)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    # A broken package may raise anything when it is imported (OSError for a library, RuntimeError, ...): that
    # is a finding, and the other checks still run.
    try:
        yield from check()
    except Exception as error:
        yield Finding("missing", check.__name__.strip("_"), f"{type(error).__name__}: {error}", SETUP)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if (3, 10) <= tuple(map(int, version.split(".")[:2])) <= (3, 13):
        yield Finding("ok", "python", version)
    else:
        yield Finding(
            "note", "python", version, "tested with 3.10 to 3.13; PYTHON=... tools/setup.sh takes another"
        )


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        stated = [Requirement(text) for text in metadata.requires("sertoolkit") or []]
    except metadata.PackageNotFoundError:
        yield Finding("note", "installation", "the package is imported but not installed", SETUP)
        return
    for requirement in stated:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding("missing", requirement.name, "not installed", SETUP)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Finding("ok", requirement.name, version)
        else:
            wanted = f"{version}, expected {requirement.specifier}"
            yield Finding("missing", requirement.name, wanted, SETUP)


def _torch() -> Iterator[Finding]:
    import torch
    import torchaudio

    from sertoolkit.kernels import cpu

    versions = torch.__version__.split("+")[0], torchaudio.__version__.split("+")[0]
    if versions[0] != versions[1]:
        yield Finding(
            "missing",
            "torchaudio",
            f"{versions[1]} beside torch {versions[0]}",
            "install equal versions: tools/setup.sh",
        )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            yield Finding("ok", "gpu", f"{found.name}, {found.total_memory / 2**30:.0f} GiB")
    else:
        built = "for the CPU only" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
        yield Finding(
            "note", "gpu", f"none in sight (torch is built {built})", "nothing, where the CPU shall do"
        )
    yield Finding("ok", "cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in torch")
    compiled = next(filter(cpu.load, cpu.known_instructions()), None)
    if compiled is None:
        found = "none, or of another version: recurrent layers take 1.7 to 3 times as long"
        yield Finding("note", "compiled steps", found, COMPILE)
    else:
        with_amx = cpu.library(torch.bfloat16) is not None
        yield Finding("ok", "compiled steps", f"for {compiled}{', bfloat16 for amx' * with_amx}")


def _audio() -> Iterator[Finding]:
    import soundfile

    known = soundfile.available_formats()
    lacking = [name for name in AUDIO_FORMATS if name not in known]
    found = f"libsndfile {soundfile.__libsndfile_version__} reads {' '.join(sorted(known))}"
    if lacking:
        yield Finding("note", "audio", found, f"{' '.join(lacking)} cannot be read; pip install -U soundfile")
    else:
        yield Finding("ok", "audio", found)


def _plugins() -> Iterator[Finding]:
    for kind, name, origin in registry.describe():
        place = Path(origin).name  # the report names no folder of the user's
        try:
            registry.get(kind, name)
        except PluginError as error:
            yield Finding("missing", f"{kind} {name}", str(error), "install or mend what it names")
        except Exception as error:  # see _guarded
            yield Finding("missing", f"{kind} {name}", f"{place}: {type(error).__name__}: {error}", SETUP)
        else:
            yield Finding("ok", f"{kind} {name}", place)


def _demo() -> Iterator[Finding]:
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError:
        remedy = 'only the mini recipes need it: pip install -e ".[demo]"'
        yield Finding("note", "espeak-ng", "the package espeakng-loader is not installed", remedy)
        return
    yield Finding("ok", "espeak-ng", metadata.version("espeakng-loader"))
    if not Path(loader.get_library_path()).exists():
        yield Finding(
            "missing",
            "espeak-ng",
            "its library is not where it says",
            "pip install --force-reinstall espeakng-loader",
        )


def _programs() -> Iterator[Finding]:
    for name in PROGRAMS:
        if shutil.which(name) is None:
            yield Finding(
                "missing", name, "not found", f"the recipes need it; Debian: apt install {_package_of(name)}"
            )
    if shutil.which("bash"):
        asked = ["bash", "-c", "echo ${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        if tuple(map(int, version.split("."))) < (4, 4):
            yield Finding("missing", "bash", version, "the recipes need 4.4 or newer")
        else:
            yield Finding("ok", "bash", version)


def _package_of(program: str) -> str:
    return {"awk": "mawk", "flock": "util-linux"}.get(program, program)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < FREE_SPACE:
        remedy = (
            "free some: the environment takes 6 GB, the mini recipe 1, each small one 2, IEMOCAP's about 60"
        )
        return Finding("note", "disk", f"{free / 1e9:.1f} GB free", remedy)
    return Finding("ok", "disk", f"{free / 1e9:.0f} GB free")
