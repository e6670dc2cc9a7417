"""Recognition of joint systems: which test sentences count as spoken in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.transcripts import TRANSCRIPTS, recognition_rows
from sertoolkit.storage.tensors import save_tensors
from sertoolkit.text.tokens import make_tokens
from sertoolkit.text.transcripts import write_transcripts


@pytest.mark.parametrize("are_learnt", [True, False])
def test_a_sentence_is_seen_where_training_learnt_the_same_letters(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol, are_learnt: bool
) -> None:
    fold = resolved.folds["fold-01"]
    folder = add_member("joint-2", fold.name, 1)
    save_tensors(
        folder / "model.safetensors",
        {"weight": torch.zeros(1)},
        {
            "tokens": make_tokens(["OKAY I KNOW NEVER"]).to_state(),
            "emotion_alone": [] if are_learnt else list(fold.train),
        },
    )
    text = dict.fromkeys(fold.train, "Okay, I know [LAUGHTER]") | dict.fromkeys(fold.test, "Never.")
    text[fold.test[0]] = "Okay. I know."
    del text[fold.train[1]]  # what is not known of training is no fault here
    for name in TRANSCRIPTS.values():
        write_transcripts(folder / name, dict.fromkeys(fold.test, "OKAY I KNOW"))

    rows = recognition_rows(exp, read_members(exp, resolved, folds=[fold.name]), resolved, text)

    found = {row["sentences"]: (row["num_utts"], row["wer_after"]) for row in rows}
    kinds = {"seen": (1, 0), "unseen": (5, 3)} if are_learnt else {}
    assert found == {"all": (6, 15 / 8), **kinds}
