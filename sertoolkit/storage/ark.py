"""Arrays by utterance id in one Kaldi ark, with an index, a count and the settings that made them.

A store is a directory:

    feats.ark        records of Kaldi: key, blank, NUL, "B", and FM (matrix), FV (vector), CM2 (16-bit matrix)
    feats.scp        "<utt_id> feats.ark:<offset>", sorted; the path is relative to the directory
    utt2num_frames   "<utt_id> <rows>" (1 for vectors)
    meta.yaml        what made it (given by the writer), and count, dim, ndim, bytes, compressed, sha256

All records have the same dim, so meta.yaml and utt2num_frames give the size of each record: they must tile
the ark without hole or overlap, and each record must begin with exactly the bytes that its key and shape ask
for. So a cut, moved, mixed or foreign ark is refused, and no record is ever interpreted (no pickle, no pipe).
Values changed inside a record are found by the checksum, which
:meth:`ArkReader.verify` compares: once where training or encoding begins, not at each opening.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sertoolkit.config import dump_yaml, load_yaml, parse_yaml
from sertoolkit.errors import ArkError, SertoolkitError, report_faults
from sertoolkit.storage.atomic import atomic_dir, hash_file

_TWO_BYTES = 3  # kaldiio's kTwoByteAuto: 16 bits over the range of the matrix
_MAX_BYTES = 0x7FFFF000  # most that one read of Linux returns
_OWN_META = ("count", "dim", "ndim", "bytes", "compressed", "sha256")


class ArkWriter:
    """Write arrays by utterance id; the directory appears at the end of the with block, whole or not at all.

    Args:
        directory: the store; an existing one is replaced at the end
        meta: what made the arrays: the resolved config, hashes of inputs; plain data for meta.yaml, which may
            be completed as ``writer.meta`` until the end
        compress: store matrices in 16 bits (Kaldi's CM2), values within 1/65535 of the range of their
            utterance

    Raises:
        ArkError: if ``meta`` has an entry that the writer itself makes

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ArkWriter(f"{folder}/ark", {"kind": "features"}) as writer:
        ...         writer.write("anna-1", np.ones((3, 2), np.float32))
        ...     ArkReader(f"{folder}/ark")["anna-1"].shape
        (3, 2)

    """

    def __init__(
        self, directory: str | os.PathLike[str], meta: Mapping[str, Any], *, compress: bool = False
    ) -> None:
        clash = sorted(set(meta) & set(_OWN_META))
        if clash:
            raise ArkError(
                f"{directory}: meta entries {clash} are made by the store itself; name yours otherwise"
            )
        self.directory = Path(directory)
        self.meta = dict(meta)
        self._compress = compress
        self._offsets: dict[str, int] = {}
        self._num_frames: dict[str, int] = {}
        self._shape: tuple[int, int] | None = None  # ndim, dim of the first array

    def __enter__(self) -> ArkWriter:
        self._stack = ExitStack()
        self._temporary = self._stack.enter_context(atomic_dir(self.directory))
        self._ark = self._stack.enter_context(open(self._temporary / "feats.ark", "wb"))
        return self

    def write(self, utt_id: str, array: np.ndarray) -> None:
        """Append one array.

        Args:
            utt_id: without blanks, not yet written
            array: (T, D) or (D,), finite, at least one value; stored as float32

        Raises:
            ArkError: if key or array cannot be stored; nothing of it is then in the store

        """
        array = np.asarray(array)
        fault = self._fault(utt_id, array)
        if fault:
            raise ArkError(f"{self.directory}: utterance {utt_id!r}: {fault}")
        array = np.ascontiguousarray(array, dtype=np.float32)
        self._shape = (array.ndim, array.shape[-1])
        self._offsets[utt_id] = self._ark.tell() + len(utt_id.encode()) + 1
        self._num_frames[utt_id] = array.shape[0] if array.ndim == 2 else 1
        import kaldiio  # writes alone: what only reads runs without it

        kaldiio.save_ark(
            self._ark, {utt_id: array}, compression_method=_TWO_BYTES if self._compress else None
        )

    def _fault(self, utt_id: str, array: np.ndarray) -> str:
        if not utt_id or " " in utt_id or not utt_id.isprintable():
            return "an id must have at least one character and neither blanks nor control characters"
        if utt_id in self._offsets:
            return "already written; each id may occur once"
        if array.dtype.kind != "f":
            return f"has dtype {array.dtype}, expected floating point"
        if array.ndim not in (1, 2) or (self._compress and array.ndim == 1):
            return f"has shape {array.shape}, expected (T, D){'' if self._compress else ' or (D,)'}"
        if array.size == 0:
            return f"has shape {array.shape}: no values"
        if self._shape and self._shape != (array.ndim, array.shape[-1]):
            return (
                f"has shape {array.shape}, but arrays before it have {self._shape[0]} dimensions, the "
                f"last of {self._shape[1]}"
            )
        if array.size * 4 > _MAX_BYTES:
            return f"has shape {array.shape}: over 2 GiB; cut the recording into segments"
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32, copy=False))
        if not finite.all():
            return f"{int((~finite).sum())} of {array.size} values are not finite in float32"
        return ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        if not self._offsets:
            raise ArkError(f"{self.directory}: no utterance was written; an empty store is never made")
        ndim, dim = self._shape or (0, 0)
        self._ark.flush()
        size = self._ark.tell()
        own = {
            "count": len(self._offsets),
            "dim": dim,
            "ndim": ndim,
            "bytes": size,
            "compressed": self._compress,
            "sha256": hash_file(self._temporary / "feats.ark"),
        }
        keys = sorted(self._offsets)
        lists = {
            "feats.scp": "".join(f"{key} feats.ark:{self._offsets[key]}\n" for key in keys),
            "utt2num_frames": "".join(f"{key} {self._num_frames[key]}\n" for key in keys),
            "meta.yaml": dump_yaml({**self.meta, **own}),
        }
        for name, text in lists.items():
            (self._temporary / name).write_text(text, encoding="utf-8")


class ArkReader(Mapping[str, np.ndarray]):
    """Read arrays by utterance id; a mapping from id to float32 (T, D) or (D,).

    Each access reads from the disk into a new array. An object may be sent to or shared with other processes
    and threads.

    Args:
        directory: the store
        expect: entries of its meta.yaml that must be equal to these

    Raises:
        ArkError: if a file is missing, the files do not agree, or it was made with other settings than
            ``expect``

    """

    def __init__(self, directory: str | os.PathLike[str], expect: Mapping[str, Any] | None = None) -> None:
        self.directory = Path(directory)
        self._descriptor: int | None = None
        self.meta = self._read_meta()
        self._check_settings(expect or {})
        self.dim: int = self.meta["dim"]
        self.num_frames = self._read_num_frames()
        self._offsets = self._read_offsets()
        self._check_tiling()

    def __getitem__(self, utt_id: str) -> np.ndarray:
        compressed = self.meta["compressed"]
        rows = self.num_frames[utt_id]
        shape = (rows, self.dim) if self.meta["ndim"] == 2 else (self.dim,)
        head = self._head(utt_id, rows)
        start = self._offsets[utt_id] - len(utt_id.encode()) - 1
        # A record: head; if compressed, least value and range (8 bytes) and shape (8 bytes); then values
        found, bounds, sizes = bytearray(len(head)), bytearray(8 * compressed), bytearray(8 * compressed)
        array = np.empty(shape, np.uint16 if compressed else np.float32)
        count = os.preadv(self._open(), [found, bounds, sizes, array.data], start)
        is_whole = count == len(head) + len(bounds) + len(sizes) + array.nbytes
        if not is_whole or found != head or (compressed and sizes != struct.pack("<ii", rows, self.dim)):
            raise ArkError(
                f"{self.directory / 'feats.ark'}: at byte {start} there is no record of utterance {utt_id!r} "
                f"with shape {shape}; the file is damaged: make this store again"
            )
        if not compressed:
            return array
        # least value + range * whole number / 65535, in the order in which Kaldi and kaldiio round
        least, extent = np.frombuffer(bounds, "<f4")
        values = array.astype(np.float32)
        values *= extent
        values /= np.float32(65535)
        values += least
        return values

    def verify(self) -> ArkReader:
        """Read the whole ark once and compare its checksum.

        Returns:
            the reader itself

        Raises:
            ArkError: if a value was changed since it was written

        """
        path = self.directory / "feats.ark"
        if hash_file(path) != self.meta["sha256"]:
            raise ArkError(f"{path}: damaged: its checksum does not hold; make this store again")
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._offsets

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the ark; a later access opens it again."""
        descriptor = self.__dict__.get("_descriptor")
        self._descriptor = None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.directory / "feats.ark", os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    def _head(self, utt_id: str, rows: int) -> bytes:
        """The bytes that a record must begin with, up to the values (up to the bounds if compressed)."""
        key = utt_id.encode() + b" \0B"
        if self.meta["compressed"]:
            return key + b"CM2 "
        if self.meta["ndim"] == 1:
            return key + b"FV " + struct.pack("<bi", 4, self.dim)
        return key + b"FM " + struct.pack("<bibi", 4, rows, 4, self.dim)

    def _read_meta(self) -> dict[str, Any]:
        path = self.directory / "meta.yaml"
        if not path.is_file():
            raise ArkError(
                f"{self.directory}: no store of arrays here (meta.yaml is missing); run the stage that "
                "makes it"
            )
        try:
            meta = load_yaml(path)
        except (SertoolkitError, OSError) as error:
            raise ArkError(f"{path}: cannot be read: {error}") from error
        types = {"count": int, "dim": int, "ndim": int, "bytes": int, "compressed": bool, "sha256": str}
        faults = [
            f"{name}: found {meta.get(name)!r}, expected {kind.__name__}"
            for name, kind in types.items()
            if type(meta.get(name)) is not kind
        ]
        if not faults and (meta["ndim"] not in (1, 2) or meta["count"] < 1 or not 0 < meta["dim"] < 1 << 31):
            faults = ["expected ndim 1 or 2, count of at least 1, and dim of at least 1 and below 2 ** 31"]
        report_faults(str(path), faults, ArkError)
        return meta

    def _check_settings(self, expect: Mapping[str, Any]) -> None:
        expect = parse_yaml(dump_yaml(expect)) or {}  # tuples and paths as the store's YAML gives them
        differing = [
            f"{key}: the store has {self.meta.get(key)!r}, expected {value!r}"
            for key, value in expect.items()
            if key not in self.meta or self.meta[key] != value
        ]
        title = f"{self.directory}: made with other settings; remove it and run the stage that makes it again"
        report_faults(title, differing, ArkError)

    def _read_list(self, name: str) -> dict[str, str]:
        """A list of two columns; every fault of its form is reported."""
        path = self.directory / name
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError as error:
            raise ArkError(f"{path}: missing; make this store again") from error
        except UnicodeDecodeError as error:
            raise ArkError(f"{path}: byte {error.start} is not UTF-8; make this store again") from error
        faults = [] if lines.pop() == "" else [f"{name}: the last line is not complete"]
        table: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            fields = line.split(" ")
            if len(fields) != 2 or not all(fields):
                faults.append(f"{name}:{number}: found {line[:80]!r}, expected two columns")
            elif fields[0] in table:
                faults.append(f"{name}:{number}: utterance {fields[0]!r} occurs twice")
            else:
                table[fields[0]] = fields[1]
        if len(table) != self.meta["count"]:
            faults.append(f"{name}: {len(table)} utterances, but meta.yaml counts {self.meta['count']}")
        report_faults(f"{self.directory}: damaged store, make it again", faults, ArkError)
        return table

    def _read_num_frames(self) -> dict[str, int]:
        table = self._read_list("utt2num_frames")
        faults = [
            f"utt2num_frames: utterance {key!r}: found {value!r}, expected a count of at least 1"
            for key, value in table.items()
            if not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value) > 0)
        ]
        report_faults(f"{self.directory}: damaged store, make it again", faults, ArkError)
        return {key: int(value) for key, value in table.items()}

    def _read_offsets(self) -> dict[str, int]:
        offsets = {}
        faults = []
        for key, value in self._read_list("feats.scp").items():
            name, _, offset = value.rpartition(":")
            if name != "feats.ark" or not (offset.isascii() and offset.isdecimal() and len(offset) < 19):
                faults.append(f"feats.scp: utterance {key!r}: found {value!r}, expected feats.ark:<offset>")
            elif key not in self.num_frames:
                faults.append(f"feats.scp: utterance {key!r} is not in utt2num_frames")
            else:
                offsets[key] = int(offset)
        report_faults(f"{self.directory}: damaged store, make it again", faults, ArkError)
        return offsets

    def _check_tiling(self) -> None:
        """Records lie one after another from the first to the last byte of the ark."""
        path = self.directory / "feats.ark"
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise ArkError(f"{path}: missing; run the stage that makes it again") from error
        if size != self.meta["bytes"]:
            raise ArkError(
                f"{path}: has {size} bytes, expected {self.meta['bytes']}; the file is damaged: make this "
                "store again"
            )
        itemsize, extra = (2, 16) if self.meta["compressed"] else (4, 0)
        position = 0
        for key, offset in sorted(self._offsets.items(), key=lambda item: item[1]):
            if offset != position + len(key.encode()) + 1:
                raise ArkError(
                    f"{self.directory / 'feats.scp'}: utterance {key!r} has offset {offset}, but the record "
                    f"before it ends at {position}; make this store again"
                )
            rows = self.num_frames[key]
            position += len(self._head(key, rows)) + extra + rows * self.dim * itemsize
        if position != size:
            raise ArkError(
                f"{path}: has {size} bytes, but its records take {position}; make this store again"
            )
