"""Loads the local scripts of recipes, which are no package, and runs the mini recipes at a small size."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
EGS = ROOT / "egs"
SYSTEMS = "baseline-96 mp-1 rnn-2 progressive-2"


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


@pytest.fixture(scope="session")
def layouts() -> ModuleType:
    """The makers of corpora in the layouts of their publishers, tests/layouts.py."""
    spec = importlib.util.spec_from_file_location("layouts", ROOT / "tests" / "layouts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@dataclasses.dataclass
class MiniLine:
    """A folder in which both mini recipes work at a small size: asr/ and ser/, each with corpus, data, dump, exp.

    ``seconds`` and ``output`` are of the run that made it.
    """

    folder: Path
    toolkit: Path
    seconds: dict[str, int] = dataclasses.field(default_factory=dict)
    output: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "SERTOOLKIT_BIN": str(self.toolkit),
            "PATH": f"{self.toolkit}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            # A model names the commit that made it; one made while the tests run must not matter.
            "GIT_DIR": os.devnull,
        }

    def command(self, recipe: str, *more: str) -> list[str]:
        """The recipe's own script, with everything small and below this folder."""
        work = self.folder / recipe
        options = {f"{name}dir": work / name for name in ("data", "dump", "exp")} | {
            "corpus_dir": work / "corpus"
        }
        if recipe == "asr":
            options["local_data_opts"] = "--minutes 1 --held_out_minutes 0.25 --num_voices 9 --seed 3"
            options["asr_args"] = (
                "encoder_conf.conv_channels=2 encoder_conf.hidden_size=16 encoder_conf.num_layers=2 "
                "training.batch_size=4 training.max_epochs=2 training.checkpoint_seconds=0.1"
            )
        else:
            options |= {
                "asr_recipe": self.folder / "asr",
                "asr_exp": self.folder / "asr" / "exp" / "asr",
            }
            options |= {"results": work / "RESULTS.md", "local_data_opts": "--utterances 60"}
            options |= {"systems": SYSTEMS, "ser_args": "training.max_epochs=1"}
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        # Threads of a recogniser this small would wait for each other; the other recipe uses two processes.
        jobs = {"asr": "1", "ser": "2"}[recipe]
        return [str(EGS / "mini" / recipe / "run.sh"), *given, "--nj", jobs, *more]

    def start(self, command: list[str]) -> subprocess.Popen:
        """Start a command as the leader of a session of its own; its output goes to the file ``log``."""
        with open(self.folder / "log", "w") as log:
            return subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def run(self, recipe: str, *more: str, code: int = 0) -> str:
        """Run a recipe to its end; its output."""
        return self.call(self.command(recipe, *more), code=code)

    def call(self, command: list[str], code: int = 0, **options: object) -> str:
        """Run any command in this folder; its output."""
        done = subprocess.run(
            command,
            **{"env": self.environment, "cwd": self.folder, "timeout": 500, "check": False, **options},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def wait_until(
        self, process: subprocess.Popen, condition: Callable[[], object], seconds: float = 300
    ) -> None:
        """Wait for something that a started command does."""
        end = time.monotonic() + seconds
        while not condition():
            assert process.poll() is None, self.log()
            assert time.monotonic() < end, f"waited in vain; {self.log()}"
            time.sleep(0.02)

    def contents(self, *patterns: str) -> dict[str, bytes]:
        """Bytes of the files that match, by path, but of hidden ones; without the time that decoding took, and with the
        line's own folder as /line."""
        found = {}
        for path in sorted({path for pattern in patterns for path in self.folder.glob(pattern)}):
            if path.is_file() and not path.name.startswith("."):
                name = str(path.relative_to(self.folder))
                found[name] = re.sub(rb"/\S*/line\d+\b", b"/line", path.read_bytes())
                if path.name == "decode.yaml":
                    found[name] = re.sub(rb"(?m)^(seconds|real_time_factor): .*\n", b"", found[name])
        return found

    @staticmethod
    def session_of(process: subprocess.Popen) -> list[int]:
        """Living processes of the session that a started command leads."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == process.pid and state != "Z":
                found.append(int(path.parent.name))
        return found

    def kill_session(self, process: subprocess.Popen) -> None:
        """SIGKILL for a started command and all it started, whatever process group that is in."""
        while members := self.session_of(process):
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.poll()
        process.wait()


@pytest.fixture(scope="session")
def new_line(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MiniLine]:
    """Makes an empty line, or a copy of another one; all are equally deep, so that the stamps of a copy hold."""

    def make(model: MiniLine | None = None) -> MiniLine:
        folder = tmp_path_factory.mktemp("line")
        if model is not None:
            shutil.copytree(model.folder, folder, symlinks=True, dirs_exist_ok=True)
            return dataclasses.replace(model, folder=folder)
        toolkit = folder / "bin"
        toolkit.mkdir()
        for name, words in {"sertoolkit": "-m sertoolkit", "python": ""}.items():
            (toolkit / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (toolkit / name).chmod(0o755)
        line = MiniLine(folder, toolkit)
        script = folder / "asr" / "run.sh"
        script.parent.mkdir()
        # By "$0", so that a copy's recipe works in the copy.
        run, *options = (f"'{word}'".replace(f"'{folder}", '"$folder"\'') for word in line.command("asr"))
        here = 'folder=$(cd "$(dirname "$0")/.." && pwd)'
        script.write_text(f'#!/bin/bash\n{here}\nexec {run} "$@" {" ".join(options)}\n')
        script.chmod(0o755)
        return line

    return make


@pytest.fixture(scope="session")
def line(new_line: Callable[..., MiniLine]) -> MiniLine:
    """What one undisturbed run of egs/mini/ser/run.sh makes, egs/mini/asr/run.sh included; not to be changed."""
    line = new_line()
    line.output = line.run("ser")
    for recipe, stage, hours, seconds in re.findall(
        r"mini/(\w+): Stage -?\d+ (\w+): done in (?:(\d+) min )?(\d+) s", line.output
    ):
        line.seconds[f"{recipe} {stage}"] = 60 * int(hours or 0) + int(seconds)
    return line


@pytest.fixture
def copied(line: MiniLine, new_line: Callable[..., MiniLine]) -> Iterator[MiniLine]:
    """A copy of it, to be disturbed."""
    copy = new_line(line)
    yield copy
    shutil.rmtree(copy.folder)  # 30 MB each
