"""Files and directories that appear whole or not at all.

Everything that a later stage reads is written here: to a temporary name in the same directory, flushed to the
disk, then renamed. After a kill at any moment a reader finds the old content or the new one, never a half.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger(__name__)

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # linux/fcntl.h


def fault_point(name: str) -> None:
    """End the process at once where the environment asks for it; tests kill a save between its steps so.

    Args:
        name: this point, compared with the environment variable SERTOOLKIT_FAULT

    """
    if os.environ.get("SERTOOLKIT_FAULT") == name:
        os._exit(137)


@contextmanager
def open_atomic(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its name only when it is complete and on the disk.

    Text is UTF-8, its lines end in a line feed. The folder is made if needed.

    Args:
        path: final name; an existing file is replaced, a symbolic link too (not what it points to)
        mode: "w" or "wb"

    Yields:
        the open temporary file

    Raises:
        ValueError: if ``mode`` is another one
        OSError: if it cannot be written (no space, no permission); the old content is then still there

    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode {mode!r}: expected 'w' or 'wb'")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = _temporary_name(path)
    # 0o666 less the umask, which mkstemp would not honour
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        encoding, newline = (None, None) if mode == "wb" else ("utf-8", "\n")
        with open(descriptor, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            fault_point("atomic:before_fsync")
            os.fsync(file.fileno())
        fault_point("atomic:after_fsync")
        os.replace(temporary, path)
        fault_point("atomic:after_replace")
        _fsync(path.parent)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # "No space left on device" alone does not tell where
        raise


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a directory that takes its name only when it is complete and on the disk.

    Args:
        path: final name; an existing directory is replaced as a whole, in one step where the file system can

    Yields:
        the temporary directory, beside the final one

    Raises:
        FileExistsError: if ``path`` is no directory, or holds folders that the new one does not have (they
            would be lost)
        OSError: if it cannot be written; the old directory is then still there

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_dir():
        raise FileExistsError(errno.EEXIST, "a file is where a directory shall be written", str(path))
    _remove_stale(path)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        _refuse_loss(path, temporary)
        for folder, _, files in os.walk(temporary):
            for name in files:
                _fsync(Path(folder, name))
            _fsync(Path(folder))
        fault_point("atomic:before_rename")
        _replace_dir(temporary, path)
        fault_point("atomic:after_rename")
        _fsync(path.parent)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        # after an exchange this is the old directory
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with open_atomic(path) as file:
        file.write(text)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a binary file atomically."""
    with open_atomic(path, "wb") as file:
        file.write(data)


def write_json(path: str | os.PathLike[str], data: object) -> None:
    """Write JSON atomically, indented.

    Raises:
        ValueError: if a number is not finite, which JSON cannot hold

    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write YAML atomically."""
    from sertoolkit.config import dump_yaml

    write_text(path, dump_yaml(data))


def hash_file(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _prefix(path: Path) -> str:
    return f".{path.name[:64]}.{socket.gethostname()[:32]}."


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{os.getpid()}.{secrets.token_hex(6)}.tmp")


def _remove_stale(path: Path) -> None:
    """Remove what processes of this machine that are no longer alive left behind for this name."""
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        names = [
            entry.name for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(".tmp")
        ]
    for name in names:
        pid = name[len(prefix) :].split(".")[0]
        if not pid.isdecimal() or _is_alive(int(pid)):
            continue
        stale = path.with_name(name)
        logger.info("removing %s, left by process %s that was killed", stale, pid)
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # Ended, but its parent has not taken note: where process 1 is no real init (containers), that may take for ever.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_loss(old: Path, new: Path) -> None:
    """A wrong --out such as "." must not take a tree of other things away."""
    if not old.exists():
        return
    lost = [
        p.name
        for p in old.iterdir()
        if p.is_dir() and not p.name.startswith(".") and not (new / p.name).is_dir()
    ]
    if lost:
        raise FileExistsError(
            errno.EEXIST,
            f"replacing this directory would delete {sorted(lost)}; give another one or remove it",
            str(old),
        )


def _replace_dir(new: Path, old: Path) -> None:
    """Give ``new`` the name ``old``; an existing ``old`` takes the name ``new``."""
    if not old.exists():
        os.rename(new, old)
        return
    if _exchange(new, old):
        return
    # A file system without exchange: for a moment there is no directory, but never a half one.
    aside = _temporary_name(old)
    os.rename(old, aside)
    os.rename(new, old)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where system or file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    status = rename(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))
