"""Fetching a corpus: downloads that go on after an interruption, checked, and archives unpacked safely."""

from __future__ import annotations

import email.message
import http.client
import logging
import lzma
import os
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from sertoolkit.errors import DataError
from sertoolkit.storage.atomic import atomic_dir, hash_file, write_text
from sertoolkit.version import __version__

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_LARGEST_RATIO = 100  # unpacked to packed; recordings stay below 10, a bomb is above 1000
_ALWAYS_ALLOWED = 64 << 20  # bytes; tiny archives of text may be packed tighter
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)


class _KeepTls(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but not from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: email.message.Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise DataError(f"{req.full_url}: redirected to the unencrypted {newurl}; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, out: Path, *, sha256: str | None = None, size: int | None = None) -> Path:
    """Fetch a file; it takes its name only when it is complete and checked.

    What has arrived lies in ``<out>.part``; the next call goes on from there if the server's file is the
    same.

    Args:
        url: http or https address
        out: file to write; nothing is fetched if it is there and passes the checks
        sha256: expected sum in hexadecimal digits
        size: expected size in bytes

    Returns:
        ``out``

    Raises:
        DataError: if size or sum are not as expected, or it is a web page; what arrived stays in
            ``<out>.part``
        OSError: if the server cannot be reached or the connection breaks

    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: expected an address that starts with https:// or http://")
    if out.exists():
        _check(out, url, sha256=sha256, size=size)
        logger.info("%s is there already", out)
        return out
    if url.startswith("http:") and sha256 is None:
        logger.warning("%s: unencrypted, and no checksum is known: what arrives cannot be verified", url)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    _fetch(url, part)
    try:
        _check(part, url, sha256=sha256, size=size)
    except DataError:
        _validator_file(part).unlink(missing_ok=True)  # so that the next call begins anew
        raise
    os.replace(part, out)
    _validator_file(part).unlink(missing_ok=True)
    return out


def _validator_file(part: Path) -> Path:
    """Holds what the server calls this state of the file (ETag or date)."""
    return part.with_name(part.name + ".version")


def _fetch(url: str, part: Path) -> None:
    """Bring ``part`` to its full length."""
    request = urllib.request.Request(url, headers={"User-Agent": f"sertoolkit/{__version__}"})
    version = _validator_file(part)
    start = part.stat().st_size if part.exists() and version.exists() else 0
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version.read_text(encoding="utf-8").strip())
    try:
        with urllib.request.build_opener(_KeepTls()).open(request, timeout=_TIMEOUT) as response:
            if response.status != 206:
                start = 0  # the file has changed, or the server cannot go on
            _refuse_web_page(url, response.headers.get_content_type())
            state = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if state and not state.startswith("W/"):
                write_text(version, state)
            elif not start:
                version.unlink(missing_ok=True)
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                for block in _progress(response, url, start=start, total=total):
                    file.write(block)
    except urllib.error.HTTPError as error:
        if (
            error.code == 416 and start
        ):  # nothing is left to fetch: it ended between the last byte and the check
            return
        raise OSError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"{url}: {error}; start it again to go on") from error
    found = part.stat().st_size
    if total is not None and found != total:
        raise OSError(f"{url}: the connection ended after {found} of {total} bytes; start it again to go on")


def _progress(response: IO[bytes], url: str, *, start: int, total: int | None) -> Iterator[bytes]:
    name = PurePosixPath(urllib.parse.urlsplit(url).path).name
    with tqdm(initial=start, total=total, desc=name, unit="B", unit_scale=True, mininterval=1.0) as bar:
        while block := response.read(_BLOCK):
            bar.update(len(block))
            yield block


def _refuse_web_page(url: str, content_type: str) -> None:
    if content_type in ("text/html", "application/xhtml+xml"):
        raise DataError(
            f"{url}: found a web page, expected a file; open it in a browser: it may ask for a login"
        )


def _check(path: Path, url: str, *, sha256: str | None, size: int | None) -> None:
    """Compare with what is known about the file."""
    found = path.stat().st_size
    if size is not None and found != size:
        raise DataError(
            f"{path}: found {found} bytes, expected {size} from {url}; remove it to fetch it anew"
        )
    with open(path, "rb") as file:
        head = file.read(256).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        _refuse_web_page(url, "text/html")
    if sha256 is not None:
        total = hash_file(path)
        if total != sha256.lower():
            raise DataError(
                f"{path}: found sha256 {total}, expected {sha256} from {url}; remove it to fetch it anew"
            )


def extract_archive(path: Path, out: Path) -> Path:
    """Unpack a zip or tar archive into a folder that appears whole or not at all.

    Where everything in the archive lies in one top folder, that folder becomes ``out``.

    Args:
        path: .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz
        out: folder to make

    Returns:
        ``out``

    Raises:
        DataError: if the archive is damaged, of another kind or encrypted, would unpack to more than 100
            times its size, or holds a link, a device, a name twice, or a name that leads out of the folder;
            nothing is left

    """
    if out.exists():
        raise DataError(f"{out}: is there already; remove it to unpack {path.name} anew")
    with atomic_dir(out) as folder:
        inside = folder / "archive"
        inside.mkdir()
        try:
            if zipfile.is_zipfile(path):
                _unpack(_zip_members(path), path, inside)
            else:
                _unpack(_tar_members(path), path, inside)
        except (*_DAMAGE, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the archive
            raise DataError(f"{path}: not a complete zip or tar archive ({error}); fetch it again") from error
        _lift(inside, folder)
    return out


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member; None for a folder."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = (info.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000, 0o040000):
                raise DataError(f"{path}: {info.filename!r} is a link or a device; refused")
            if info.flag_bits & 0x1:
                raise DataError(f"{path}: {info.filename!r} is encrypted; unpack it by hand")
            if info.is_dir():
                yield info.filename, None
            else:
                with archive.open(info) as file:
                    yield info.filename, file


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member; None for a folder."""
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{path}: {info.name!r} is a link or a device; refused")
            yield info.name, archive.extractfile(info) if info.isreg() else None


def _unpack(members: Iterator[tuple[str, IO[bytes] | None]], path: Path, folder: Path) -> None:
    limit = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * path.stat().st_size)
    for name, content in members:
        parts = PurePosixPath(name).parts
        if not parts and content is None:
            continue  # "./"
        if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or not parts:
            raise DataError(f"{path}: the name {name!r} leads out of the folder; refused")
        target = folder.joinpath(*parts)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise DataError(f"{path}: {name!r} is in it twice; refused")
        with open(target, "xb") as file:
            while block := content.read(_BLOCK):
                limit -= len(block)
                if limit < 0:
                    raise DataError(f"{path}: unpacks to more than {_LARGEST_RATIO} times its size; refused")
                file.write(block)


def _lift(inside: Path, folder: Path) -> None:
    """Move the content up: out of the archive's only top folder, if it has one."""
    top = inside
    entries = list(top.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        top = entries[0]
    # A folder of the archive may have the very name of the one it lies in.
    content = folder / ".content"
    os.rename(top, content)
    shutil.rmtree(inside, ignore_errors=True)
    for entry in list(content.iterdir()):
        os.rename(entry, folder / entry.name)
    content.rmdir()
