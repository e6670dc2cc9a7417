"""The ark store: what goes in comes out, and nothing damaged or hostile is ever returned."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest

import sertoolkit
from sertoolkit.errors import ArkError
from sertoolkit.storage.ark import ArkReader, ArkWriter

MATRICES = {
    "b-2": np.arange(6, dtype=np.float32).reshape(3, 2),
    "a-1": np.array([[-1.5, 2.5]], np.float32),
}
VECTORS = {"b-2": np.array([1, 2, 3], np.float32), "a-1": np.array([-4, 5, 0.5], np.float32)}


def store(directory: Path, arrays: dict[str, np.ndarray], *, compress: bool = False) -> Path:
    with ArkWriter(directory, {"kind": "features"}, compress=compress) as writer:
        for utt_id, array in arrays.items():
            writer.write(utt_id, array)
    return directory


def read_all(directory: Path) -> dict[str, np.ndarray]:
    return dict(ArkReader(directory))


def assert_refused(directory: Path) -> None:
    with pytest.raises(ArkError, match=str(directory)):
        read_all(directory)


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.zeros((1, 1), np.float32)},
        {"a": np.array([3.5])},
        MATRICES,
        VECTORS,
        {"ä-Ω": np.ones((2, 3), np.float16)},
        {"a": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "b": np.arange(24.0).reshape(6, 4)[::2]},
    ],
)
def test_what_is_written_is_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    found = read_all(store(tmp_path / "ark", arrays))

    assert list(found) == sorted(arrays)
    for utt_id, array in arrays.items():
        assert found[utt_id].dtype == np.float32
        np.testing.assert_array_equal(found[utt_id], array.astype(np.float32))


def test_sixteen_bits_become_the_floats_that_kaldiio_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"a-{i}": rng.normal(i, 10.0 ** (i - 3), (50, 40)).astype(np.float32) for i in range(6)}
    found = read_all(store(tmp_path / "ark", arrays, compress=True))
    monkeypatch.chdir(tmp_path / "ark")

    for utt_id, array in kaldiio.load_scp("feats.scp").items():
        assert found[utt_id].tobytes() == array.tobytes()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("compress", [False, True])
def test_random_stores_are_read_as_written(tmp_path: Path, seed: int, compress: bool) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 20))
    arrays = {
        f"s{i}-{rng.integers(1000)}": rng.normal(size=(rng.integers(1, 30), dim)).astype(np.float32)
        for i in rng.permutation(10)
    }
    reader = ArkReader(store(tmp_path / "ark", arrays, compress=compress))

    assert set(reader) == set(arrays)
    for utt_id, array in arrays.items():
        quantum = (array.max() - array.min()) / 65535 if compress else 0
        np.testing.assert_allclose(reader[utt_id], array, rtol=0, atol=quantum + 1e-6 * compress)
        assert reader.num_frames[utt_id] == len(array)
    assert reader.dim == dim


@pytest.mark.parametrize("compress", [False, True])
def test_kaldiio_reads_the_same_by_scp_and_in_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    expected = read_all(store(tmp_path / "ark", MATRICES, compress=compress))
    monkeypatch.chdir(tmp_path / "ark")

    for found in (dict(kaldiio.load_scp("feats.scp")), dict(kaldiio.load_ark("feats.ark"))):
        assert set(found) == set(expected)
        for utt_id, array in expected.items():
            np.testing.assert_array_equal(found[utt_id], array)


def test_bytes_are_those_of_kaldi(tmp_path: Path) -> None:
    store(tmp_path / "ark", {"u": np.array([[1, 2]], np.float32)})
    store(tmp_path / "vec", {"u": np.array([1, 2], np.float32)})

    # Kaldi's io: "\0B", type token, then each int32 after its size in bytes
    values = struct.pack("<ff", 1, 2)
    matrix = b"u \0BFM \4" + struct.pack("<i", 1) + b"\4" + struct.pack("<i", 2) + values
    assert (tmp_path / "ark" / "feats.ark").read_bytes() == matrix
    assert (tmp_path / "vec" / "feats.ark").read_bytes() == b"u \0BFV \4" + struct.pack("<i", 2) + values


def test_lists_and_meta_can_be_read_by_a_person(tmp_path: Path) -> None:
    directory = store(tmp_path / "ark", MATRICES)

    assert (directory / "feats.scp").read_text() == "a-1 feats.ark:47\nb-2 feats.ark:4\n"
    assert (directory / "utt2num_frames").read_text() == "a-1 1\nb-2 3\n"
    digest = hashlib.sha256((directory / "feats.ark").read_bytes()).hexdigest()
    assert (directory / "meta.yaml").read_text() == (
        f"kind: features\ncount: 2\ndim: 2\nndim: 2\nbytes: 70\ncompressed: false\nsha256: {digest}\n"
    )


def test_a_flipped_bit_inside_a_record_is_found_by_verify(tmp_path: Path) -> None:
    path = store(tmp_path / "ark", MATRICES) / "feats.ark"
    assert ArkReader(tmp_path / "ark").verify()["a-1"].shape == (1, 2)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    reader = ArkReader(tmp_path / "ark")
    with pytest.raises(ArkError, match="feats.ark: damaged"):
        reader.verify()


@pytest.mark.parametrize("utt_id", ["", " ", "a b", "a\n", "a\tb", "a\u00a0b", "a\0", "\ud800"])
def test_ids_that_break_the_index_are_refused(tmp_path: Path, utt_id: str) -> None:
    with ArkWriter(tmp_path / "ark", {}) as writer:
        writer.write("good", np.ones((1, 2)))
        with pytest.raises(ArkError, match="an id must have"):
            writer.write(utt_id, np.ones((1, 2)))

    assert list(ArkReader(tmp_path / "ark")) == ["good"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((0, 2)), "no values"),
        (np.ones((2, 0)), "no values"),
        (np.float32(1), "shape"),
        (np.ones((1, 2, 2)), "shape"),
        (np.ones((1, 2), np.int64), "dtype int64"),
        (np.ones((1, 2), bool), "dtype bool"),
        (np.array([["x", "y"]]), "dtype"),
        (np.array([[1, np.nan]]), "1 of 2 values are not finite"),
        (np.array([[-np.inf, 1]]), "not finite"),
        (np.array([[1e300, 1]]), "not finite in float32"),
        (np.ones((1, 3)), "the last of 2"),
        (np.ones(2), "2 dimensions"),
    ],
)
def test_an_array_that_cannot_be_stored_is_named_and_leaves_no_trace(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    with ArkWriter(tmp_path / "ark", {}) as writer:
        writer.write("good", np.ones((1, 2)))
        with pytest.raises(ArkError, match=f"utterance 'bad-1'.*{message}"):
            writer.write("bad-1", array)
        writer.write("good-2", np.ones((3, 2)))

    assert list(read_all(tmp_path / "ark")) == ["good", "good-2"]


def test_an_id_can_be_written_once_only(tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "ark", {}) as writer:
        writer.write("a", np.ones(2))
        with pytest.raises(ArkError, match="already written"):
            writer.write("a", np.zeros(2))

    np.testing.assert_array_equal(ArkReader(tmp_path / "ark")["a"], np.ones(2))


def test_vectors_are_never_compressed(tmp_path: Path) -> None:
    with pytest.raises(ArkError, match="shape"):
        store(tmp_path / "ark", VECTORS, compress=True)


def test_a_failing_writer_keeps_the_old_store(tmp_path: Path) -> None:
    store(tmp_path / "ark", MATRICES)
    with pytest.raises(RuntimeError), ArkWriter(tmp_path / "ark", {}) as writer:
        writer.write("new", np.ones((1, 2)))
        raise RuntimeError

    assert set(read_all(tmp_path / "ark")) == set(MATRICES)
    assert os.listdir(tmp_path) == ["ark"]


def test_an_empty_store_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(ArkError, match="no utterance was written"), ArkWriter(tmp_path / "ark", {}):
        pass

    assert os.listdir(tmp_path) == []


def test_meta_cannot_hide_what_the_store_says_of_itself(tmp_path: Path) -> None:
    with pytest.raises(ArkError, match="count"):
        ArkWriter(tmp_path / "ark", {"count": 3})


@pytest.mark.parametrize(("arrays", "compress"), [(MATRICES, False), (MATRICES, True), (VECTORS, False)])
def test_an_ark_cut_at_any_byte_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], compress: bool
) -> None:
    path = store(tmp_path / "ark", arrays, compress=compress) / "feats.ark"
    whole = path.read_bytes()
    meta = (tmp_path / "ark" / "meta.yaml").read_text()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert_refused(tmp_path / "ark")
        # also when the size in meta.yaml was cut with it
        changed = meta.replace(f"bytes: {len(whole)}", f"bytes: {size}")
        (tmp_path / "ark" / "meta.yaml").write_text(changed)
        assert_refused(tmp_path / "ark")
        (tmp_path / "ark" / "meta.yaml").write_text(meta)


@pytest.mark.parametrize(("arrays", "compress"), [(MATRICES, False), (MATRICES, True), (VECTORS, False)])
def test_any_flipped_bit_before_the_values_is_found(
    tmp_path: Path, arrays: dict[str, np.ndarray], compress: bool
) -> None:
    path = store(tmp_path / "ark", arrays, compress=compress) / "feats.ark"
    whole = path.read_bytes()
    # "b-2 " is first; the bounds of a compressed matrix (8 bytes after "CM2 ") are values
    places = set(range(4, 10)) if not compress else set(range(4, 10)) | set(range(18, 26))
    places |= set(range(10, 19)) if arrays is MATRICES and not compress else set()
    places |= set(range(4)) | (set(range(10, 13)) if arrays is VECTORS else set())
    for place in places:
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            assert_refused(tmp_path / "ark")


def test_an_ark_that_is_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    reader = ArkReader(store(tmp_path / "ark", MATRICES))
    os.truncate(tmp_path / "ark" / "feats.ark", 60)

    np.testing.assert_array_equal(reader["b-2"], MATRICES["b-2"])
    with pytest.raises(ArkError, match="no record of utterance 'a-1'"):
        reader["a-1"]


def edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        data = (directory / name).read_bytes()
        if old not in data:
            raise LookupError(f"{old!r} is not in {data!r}")
        (directory / name).write_bytes(data.replace(old, new, 1))

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


@pytest.mark.parametrize(
    "damage",
    [
        *(remove(name) for name in ("feats.ark", "feats.scp", "utt2num_frames", "meta.yaml")),
        edit("feats.scp", b"a-1 feats.ark:47\nb-2 feats.ark:4\n", b""),
        edit("feats.scp", b"a-1 feats.ark:47\n", b""),
        edit("feats.scp", b"a-1 feats.ark:47\n", b"b-2 feats.ark:47\n"),
        edit("feats.scp", b"a-1 feats.ark:47\n", b"c-1 feats.ark:47\n"),
        edit("feats.scp", b"a-1 feats.ark:47", b"a-1 feats.ark:4"),
        edit("feats.scp", b"feats.ark:47\nb-2 feats.ark:4", b"feats.ark:4\nb-2 feats.ark:47"),
        edit("feats.scp", b":47", b":48"),
        edit("feats.scp", b":47", b":" + b"9" * 30),
        edit("feats.scp", b":47", b":-47"),
        edit("feats.scp", b":47", b""),
        edit("feats.scp", b" feats.ark:47", b""),
        edit("feats.scp", b"a-1", b"\na-1"),
        edit("feats.scp", b"a-1", b"a-\xff"),
        edit("feats.scp", b"feats.ark:47", b"../ark/feats.ark:47"),
        edit("feats.scp", b":4\n", b":4"),
        edit("utt2num_frames", b"b-2 3", b"b-2 4"),
        edit("utt2num_frames", b"b-2 3", b"b-2 0"),
        edit("utt2num_frames", b"b-2 3", b"b-2 -3"),
        edit("utt2num_frames", b"b-2 3", b"b-2 3.0"),
        edit("utt2num_frames", b"b-2 3", b"b-2 99999999999"),
        edit("utt2num_frames", b"a-1 1\n", b""),
        edit("meta.yaml", b"count: 2", b"count: 1"),
        edit("meta.yaml", b"count: 2", b"count: two"),
        edit("meta.yaml", b"dim: 2", b"dim: 0"),
        edit("meta.yaml", b"dim: 2", b"dim: 3"),
        edit("meta.yaml", b"dim: 2", b"dim: 1000000000000"),
        edit("meta.yaml", b"ndim: 2", b"ndim: 1"),
        edit("meta.yaml", b"ndim: 2", b"ndim: 3"),
        edit("meta.yaml", b"compressed: false", b"compressed: true"),
        edit("meta.yaml", b"bytes: 70\n", b""),
        edit("meta.yaml", b"kind: features", b"kind: !!python/object:os.system x"),
        edit("feats.ark", b"FM", b"DM"),
    ],
)
def test_files_that_do_not_agree_are_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    directory = store(tmp_path / "ark", MATRICES)
    damage(directory)

    assert_refused(directory)


@pytest.mark.parametrize("value", ["touch SENTINEL |", "| touch SENTINEL", "feats.ark:4[0:1]"])
def test_commands_in_the_index_are_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = store(tmp_path / "ark", MATRICES)
    edit("feats.scp", b"feats.ark:4\n", value.encode() + b"\n")(directory)

    assert_refused(directory)
    assert not (tmp_path / "SENTINEL").exists()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def test_a_pickle_in_the_ark_is_never_loaded(tmp_path: Path) -> None:
    path = store(tmp_path / "ark", {"a": np.zeros((50, 2), np.float32)}) / "feats.ark"
    record = b"a PKL" + pickle.dumps(Bomb(tmp_path / "sentinel"))
    path.write_bytes(record + path.read_bytes()[len(record) :])

    assert_refused(tmp_path / "ark")
    assert not (tmp_path / "sentinel").exists()
    with pytest.raises(FileExistsError):  # the payload itself works, so the test can fail
        (tmp_path / "sentinel").mkdir()
        pickle.load(io.BytesIO(record[5:]))  # noqa: S301


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    directory = store(tmp_path / "ark", MATRICES)
    with pytest.raises(
        ArkError, match=r"(?s)2 faults.*kind: the store has 'features', expected 'layer'.*rate"
    ):
        ArkReader(directory, expect={"kind": "layer", "rate": 16000})


def test_settings_are_compared_as_yaml_holds_them(tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "ark", {"tempos": (0.9, 1.0), "path": Path("x")}) as writer:
        writer.write("a", np.ones(1))

    assert len(ArkReader(tmp_path / "ark", expect={"tempos": (0.9, 1.0), "path": Path("x")})) == 1


def test_a_reader_that_is_in_use_can_be_sent_to_another_process(tmp_path: Path) -> None:
    reader = ArkReader(store(tmp_path / "ark", MATRICES))
    np.testing.assert_array_equal(reader["a-1"], MATRICES["a-1"])
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301
    reader.close()

    np.testing.assert_array_equal(copy["b-2"], MATRICES["b-2"])
    np.testing.assert_array_equal(reader["b-2"], MATRICES["b-2"])  # opens again


def test_an_unknown_utterance_is_a_key_error(tmp_path: Path) -> None:
    reader = ArkReader(store(tmp_path / "ark", MATRICES))

    assert "c" not in reader
    with pytest.raises(KeyError):
        reader["c"]


def test_what_is_read_may_be_changed(tmp_path: Path) -> None:
    reader = ArkReader(store(tmp_path / "ark", MATRICES))
    reader["a-1"][:] = 0

    np.testing.assert_array_equal(reader["a-1"], MATRICES["a-1"])


def test_a_full_disk_keeps_the_old_store_and_names_it(tmp_path: Path) -> None:
    store(tmp_path / "ark", MATRICES)
    code = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from sertoolkit.storage.ark import ArkWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "with ArkWriter(sys.argv[1], {}) as writer:\n"
        "    for number in range(20):\n"
        "        writer.write(str(number), np.ones((100, 40)))\n"
    )
    root = str(Path(sertoolkit.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ark")],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 1
    assert f"File too large: '{tmp_path / 'ark'}'" in result.stderr.splitlines()[-1]
    assert set(read_all(tmp_path / "ark")) == set(MATRICES)
    assert os.listdir(tmp_path) == ["ark"]
