"""Files of predictions: round trip, and every way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sertoolkit.errors import DataError
from sertoolkit.scoring.predictions import read_answers, read_predictions, write_predictions

CLASSES = ("anger", "sadness")
GOOD = "utt_id\ttruth\tpredicted\tanger\tsadness\nu-1\tanger\tsadness\t0.25\t0.75\nu-2\tanger\tanger\t1\t0\n"


def test_highest_posterior_is_predicted_and_the_first_of_equals(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    posteriors = np.array([[0.25, 0.75], [0.5, 0.5]])

    write_predictions(path, ["u-1", "u-2"], ["anger", "sadness"], posteriors, CLASSES)

    assert path.read_text() == (
        "utt_id\ttruth\tpredicted\tanger\tsadness\nu-1\tanger\tsadness\t0.25\t0.75\nu-2\tsadness\tanger\t0.5\t0.5\n"
    )


def test_posteriors_survive_to_the_last_bit_of_float32(tmp_path: Path) -> None:
    logits = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    utt_ids = [f"u-{n:02d}" for n in range(50)]

    write_predictions(tmp_path / "p.tsv", utt_ids, ["anger"] * 50, posteriors, CLASSES)
    again = read_predictions(tmp_path / "p.tsv", CLASSES)

    assert again.utt_ids == utt_ids
    assert again.truth == ["anger"] * 50
    assert again.predicted == [CLASSES[n] for n in posteriors.argmax(axis=1)]
    np.testing.assert_array_equal(again.posteriors.astype(np.float32), posteriors)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (GOOD, "", "header ''"),
        ("anger\tsadness\nu-1", "sadness\tanger\nu-1", ":1: header"),
        ("u-1\tanger\tsadness\t0.25\t0.75\nu-2\tanger\tanger\t1\t0\n", "", "empty"),
        ("\t0.75\n", "\n", ":2: 4 columns, expected 5"),
        ("\t0.75\n", "\t0.75\t1\n", ":2: 6 columns, expected 5"),
        ("\t1\t0\n", "\t1\t0", "last line is cut"),
        ("\t1\t0\n", "\t1\n", ":3: 4 columns"),
        ("u-2", "u-1", "utterance u-1 stands 2 times"),
        ("u-2\tanger\tanger", "u-2\tAnger\tanger", "truth 'Anger' is no class"),
        ("u-2\tanger\tanger", "u-2\tanger\tjoy", "predicted 'joy' is no class"),
        ("0.75", "nan", "u-1: posteriors"),
        ("0.75", "0.85", "u-1: posteriors"),
        ("0.25\t0.75", "-0.25\t1.25", "u-1: posteriors"),
        ("0.75", "much", "could not convert"),
    ],
)
def test_wrong_file_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    (tmp_path / "p.tsv").write_text(GOOD.replace(old, new, 1))

    with pytest.raises(DataError, match=message) as caught:
        read_predictions(tmp_path / "p.tsv", CLASSES)
    assert "p.tsv" in str(caught.value)


@pytest.mark.parametrize(
    ("posteriors", "message"),
    [
        ([[0.5, 0.5]], r"expected \(2, 2\)"),
        ([[0.5, 0.5, 0], [1, 0, 0]], r"expected \(2, 2\)"),
        ([[0.5, 0.5], [np.nan, 1]], "u-2: posteriors"),
        ([[0.5, 0.5], [-3, 2]], "u-2: posteriors"),
    ],
)
def test_posteriors_that_do_not_fit_are_not_written(tmp_path: Path, posteriors: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_predictions(
            tmp_path / "p.tsv", ["u-1", "u-2"], ["anger", "anger"], np.array(posteriors), CLASSES
        )
    assert not (tmp_path / "p.tsv").exists()


@pytest.mark.parametrize(
    "text",
    [
        "utt_id\tpredicted\nu-1\tsadness\nu-2\tanger\n",
        "\ufeffpredicted\tscore\tutt_id\r\nsadness\t0.9\tu-1\r\nanger\t\tu-2",
        GOOD,
        GOOD.replace("u-1\tanger", "u-1\tnobody asks for it"),
    ],
    ids=["two columns", "of a spreadsheet", "ours", "truth is not read"],
)
def test_answers_of_another_toolkit_are_read_by_the_names_of_two_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.tsv").write_bytes(text.encode("utf-8"))

    assert read_answers(tmp_path / "p.tsv", CLASSES) == {"u-1": "sadness", "u-2": "anger"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: header ''"),
        ("utt_id predicted\nu-1 anger\n", "parted by tabs"),
        ("utt_id\tpredicted\tpredicted\n", ":1: header"),
        ("utt_id\tpredicted\nu-1\n", ":2: 1 columns, expected 2"),
        ("utt_id\tpredicted\nu-1\tanger\nu-1\tanger\n", ":3: utterance u-1 stands again"),
        ("utt_id\tpredicted\nu-1\tAnger\n", ":2: predicted 'Anger' is no class .* did you mean 'anger'"),
        ("utt_id\tpredicted\nu-1\t\udcff\n", "expected a table of UTF-8 text"),
    ],
)
def test_wrong_answers_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.tsv").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(DataError, match=message) as caught:
        read_answers(tmp_path / "p.tsv", CLASSES)
    assert "p.tsv" in str(caught.value)
