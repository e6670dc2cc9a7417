"""Version of the toolkit, and the environment that a result was made in."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

__version__ = "0.1.0"

PACKAGES = (
    "torch",
    "torchaudio",
    "numpy",
    "scipy",
    "kaldiio",
    "soundfile",
    "python-stretch",
    "opensmile",
    "sentencepiece",
    "scikit-learn",
    "safetensors",
)


def git_commit() -> str:
    """Short commit of the checkout the package runs from, with ``+`` if it was changed; or ``unknown``."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "unknown"

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (commit + ("+" if changed else "")) or "unknown"


def processor() -> str:
    """Name of the processor, which times depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def environment() -> dict[str, str]:
    """Versions that a result depends on; no host name, user or path."""
    versions = {"sertoolkit": __version__, "commit": git_commit(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    versions["machine"] = f"{platform.system()} {platform.machine()}"
    return versions
