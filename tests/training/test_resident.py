"""Inputs on a device against those from the disk; the device is the CPU here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sertoolkit import registry
from sertoolkit.encoders.layers import DURATIONS, layer_dir
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.tasks.ser import HeadInputs
from sertoolkit.training.resident import DeviceInputs, table_bytes

FRAMES = {"a-1": 3, "b-1": 7, "b-2": 1, "c-1": 5}
LAYERS = {"mean_pool": [1, 2], "rnn": [1, 2], "progressive": [2], "baseline": []}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    root, generator = tmp_path_factory.mktemp("stores"), np.random.default_rng(1)
    meta = {"encoder_hash": "e", "feats_hash": "f"}
    with ArkWriter(root / "side", {"kind": "features"}) as writer:
        for utt_id, count in FRAMES.items():
            writer.write(utt_id, generator.standard_normal((2 * count, 4)))
    for layer in (1, 2):
        for form in ("pooled", "frames"):
            with ArkWriter(
                layer_dir(root / "layers", layer, form), meta | {"kind": "layer"}, compress=form == "frames"
            ) as writer:
                for utt_id, count in FRAMES.items():
                    writer.write(utt_id, generator.standard_normal((count, 5) if form == "frames" else 5))
    (root / "layers" / DURATIONS).write_text("".join(f"{u} {n}\n" for u, n in FRAMES.items()))
    return root


def inputs_of(head: str, root) -> HeadInputs:
    return HeadInputs(
        registry.get("head", head), LAYERS[head], side_dir=root / "side", layers_dir=root / "layers"
    )


@pytest.mark.parametrize("budget", [0, 10**9])
@pytest.mark.parametrize("head", LAYERS)
@pytest.mark.parametrize("utt_ids", [["b-1", "a-1"], ["b-2", None, "c-1", "b-2"]])
def test_a_batch_on_a_device_equals_the_one_from_the_disk(folder, head, utt_ids, budget) -> None:
    host = inputs_of(head, folder)
    resident = DeviceInputs(host, CPU, budget=budget)
    assert resident.is_resident == (budget > 0)
    (layers, *others), (expected, *rest) = resident.batch(utt_ids), host.batch(utt_ids)
    assert len(layers) == len(expected)
    for ours, theirs in zip([*layers, *others], [*expected, *rest], strict=True):
        if theirs is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("head", LAYERS)
def test_a_corpus_stays_on_the_disk_where_it_does_not_fit_by_one_byte(folder, head, caplog) -> None:
    host = inputs_of(head, folder)
    size = table_bytes(host)
    values = {
        "baseline": 2 * 16 * 4,
        "mean_pool": 2 * 4 * 5,
        "rnn": 2 * 16 * 5,
        "progressive": 4 * 5 + 2 * 16 * 4,
    }
    spare = sum(4 * store.dim for store in host.stores)  # the row that is zero
    assert size == 4 * values[head] + spare
    assert DeviceInputs(host, CPU, budget=size).is_resident
    assert not caplog.records
    assert not DeviceInputs(host, CPU, budget=size - 1).is_resident
    assert "do not fit" in caplog.text


def test_what_is_no_batch_is_answered_by_the_stores(folder) -> None:
    host = inputs_of("progressive", folder)
    resident = DeviceInputs(host, CPU, budget=10**9)
    assert resident.num_frames("b-1") == 7
    assert (resident.layer_dims, resident.side_dim) == ([5], 4)
