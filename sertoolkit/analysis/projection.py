"""Utterance representations in two dimensions by t-SNE (Figure 4 of Lakomkin et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sertoolkit.analysis.figures import class_style, save_figure

if TYPE_CHECKING:
    from sertoolkit.corpus.protocol import Fold

MAX_UTTS = 2000  # more points hide each other, and t-SNE takes a minute a panel
PAIR = ("sadness", "anger")  # the second row of the paper's figure
_NUM_COMPONENTS = (
    50  # of the principal components that t-SNE reads (van der Maaten and Hinton 2008, section 4.2)
)
_PERPLEXITY = 30.0
_NUM_STEPS = 500  # half of them make the clusters; from there on the picture hardly changes
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Representations:
    """Vectors of utterances that a system's last layer reads.

    Args:
        system: name
        fold: whose training made them
        vectors: (N, D)
        is_trained: whether anything before the last layer was trained for emotion

    """

    system: str
    fold: Fold
    vectors: np.ndarray
    is_trained: bool


def can_project(system: Mapping[str, Any]) -> bool:
    """Whether a system hears through a frozen encoder alone, as those of the paper's figure do.

    Args:
        system: its settings, as ``config.yaml`` of the experiment holds them

    """
    from sertoolkit import registry

    return registry.get("head", system["head"]).needs in ({"pooled"}, {"frames"})


def represent(folder: Path, fold: Fold, utt_ids: Sequence[str], *, layers_dir: Path) -> Representations:
    """Run a trained head up to its last layer, on stored layers.

    Args:
        folder: of the member
        fold: of the member
        utt_ids: N utterances
        layers_dir: folder of the encoder's layers

    Raises:
        CheckpointError: if the member is damaged
        ArkError: if a store is missing, or was made by another encoder than the member's
        DataError: if a store lacks an utterance

    """
    import torch

    from sertoolkit.errors import ArkError
    from sertoolkit.inference.emotion import build_head
    from sertoolkit.storage.tensors import load_tensors
    from sertoolkit.tasks.ser import HeadInputs
    from sertoolkit.training.members import MODEL_FILE

    tensors, meta = load_tensors(folder / MODEL_FILE)
    head = build_head(tensors, meta)
    inputs = HeadInputs(type(head), meta["system"]["layers"], side_dir=None, layers_dir=layers_dir)
    if inputs.encoder_hash != meta["hashes"]["encoder"]:
        raise ArkError(
            f"{layers_dir}: made by encoder {inputs.encoder_hash}, {folder} was trained on"
            f" {meta['hashes']['encoder']}; give the layers of that one"
        )
    inputs.check(utt_ids)
    order = sorted(range(len(utt_ids)), key=lambda index: inputs.num_frames(utt_ids[index]))
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    with torch.no_grad():
        rows = [head.represent(*inputs.batch([utt_ids[index] for index in batch])) for batch in batches]
    vectors = torch.cat(rows)[np.argsort(order)].numpy()
    is_trained = any(not name.startswith("output.") for name in tensors)
    return Representations(system=meta["member"]["system"], fold=fold, vectors=vectors, is_trained=is_trained)


def project(vectors: np.ndarray, *, seed: int) -> np.ndarray:
    """Bring vectors into the plane by t-SNE, after their principal components.

    Args:
        vectors: (N, D), N at least 4
        seed: of t-SNE

    Returns:
        (N, 2); directions and distances have no unit

    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    num_components = min(_NUM_COMPONENTS, *vectors.shape)
    components = PCA(num_components, random_state=seed).fit_transform(vectors)
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=_NUM_STEPS, random_state=seed)
    return tsne.fit_transform(components)


def projection_rows(
    systems: Sequence[Representations], utt_ids: Sequence[str], classes: Sequence[str], *, seed: int
) -> list[dict[str, Any]]:
    """Both rows of the figure: all classes, and the pair that the paper looks at, where the protocol has it.

    Args:
        systems: a column each
        utt_ids: N utterances, in the order of the vectors
        classes: of the protocol
        seed: of t-SNE

    Returns:
        dicts with ``system classes utt_id class set x y``; ``set`` is the utterance's in the member's fold

    """
    choices = {"all": tuple(classes)} | ({"+".join(PAIR): PAIR} if set(PAIR) < set(classes) else {})
    rows = []
    for system in systems:
        sets = {utt_id: name for name in ("train", "valid", "test") for utt_id in getattr(system.fold, name)}
        truth = [system.fold.truth[utt_id] for utt_id in utt_ids]
        for name, chosen in choices.items():
            kept = [index for index, label in enumerate(truth) if label in chosen]
            for index, (x, y) in zip(kept, project(system.vectors[kept], seed=seed).tolist(), strict=True):
                utt_id = utt_ids[index]
                rows.append(
                    {
                        "system": system.system,
                        "classes": name,
                        "utt_id": utt_id,
                        "class": truth[index],
                        "set": sets.get(utt_id, "none") if system.is_trained else "any",
                        "x": x,
                        "y": y,
                    }
                )
    return rows


def plot_projections(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], path: str | Path) -> None:
    """Draw a column a system and a row a choice of classes.

    Args:
        rows: of :func:`projection_rows`
        classes: of the protocol
        path: PNG to write

    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["classes"], row["system"]), []).append(row)
    choices, systems = (list(dict.fromkeys(key[place] for key in panels)) for place in (0, 1))
    figure = Figure(figsize=(0.5 + 2.2 * len(systems), 0.6 + 2.2 * len(choices)), layout="constrained")
    axes = figure.subplots(len(choices), len(systems), squeeze=False)
    for line, choice in zip(axes, choices, strict=True):
        line[0].set_ylabel("all classes" if choice == "all" else " and ".join(PAIR))
        for axis, system in zip(line, systems, strict=True):
            _draw(axis, panels[choice, system], classes)
    for axis, system in zip(axes[0], systems, strict=True):
        axis.set_title(system, fontsize=11)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=name)
        for name, (colour, marker) in ((name, class_style(name, classes)) for name in classes)
    ]
    if any(row["set"] == "test" for row in rows):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                color="white",
                markeredgecolor="black",
                label="never trained on",
            )
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    save_figure(figure, path)


def _draw(axis: Any, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    size = float(np.clip(3000 / len(rows), 4, 22))  # points of a big corpus would hide each other
    for name in classes:
        colour, marker = class_style(name, classes)
        for is_test in (False, True):
            mine = [row for row in rows if row["class"] == name and (row["set"] == "test") == is_test]
            edge = "black" if is_test else "none"
            x, y = [row["x"] for row in mine], [row["y"] for row in mine]
            axis.scatter(
                x,
                y,
                s=size,
                c=colour,
                marker=marker,
                alpha=0.8,
                edgecolors=edge,
                linewidths=0.7,
                zorder=2 + is_test,
            )
    axis.set_xticks([])
    axis.set_yticks([])
