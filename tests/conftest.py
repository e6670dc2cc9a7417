"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sertoolkit.corpus.protocol import ResolvedProtocol

CLASSES = ("anger", "sadness")
LONGEST = ("test_end_to_end.py", "test_readme.py", "test_paper_end_to_end.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: they fill one core each while the others run on what is left."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real corpora (CMU_ARCTIC, EmoDB, ...); skips the test where the variable names none."""
    value = os.environ.get("SERTOOLKIT_CORPORA")
    if not value:
        pytest.skip("needs real speech: set SERTOOLKIT_CORPORA to a folder with CMU_ARCTIC, EmoDB, ...")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"SERTOOLKIT_CORPORA={value} is not a folder")
    return folder


@pytest.fixture
def resolved() -> ResolvedProtocol:
    """A small corpus under a protocol: speakers s0, s1, s2, each with four angry and two sad utterances."""
    from sertoolkit.config import from_dict
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.protocol import Protocol, resolve

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
    from sertoolkit.corpus.protocol import write_protocol

    write_protocol(resolved, tmp_path / "exp" / "protocol")
    return tmp_path / "exp"


@pytest.fixture
def add_member(exp: Path, resolved: ResolvedProtocol) -> Callable[..., Path]:
    """Writes a member that errs on the first ``wrong`` utterances of its test set (angry ones come first)."""

    import numpy as np

    from sertoolkit.scoring.predictions import write_predictions
    from sertoolkit.storage.atomic import write_yaml

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
        write_yaml(folder / "member.yaml", meta)
        return folder

    return add
