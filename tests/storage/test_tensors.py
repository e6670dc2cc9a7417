"""Checkpoints and bundles: whole, checked, free of code."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from sertoolkit.errors import CheckpointError
from sertoolkit.storage.tensors import load_meta, load_tensors, save_tensors, tensors_hash


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {
        "a": torch.arange(6.0).view(2, 3),
        "b": torch.tensor(3, dtype=torch.int64),
        "c": torch.zeros(0),
    }
    save_tensors(path, tensors, {"epoch": 3, "names": ["x"]})
    return path, tensors


def test_tensors_and_plain_data_survive(saved):
    path, tensors = saved
    loaded, meta = load_tensors(path)
    assert meta == {"epoch": 3, "names": ["x"]}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_any_flipped_byte_is_found(saved):
    path, _ = saved
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(CheckpointError, match="model.safetensors"):
            load_tensors(path)


def test_any_truncation_is_found(saved):
    path, _ = saved
    good = path.read_bytes()
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        with pytest.raises(CheckpointError, match="model.safetensors"):
            load_tensors(path)


@pytest.mark.parametrize("load", [load_tensors, load_meta])
def test_missing_and_foreign_files_are_refused(tmp_path, load):
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "none")
    save_file({"a": torch.zeros(1)}, str(tmp_path / "foreign.safetensors"))
    with pytest.raises(CheckpointError, match="not written by sertoolkit"):
        load(tmp_path / "foreign.safetensors")


def test_plain_data_can_be_read_alone(saved):
    path, _ = saved
    assert load_meta(path) == load_tensors(path)[1]


def test_views_and_shared_storage_can_be_saved(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    save_tensors(tmp_path / "x", {"t": base.t(), "row": base[1]}, {})
    loaded, _ = load_tensors(tmp_path / "x")
    assert torch.equal(loaded["t"], base.t())
    assert torch.equal(loaded["row"], base[1])


@pytest.mark.parametrize("other", [{"b": torch.zeros(2)}, {"a": torch.zeros(1, 2)}, {"a": torch.ones(2)}, {}])
def test_the_hash_covers_names_shapes_and_values(other):
    assert tensors_hash(other) != tensors_hash({"a": torch.zeros(2)})


def test_the_same_content_gives_the_same_bytes(tmp_path):
    tensors = {name: torch.ones(2) for name in "abcdefgh"}
    contents = set()
    for number in range(10):
        save_tensors(tmp_path / str(number), tensors, {"z": 1, "a": 2})
        contents.add((tmp_path / str(number)).read_bytes())
    assert len(contents) == 1
