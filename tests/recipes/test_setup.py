"""tools/setup.sh: which Python it takes, when it does its work anew, what it says; nothing is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Stands for a Python: answers what setup.sh asks, and makes environments that note what pip was asked for.
FAKE = """#!/bin/sh
case "$*" in
  *"ensurepip; sys.exit"*) exit @FITS@ ;;
  *"sys.version_info[:3]"*) echo @VERSION@ ;;
  *"import venv, ensurepip"*) exit @VENV@ ;;
  *"sys._base_executable"*) echo "$0" ;;
  *"sys.base_prefix, sys.version"*) echo "$0 @VERSION@" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$(dirname "$0")/pip" "$3/bin/pip" ;;
  --version) echo "Python @VERSION@" ;;
  *"import torch"*) exit 0 ;;
esac
"""
PIP = r"""#!/bin/sh
echo "pip $*" >>"$LOG"
uv=$(dirname "$0")/uv
case "$*" in
  "config list") printf "%s\n" ":env:.cert='/ca.pem'" "global.extra-index-url='file:///a file:///b'" ;;
  *" uv")
    if [ "$UV_WORKS" = missing ]; then exit 1; fi
    echo '#!/bin/sh' >"$uv"
    echo 'echo "uv index=$UV_INDEX cert=$SSL_CERT_FILE $*" >>"$LOG"; [ "$UV_WORKS" = yes ]' >>"$uv"
    chmod +x "$uv"
    ;;
esac
"""
# All that setup.sh may call besides a Python.
PROGRAMS = [
    "bash",
    "sh",
    "cat",
    "sed",
    "tail",
    "xargs",
    "cksum",
    "flock",
    "rm",
    "mkdir",
    "cp",
    "dirname",
    "chmod",
]
PROGRAMS += ["cut", "echo"]


def add_python(folder: Path, name: str, version: str, *, fits: bool = True, venv: bool = True) -> None:
    text = FAKE.replace("@FITS@", str(int(not fits))).replace("@VENV@", str(int(not venv)))
    (folder / name).write_text(text.replace("@VERSION@", version))
    (folder / name).chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's frame, and a PATH with no Python of its own."""
    for path in ("tools", "bin", "sertoolkit/kernels"):
        (tmp_path / path).mkdir(parents=True)
    for source in (ROOT / "sertoolkit" / "kernels").glob("*.[ch]pp"):
        shutil.copy(source, tmp_path / "sertoolkit" / "kernels")
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools")
    shutil.copy(ROOT / "setup.py", tmp_path)
    for program in PROGRAMS:
        (tmp_path / "bin" / program).symlink_to(shutil.which(program) or pytest.skip(f"no {program}"))
    (tmp_path / "bin" / "pip").write_text(PIP)
    (tmp_path / "bin" / "pip").chmod(0o755)
    return tmp_path


def setup(project: Path, *arguments: str, code: int = 0, uv: str = "yes", **environment: str) -> str:
    done = subprocess.run(
        ["bash", str(project / "tools" / "setup.sh"), *arguments],
        env={"PATH": str(project / "bin"), "LOG": str(project / "log"), "UV_WORKS": uv, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def log(project: Path) -> str:
    return (project / "log").read_text()


def test_it_installs_the_stated_pair_of_torch_and_the_package_with_its_extras(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    assert "done in" in setup(project)
    assert "torch==2.11.0 torchaudio==2.11.0 -e " + str(project) + "[demo,dev]" in log(project)


def test_it_does_nothing_where_all_is_up_to_date(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project)
    before = log(project)
    assert "up to date" in setup(project)
    assert log(project) == before


@pytest.mark.parametrize("changed", ["setup.py", "tools/setup.sh"])
def test_it_works_anew_when_the_requirements_change(project: Path, changed: str) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project)
    with (project / changed).open("a") as file:
        file.write("# changed\n")
    assert "making tools/venv" in setup(project)


@pytest.mark.parametrize("source", ["cpu.cpp", "amx.cpp", "cpu.hpp"])
def test_a_change_of_a_compiled_source_compiles_it_and_leaves_the_rest(project: Path, source: str) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project)
    (project / "tools" / "venv" / "mine").touch()
    with (project / "sertoolkit" / "kernels" / source).open("a") as file:
        file.write("// changed\n")
    assert "compiling" in setup(project)
    assert f"--no-deps --disable-pip-version-check -e {project}" in log(project)
    assert (project / "tools" / "venv" / "mine").exists()
    assert "up to date" in setup(project)


def test_it_works_anew_after_an_interruption(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project)
    (project / "tools" / "venv" / ".setup-done").unlink()
    (project / "tools" / "venv" / "half-installed").touch()
    setup(project)
    assert not (project / "tools" / "venv" / "half-installed").exists()


def test_a_python_that_does_not_fit_is_passed_over(project: Path) -> None:
    add_python(project / "bin", "python3", "3.9.2", fits=False)
    add_python(project / "bin", "python3.11", "3.11.4")
    assert "Python 3.11.4" in setup(project)


def test_without_a_usable_python_it_names_what_it_found_and_needs(project: Path) -> None:
    add_python(project / "bin", "python3", "3.9.2", fits=False)
    add_python(project / "bin", "python3.12", "3.12.1", fits=False, venv=False)
    message = setup(project, code=1)
    assert "need 3.10, 3.11, 3.12 or 3.13" in message
    assert "python3 is 3.9.2, python3.12 is 3.12.1 without its venv module" in message
    assert "PYTHON=" in message


def test_a_python_named_by_the_user_is_taken_or_refused_but_not_replaced(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    add_python(project / "bin", "mine", "3.13.0")
    add_python(project / "bin", "old", "3.8.1", fits=False)
    assert "Python 3.13.0" in setup(project, PYTHON=str(project / "bin" / "mine"))
    assert "old is 3.8.1" in setup(project, code=1, PYTHON=str(project / "bin" / "old"))


def test_uv_asks_the_main_index_then_all_of_the_user_s_pip_configuration(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project, uv="fails")
    calls = [line for line in log(project).splitlines() if line.startswith("uv ")]
    assert [line.split(" pip install")[0] for line in calls] == [
        "uv index= cert=/ca.pem",
        "uv index=file:///a file:///b cert=/ca.pem",
    ]


def test_what_the_user_told_uv_counts_more_than_the_pip_configuration(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project, SSL_CERT_FILE="/mine.pem")
    assert "cert=/mine.pem" in log(project)


@pytest.mark.parametrize("uv", ["missing", "fails"])
def test_pip_does_it_where_uv_cannot(project: Path, uv: str) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project, uv=uv)
    assert "pip install --no-compile --progress-bar on torch==2.11.0" in log(project)


def test_cpu_asks_for_the_cpu_build_and_says_so_when_it_cannot_be_had(project: Path) -> None:
    add_python(project / "bin", "python3", "3.12.1")
    setup(project, "--cpu")
    assert "--torch-backend cpu torch==2.11.0" in log(project)
    assert "making tools/venv" in setup(project)  # another build than before
    assert "Without --cpu" in setup(project, "--cpu", code=1, uv="fails")
    assert not (project / "tools" / "venv" / ".setup-done").exists()


def test_an_unknown_option_ends_with_2(project: Path) -> None:
    assert "unknown option '--gpu'" in setup(project, "--gpu", code=2)


def test_the_python_of_the_tests_would_be_accepted() -> None:
    script = (ROOT / "tools" / "setup.sh").read_text()
    check = script.split("fits='")[1].split("'")[0]
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_an_environment_is_taken_for_the_python_that_it_stands_on(tmp_path: Path) -> None:
    """A recipe started by a recipe finds tools/venv first on PATH; it must not make it anew, out of itself."""
    script = (ROOT / "tools" / "setup.sh").read_text()
    finds, stamps = (
        next(part for part in script.split("'") if name in part)
        for name in ("sys._base_executable", "sys.base_prefix, sys.version")
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)

    def ask(code: str, *pythons: str) -> set[str]:
        return {
            subprocess.run([p, "-c", code], capture_output=True, text=True, check=True).stdout
            for p in pythons
        }

    inside = str(tmp_path / "venv" / "bin" / "python3")
    base = (ask(finds, sys.executable)).pop().strip()
    assert ask(finds, inside) == {f"{base}\n"}
    assert not base.startswith(str(tmp_path))
    assert len(ask(stamps, base, inside)) == 1
