"""Figure 4: what heads hand to their last layer, in two dimensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from sertoolkit import registry
from sertoolkit.analysis.projection import (
    Representations,
    can_project,
    plot_projections,
    project,
    projection_rows,
    represent,
)
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.encoders.layers import DURATIONS, layer_dir
from sertoolkit.errors import ArkError
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.storage.tensors import save_tensors

DIM = 6
CLASSES = ("anger", "sadness")


@pytest.fixture
def frames(resolved: ResolvedProtocol) -> dict[str, np.ndarray]:
    """Layer 2 of each utterance, between 3 and 7 frames."""
    draw = np.random.default_rng(1)
    utt_ids = sorted(resolved.folds["fold-01"].truth)
    return {utt_id: draw.normal(size=(draw.integers(3, 8), DIM)).astype(np.float32) for utt_id in utt_ids}


@pytest.fixture
def layers_dir(tmp_path: Path, frames: dict[str, np.ndarray]) -> Path:
    """Stores of layer 2, pooled and with frames."""
    meta = {"kind": "layer", "encoder_hash": "e1", "feats_hash": "f1"}
    root = tmp_path / "layers"
    for form in ("pooled", "frames"):
        with ArkWriter(layer_dir(root, 2, form), meta) as writer:
            for utt_id, values in frames.items():
                writer.write(utt_id, values if form == "frames" else values.mean(axis=0))
    (root / DURATIONS).write_text("".join(f"{u} {2 * len(v)}\n" for u, v in frames.items()))
    return root


@pytest.fixture
def add_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes the model of an untrained member on layer 2."""

    def add(name: str, *, encoder_hash: str = "e1") -> Path:
        torch.manual_seed(1)
        head = registry.get("head", name)
        conf = {"units": 4} if name == "rnn" else {}
        model = head(head.Config(**conf), layer_dims=[DIM], side_dim=None, num_classes=2)
        meta = {
            "member": {"system": f"{name}-2", "fold": "fold-01", "seed": 1},
            "system": {"head": name, "layers": [2], "head_conf": conf},
            "classes": list(CLASSES),
            "layer_dims": [DIM],
            "side_dim": None,
            "hashes": {"encoder": encoder_hash},
        }
        save_tensors(tmp_path / name / "model.safetensors", model.state_dict(), meta)
        return tmp_path / name

    return add


def test_mean_pool_shows_the_layer_as_it_is(
    add_model: Callable[..., Path],
    layers_dir: Path,
    frames: dict[str, np.ndarray],
    resolved: ResolvedProtocol,
) -> None:
    utt_ids = sorted(frames, reverse=True)

    found = represent(add_model("mean_pool"), resolved.folds["fold-01"], utt_ids, layers_dir=layers_dir)

    np.testing.assert_allclose(found.vectors, [frames[u].mean(axis=0) for u in utt_ids], rtol=1e-6)
    assert not found.is_trained


def test_rows_of_a_trained_head_stand_in_the_order_asked_for(
    add_model: Callable[..., Path],
    layers_dir: Path,
    frames: dict[str, np.ndarray],
    resolved: ResolvedProtocol,
) -> None:
    folder, fold, utt_ids = add_model("rnn"), resolved.folds["fold-01"], sorted(frames)

    found = represent(folder, fold, utt_ids, layers_dir=layers_dir)
    other = represent(folder, fold, utt_ids[::-1], layers_dir=layers_dir)

    assert found.is_trained
    assert found.vectors.shape == (len(utt_ids), 8)
    np.testing.assert_allclose(found.vectors, other.vectors[::-1], atol=1e-6)


def test_layers_of_another_encoder_are_refused(
    add_model: Callable[..., Path], layers_dir: Path, resolved: ResolvedProtocol
) -> None:
    folder = add_model("mean_pool", encoder_hash="e2")

    with pytest.raises(ArkError, match="made by encoder e1, .* was trained on e2"):
        represent(folder, resolved.folds["fold-01"], ["s0-anger0"], layers_dir=layers_dir)


@pytest.mark.parametrize(
    ("head", "expected"), [("mean_pool", True), ("rnn", True), ("baseline", False), ("progressive", False)]
)
def test_systems_of_the_figure_hear_through_the_encoder_alone(head: str, expected: bool) -> None:
    assert can_project({"head": head}) is expected


def clouds(num_utts: int = 20) -> np.ndarray:
    """Two groups far apart."""
    draw = np.random.default_rng(2)
    return draw.normal(size=(num_utts, 60)) + 20 * (np.arange(num_utts) % 2)[:, None]


def test_groups_far_apart_stay_apart() -> None:
    plane = project(clouds(), seed=1)

    centres = np.stack([plane[::2].mean(axis=0), plane[1::2].mean(axis=0)])
    nearest = ((plane[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert nearest.tolist() == [0, 1] * 10


def test_projection_repeats_itself() -> None:
    np.testing.assert_array_equal(project(clouds(), seed=1), project(clouds(), seed=1))


def test_second_row_of_the_figure_holds_the_pair_alone(resolved: ResolvedProtocol, tmp_path: Path) -> None:
    fold = resolved.folds["fold-01"]
    utt_ids = sorted(fold.truth)
    truth = dict(fold.truth) | {"s0-anger0": "neutral", "s1-anger0": "neutral"}
    fold = type(fold)(**{**vars(fold), "truth": truth})
    systems = [
        Representations(system=name, fold=fold, vectors=clouds(len(utt_ids)), is_trained=trained)
        for name, trained in (("mp-2", False), ("rnn-2", True))
    ]

    rows = projection_rows(systems, utt_ids, ("anger", "neutral", "sadness"), seed=1)
    plot_projections(rows, ("anger", "neutral", "sadness"), tmp_path / "a.png")

    pair = [row for row in rows if row["classes"] == "sadness+anger"]
    assert {row["class"] for row in pair} == {"anger", "sadness"}
    assert len(pair) == 2 * (len(utt_ids) - 2)
    sets = {name: {row["set"] for row in rows if row["system"] == name} for name in ("mp-2", "rnn-2")}
    assert sets == {"mp-2": {"any"}, "rnn-2": {"train", "valid", "test"}}
    assert imread(tmp_path / "a.png").std() > 0.02  # not blank


def test_protocol_without_the_pair_has_one_row(resolved: ResolvedProtocol) -> None:
    fold = resolved.folds["fold-01"]
    utt_ids = sorted(fold.truth)
    system = Representations(system="mp-2", fold=fold, vectors=clouds(len(utt_ids)), is_trained=False)

    rows = projection_rows([system], utt_ids, CLASSES, seed=1)

    assert {row["classes"] for row in rows} == {"all"}
