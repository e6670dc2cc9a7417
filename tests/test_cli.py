"""The command line: help, unknown words, exit codes."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time

import pytest

from sertoolkit import cli, registry
from sertoolkit.errors import ConfigError, DataError, Stopped, suggest


def test_help_answers_fast_and_lists_every_command():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "sertoolkit", "--help"], capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_a_help_that_teaches_and_imports_nothing_heavy(name):
    code = (
        "import sys; from sertoolkit.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'numpy', 'soundfile', 'matplotlib'} & set(sys.modules), 'heavy import'; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    help_text = importlib.import_module(f"sertoolkit.commands.{name.replace('-', '_')}").HELP
    assert len(help_text) > 60
    assert f"sertoolkit {name} " in help_text  # an example


def test_an_unknown_command_exits_with_2_and_the_nearest_name(capsys):
    assert cli.main(["decoed"]) == 2
    assert "did you mean 'decode'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("plugins --plugn x", "unknown option '--plugn'; did you mean '--plugin'?"),
        ("plugins --plugn=x", "unknown option '--plugn'; did you mean '--plugin'?"),
        ("tokens --txt a --out b", "unknown option '--txt'; did you mean '--text'?"),  # --text is required
        ("tokens --txt a --uot b", "'--text'?, '--uot'; did you mean '--out'?"),
        ("tokens --text a --out b stray", "unrecognized arguments: stray"),
    ],
)
def test_unknown_options_exit_with_2_and_their_nearest_names(capsys, arguments, message):
    assert cli.main(arguments.split()) == 2
    assert message in capsys.readouterr().err


def test_a_value_that_looks_like_options_is_a_value(capsys):
    from sertoolkit.cli import Parser

    parser = Parser()
    parser.add_argument("--command")
    parser.add_argument("files", nargs="*")
    parsed = parser.parse_args(["--command", "--a --b", "--", "--c"])
    assert (parsed.command, parsed.files) == ("--a --b", ["--c"])


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("c"), 2), (DataError("d"), 1), (OSError("o"), 1), (Stopped(15), 143), (Stopped(2), 130)],
)
def test_errors_end_with_their_exit_code_and_no_traceback(monkeypatch, capsys, error, code):
    from sertoolkit.commands import plugins

    def fail(args):
        raise error

    monkeypatch.setattr(plugins, "run", fail)
    assert cli.main(["plugins"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_error_itself(monkeypatch):
    from sertoolkit.commands import plugins

    def fail(args):
        raise DataError("d")

    monkeypatch.setattr(plugins, "run", fail)
    with pytest.raises(DataError):
        cli.main(["plugins", "--debug"])


def test_plugins_stand_in_columns_whatever_their_names(monkeypatch, capsys):
    rows = [("head", "rnn", "a:RNN"), ("frontend", "a_name_of_more_than_twenty", "b:Long")]
    monkeypatch.setattr(registry, "describe", lambda: rows)
    assert cli.main(["plugins"]) == 0
    assert (
        len(
            {line.index(row[2]) for line, row in zip(capsys.readouterr().out.splitlines(), rows, strict=True)}
        )
        == 1
    )


def test_suggest_is_silent_where_nothing_is_near():
    assert suggest("zzz", ["baseline"]) == ""
