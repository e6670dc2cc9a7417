"""Old or new, never half: what a reader finds after a failure or kill at each step of a save."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.storage import atomic


def fail_at(call: int, function: Callable, error: OSError) -> Callable:
    """The function, which fails at one call and works before and after."""
    calls = iter(range(1000))

    def failing(*args: object, **kwargs: object) -> object:
        if next(calls) == call:
            raise error
        return function(*args, **kwargs)

    return failing


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(atomic.__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
    )


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a", "ä\r\nb\n")

    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\r\nb\n"


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "b" / "c" / "a", b"x")

    assert (tmp_path / "b" / "c" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_bits_are_those_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    old = os.umask(umask)
    try:
        atomic.write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)

    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", ["a", "r+", "x", "wt"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="expected 'w' or 'wb'"), atomic.open_atomic(tmp_path / "a", mode):
        pass


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), atomic.open_atomic(tmp_path / "a") as file:
        file.write("half of the new")
        raise RuntimeError

    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(("name", "call"), [("open", 0), ("fsync", 0), ("replace", 0), ("fsync", 1)])
def test_a_failing_step_leaves_old_or_new_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int, number: int
) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")
    monkeypatch.setattr(os, name, fail_at(call, getattr(os, name), OSError(number, os.strerror(number))))
    with pytest.raises(OSError) as caught:
        atomic.write_text(path, "new")

    assert path.read_text() == ("new" if (name, call) == ("fsync", 1) else "old")
    assert caught.value.errno == number
    assert name == "open" or caught.value.filename == str(path)
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a", "old")
    code = (
        "import resource, signal, sys\n"
        "from sertoolkit.storage import atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "atomic.write_bytes(sys.argv[1], bytes(100_000))\n"
    )
    result = run_python(code, tmp_path / "a")

    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("point", "content"),
    [("atomic:before_fsync", "old"), ("atomic:after_fsync", "old"), ("atomic:after_replace", "new")],
)
def test_a_kill_between_the_steps_leaves_old_or_new(tmp_path: Path, point: str, content: str) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")
    code = "import sys\nfrom sertoolkit.storage import atomic\natomic.write_text(sys.argv[1], 'new')"
    result = run_python(code, path, SERTOOLKIT_FAULT=point)

    assert result.returncode == 137
    assert path.read_text() == content
    atomic.write_text(path, "newer")
    assert os.listdir(tmp_path) == ["a"]  # what the killed process left is gone


def test_what_a_killed_process_left_goes_also_where_nobody_waited_for_it(tmp_path: Path) -> None:
    code = f"from sertoolkit.storage import atomic; atomic.write_text({str(tmp_path / 'a')!r}, 'new')"
    environment = os.environ | {"SERTOOLKIT_FAULT": "atomic:before_fsync"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie, with its pid
    assert len(os.listdir(tmp_path)) == 1
    atomic.write_text(tmp_path / "a", "newer")
    assert os.listdir(tmp_path) == ["a"]
    process.wait()


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with atomic.open_atomic(tmp_path / "a") as file:
        file.write("first")
        atomic.write_text(tmp_path / "a", "second")
        assert (tmp_path / "a").read_text() == "second"

    assert (tmp_path / "a").read_text() == "first"


def test_a_symbolic_link_is_replaced_and_what_it_points_to_kept(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "a").symlink_to(tmp_path / "other")
    atomic.write_text(tmp_path / "a", "x")

    assert (tmp_path / "other").read_text() == "precious"
    assert not (tmp_path / "a").is_symlink()


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / ("n" * 255), "x")

    assert os.listdir(tmp_path) == ["n" * 255]


def test_json_refuses_numbers_that_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a", {"loss": float("nan")})

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_hash_of_a_file_is_sha256(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)

    assert atomic.hash_file(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()


@pytest.fixture(params=["exchange", "two renames"])
def replacing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to replace a directory; not every file system can swap two names."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)


@pytest.mark.usefixtures("replacing")
def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with atomic.atomic_dir(tmp_path / "d") as folder:
            (folder / name).write_text(name)
            assert not (tmp_path / "d" / "two").exists()

    assert os.listdir(tmp_path) == ["d"]
    assert os.listdir(tmp_path / "d") == ["two"]


def test_an_error_while_filling_keeps_the_old_directory(tmp_path: Path) -> None:
    with atomic.atomic_dir(tmp_path / "d") as folder:
        (folder / "one").write_text("one")
    with pytest.raises(RuntimeError), atomic.atomic_dir(tmp_path / "d") as folder:
        (folder / "two").write_text("two")
        raise RuntimeError

    assert os.listdir(tmp_path) == ["d"]
    assert os.listdir(tmp_path / "d") == ["one"]


@pytest.mark.parametrize(
    ("point", "content"), [("atomic:before_rename", ["one"]), ("atomic:after_rename", ["two"])]
)
def test_a_kill_while_replacing_a_directory_leaves_old_or_new(
    tmp_path: Path, point: str, content: list[str]
) -> None:
    code = (
        "import sys\n"
        "from sertoolkit.storage import atomic\n"
        "with atomic.atomic_dir(sys.argv[1]) as folder:\n"
        "    (folder / sys.argv[2]).write_text('x')\n"
    )
    run_python(code, tmp_path / "d", "one")
    result = run_python(code, tmp_path / "d", "two", SERTOOLKIT_FAULT=point)

    assert result.returncode == 137
    assert os.listdir(tmp_path / "d") == content
    with atomic.atomic_dir(tmp_path / "d"):
        pass
    assert temporaries(tmp_path) == []


def test_a_file_is_never_replaced_by_a_directory(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("precious")
    with pytest.raises(FileExistsError, match="a file is where"), atomic.atomic_dir(tmp_path / "d"):
        pass

    assert (tmp_path / "d").read_text() == "precious"


def test_a_directory_with_other_folders_in_it_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home" / "letters").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="letters"), atomic.atomic_dir(tmp_path / "home"):
        pass

    assert os.listdir(tmp_path) == ["home"]
    assert os.listdir(tmp_path / "home") == ["letters"]
