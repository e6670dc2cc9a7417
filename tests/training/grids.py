"""A small grid that the tests of training share: its configuration, its stores, its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sertoolkit.audio.augmentation import Augmentation, copy_id
from sertoolkit.config import load_yaml, to_dict
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths

CLASSES = ("anger", "happiness", "neutral", "sadness")


CODES = dict(zip(CLASSES, ("ang", "hap", "neu", "sad"), strict=True))


CONFIG = SerConfig(
    systems={
        "baseline-96": System(head="baseline", head_conf={"units": 6}),
        "mp-1": System(head="mean_pool", layers=[1]),
        "rnn-2": System(head="rnn", layers=[2], head_conf={"units": 6}),
        "progressive-2": System(head="progressive", layers=[2], head_conf={"units": 6}),
    },
    training=Training(learning_rate=0.02, batch_size=16, max_epochs=4),
)


PROTOCOL = Path(__file__).parents[2] / "conf" / "protocols" / "iemocap4-consensus.yaml"


def write_feats(path, utterances, frontend, dim, seed, copies=1):
    """Features whose mean tells the class a little."""
    generator = np.random.default_rng(seed)
    meta = {"kind": "features", "frontend": frontend, "frontend_conf": {}, "frame_shift": 0.01}
    if copies > 1:
        meta |= {"copies": copies, "augmentation": to_dict(Augmentation())}
    with ArkWriter(path, meta) as writer:
        for utt_id, name in [(copy_id(u, n), name) for u, name in utterances.items() for n in range(copies)]:
            length = int(generator.integers(20, 50))
            array = generator.standard_normal((length, dim))
            array[:, CLASSES.index(name)] += 2.0
            writer.write(utt_id, array.astype(np.float32))


def paths(corpus, exp):
    return GridPaths(corpus / "protocol", corpus / "side", corpus / "layers", exp)


def contents(exp):
    """Every file of the members but costs in seconds, as bytes."""
    found = {}
    for path in sorted(exp.glob("*/*/*/*")):
        if path.name == "member.yaml":
            found[str(path.relative_to(exp))] = {k: v for k, v in load_yaml(path).items() if k != "seconds"}
        else:
            found[str(path.relative_to(exp))] = path.read_bytes()
    return found


def assert_same_predictions(exp, expected):
    files = sorted(expected.glob("*/*/*/predictions.*.tsv"))
    assert files and len(files) == len(list(exp.glob("*/*/*/predictions.*.tsv")))
    for path in files:
        ours = read_predictions(exp / path.relative_to(expected), CLASSES)
        theirs = read_predictions(path, CLASSES)
        np.testing.assert_allclose(ours.posteriors, theirs.posteriors, atol=1e-4)
