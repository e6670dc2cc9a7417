"""Transcripts as vectors of pieces of words."""

from __future__ import annotations

import numpy as np
import pytest

from sertoolkit.text.pieces import Pieces


def test_a_vector_has_length_1_whatever_the_text() -> None:
    for text in ("NO", "IT WILL BE IN THE PLACE WHERE WE ALWAYS STORE IT"):
        vector = Pieces()(text)
        assert vector.shape == (1024,) and vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_nothing_heard_is_all_zeros() -> None:
    assert not Pieces()("").any()


def test_the_order_of_words_does_not_count() -> None:
    np.testing.assert_array_equal(Pieces()("BLACK SHEET"), Pieces()("SHEET BLACK"))


def test_a_misspelt_word_stays_closer_than_another_word() -> None:
    heard, meant, other = (Pieces()(text) for text in ("REFRIDGERATER", "REFRIGERATOR", "CLOTH ON A TABLE"))
    assert heard @ meant > heard @ other + 0.2


def test_a_short_word_is_a_piece_of_its_own() -> None:
    assert abs(Pieces()("NO") @ Pieces()("NOTED")) < abs(Pieces()("NO") @ Pieces()("NO WAY"))
