"""Every command of the README, on the mini line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def commands_of(text: str) -> list[str]:
    """Lines of the code blocks, comments removed."""
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", text, re.MULTILINE)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


README = commands_of((ROOT / "README.md").read_text())


def test_readme_has_commands() -> None:
    assert "egs/mini/ser/run.sh" in README
    assert len(README) >= 10


def tools_test(folder: Path) -> str:
    """tools/test.sh in a project whose environment is made already; the tests it finds."""
    (folder / "tools/venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "tools/test.sh", folder / "tools")
    (folder / "tools/setup.sh").write_text("#!/bin/sh\n")
    (folder / "tools/venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "tests").mkdir()
    (folder / "tests/test_one.py").write_text("def test_one(): pass\n")
    for path in ("tools/setup.sh", "tools/venv/bin/python"):
        (folder / path).chmod(0o755)
    return subprocess.check_output([str(folder / "tools/test.sh"), "-p", "no:cacheprovider"], text=True)


@pytest.mark.parametrize("command", README)
def test_every_command_of_the_readme_does_what_it_says(command: str, line, copied, tmp_path: Path) -> None:
    words = shlex.split(command)
    if words[0] in ("asr:", "ser:"):  # the stages
        listed = line.run(words[0][:-1], "--list_stages").splitlines()
        assert [" ".join(row.split()[:2]) for row in listed] == command[4:].strip().split(" | ")
    elif command == "egs/mini/ser/run.sh":
        assert line.command("ser")[0] == str(ROOT / command)  # the fixture ran it
        assert "9 of 9 stages ran" in line.output
    elif command == "tools/test.sh":
        assert "1 passed" in tools_test(tmp_path)
    elif words[0] == "run.sh":
        values = {"/corpora/EmoDB": str(copied.folder / "ser/corpus")}
        output = copied.run("ser", *(values.get(word, word) for word in words[1:]))
        assert {
            "--list_stages": "8  pack",
            "--status": "8  pack       done",
            "--dry_run": "nothing was run: a dry run; 0 of 9 stages would",
            "--stage": "4 of 4 stages ran",
            "--corpus_dir": "0 of 9 stages ran",
            "--help": "--corpus_dir <path>",
        }[words[1]] in output
    elif words[0] == "sertoolkit":
        work = copied.folder / "ser"
        values = {
            "egs/mini/ser/exp/ser/ser.safetensors": str(work / "exp/ser/variant/ser.safetensors"),
            "a.wav": str(next(work.rglob("*.wav"))),
        }
        output = copied.call([values.get(word, word) for word in words], cwd=work)
        assert {
            "validate-data": "Successfully validated",
            "extract": ": 60 arrays",
            "score": "most-frequent",
            "predict": "audio\tpredicted\tanger",
            "--help": "usage: sertoolkit",
        }[words[1]] in output
    else:
        pytest.fail(f"README has a command that no test knows: {command}")


def test_commands_within_sentences_of_the_readme_exist(line) -> None:
    spans = re.findall(r"`([^`\n]+)`", (ROOT / "README.md").read_text())
    commands = [span.partition("sertoolkit ")[2].split() for span in spans if "sertoolkit " in span]
    assert ["doctor"] in commands
    for name, *options in commands:
        if not name.startswith(("-", "<")):
            help_text = line.call(["sertoolkit", name, "--help"])
            assert all(option in help_text for option in options if option.startswith("--"))
    scripts = [span.split() for span in spans if re.search(r"^(\S+=\S+ )*tools/\w+\.sh", span)]
    assert scripts
    for words in scripts:
        script, *options = [word for word in words if "=" not in word]
        text = (ROOT / script).read_text()
        assert all(option in text for option in options)
