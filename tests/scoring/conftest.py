"""A small experiment on disk: three speakers, two classes, predictions that are known by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from sertoolkit.config import from_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import Protocol, ResolvedProtocol, resolve, write_protocol
from sertoolkit.scoring.predictions import write_predictions

CLASSES = ("anger", "sadness")


@pytest.fixture
def resolved() -> ResolvedProtocol:
    """Speakers s0, s1, s2, each with four angry and two sad utterances."""
    utt2emo = {
        f"s{s}-{label}{n}": label
        for s in range(3)
        for label, num in (("anger", 4), ("sadness", 2))
        for n in range(num)
    }
    data_dir = DataDir(
        wav={utt_id: "a.wav" for utt_id in utt2emo},
        utt2spk={utt_id: utt_id[:2] for utt_id in utt2emo},
        utt2emo=utt2emo,
    )
    labels = {name: name for name in CLASSES}
    return resolve(
        from_dict(Protocol, {"name": "two", "version": 1, "classes": list(CLASSES), "labels": labels}),
        data_dir,
    )


@pytest.fixture
def exp(tmp_path: Path, resolved: ResolvedProtocol) -> Path:
    """Experiment folder with its protocol in EXP/protocol."""
    write_protocol(resolved, tmp_path / "exp" / "protocol")
    return tmp_path / "exp"


@pytest.fixture
def add_member(exp: Path, resolved: ResolvedProtocol) -> Callable[..., Path]:
    """Writes a member that errs on the first ``wrong`` utterances of its test set (angry ones come first)."""

    def add(system: str, fold: str, seed: int, *, wrong: int = 0, protocol_hash: str | None = None) -> Path:
        folder = exp / system / fold / f"seed-{seed}"
        test = resolved.folds[fold].test
        truth = [resolved.folds[fold].truth[utt_id] for utt_id in test]
        right = np.array([[label == name for name in CLASSES] for label in truth], dtype=float)
        right[:wrong] = right[:wrong, ::-1]
        write_predictions(folder / "predictions.test.tsv", test, truth, right, CLASSES)
        meta = {
            "system": system,
            "fold": fold,
            "seed": seed,
            "hashes": {
                "protocol": protocol_hash or resolved.hash,
                "encoder": None,
                "config": "c",
                "data": "d",
            },
            "num_parameters": 1234,
            "best_epoch": 3,
            "epochs": 7,
            "seconds": 1.5,
        }
        (folder / "member.yaml").write_text(yaml.safe_dump(meta))
        return folder

    return add
