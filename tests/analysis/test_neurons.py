"""Neurons that follow a curve: planted ones are found, lucky ones are found out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from sertoolkit.analysis.neurons import (
    Heard,
    Recording,
    best_neurons,
    correlate,
    correlate_all,
    listen,
    neuron_rows,
    plot_neurons,
    record,
    sample_utterances,
)
from sertoolkit.analysis.prosody import LOUDNESS, PITCH, Curve
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.text.tokens import make_tokens

NUM_NEURONS = 40


def planted(num_utts: int = 12, *, sign: float = 1.0) -> Iterator[Heard]:
    """Two layers of noise; neuron 7 of layer 2 follows the loudness with some noise on it."""
    draw = np.random.default_rng(3)
    times = np.arange(30) * 0.02 + 0.01
    for number in range(num_utts):
        loudness = draw.normal(size=30)
        layers = [draw.normal(size=(30, NUM_NEURONS)) for _ in range(2)]
        layers[1][:, 6] = sign * loudness + 0.3 * draw.normal(size=30)
        yield Heard(f"u{number}", times, layers, {LOUDNESS: Curve(times, loudness)})


def test_correlation_is_that_of_numpy_over_frames_with_a_value() -> None:
    draw = np.random.default_rng(1)
    activations, values = draw.normal(size=(20, 3)), draw.normal(size=20)
    values[:5] = np.nan

    expected = [np.corrcoef(activations[5:, neuron], values[5:])[0, 1] for neuron in range(3)]
    np.testing.assert_allclose(correlate(activations, values), expected)


def test_neuron_that_never_changes_correlates_with_nothing() -> None:
    with np.errstate(all="raise"):
        assert correlate(np.ones((20, 1)), np.arange(20.0)).tolist() == [0.0]


@pytest.mark.parametrize("values", [np.arange(9.0), np.ones(20)], ids=["too few frames", "constant curve"])
def test_curve_that_says_nothing_gives_no_number(values: np.ndarray) -> None:
    assert np.isnan(correlate(np.ones((len(values), 2)), values)).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_planted_neuron_is_found(sign: float) -> None:
    best = best_neurons(neuron_rows(correlate_all(planted(sign=sign))))[LOUDNESS]

    assert (best["layer"], best["neuron"]) == (2, 7)
    assert sign * best["r_held_out"] > 0.9


def test_best_of_noise_is_found_out_on_the_other_half() -> None:
    draw = np.random.default_rng(5)
    correlations = {LOUDNESS: [draw.uniform(-1, 1, size=(10, 3000))]}

    best = neuron_rows(correlations)[0]

    assert abs(best["r_search"]) > 0.7
    assert abs(best["r_held_out"]) < 0.5


def test_halves_are_parted_by_order() -> None:
    table = np.array([[0.5], [0.7], [0.1], [0.3]])

    (row,) = neuron_rows({LOUDNESS: [table]})

    assert (row["r_search"], row["r_held_out"]) == pytest.approx((0.6, 0.2))
    assert row["sd_held_out"] == pytest.approx(np.std([0.1, 0.3], ddof=1))


def test_utterances_without_enough_frames_do_not_count() -> None:
    table = np.array([[0.5], [np.nan], [0.1], [0.3]])

    (row,) = neuron_rows({PITCH: [table]})

    assert (row["r_search"], row["num_search"], row["num_held_out"]) == (0.5, 1, 2)


def test_curve_that_one_half_lacks_has_no_rows() -> None:
    assert neuron_rows({PITCH: [np.array([[np.nan], [np.nan], [0.1], [0.3]])]}) == []


def test_sample_depends_on_the_seed_alone() -> None:
    names = [f"u{number}" for number in range(30)]

    first = sample_utterances(names, 10, seed=1)

    assert first == sample_utterances(reversed(names), 10, seed=1)
    assert first != sample_utterances(names, 10, seed=2)
    assert len(set(first)) == 10


def small_recogniser() -> Recogniser:
    torch.manual_seed(1)
    recogniser = Recogniser.build(
        encoder="ds2",
        encoder_conf={"conv_channels": 2, "num_layers": 2, "hidden_size": 8},
        frontend="power_spectrogram",
        frontend_conf={},
        tokens=make_tokens(["ab"]),
    )
    recogniser.model.eval()
    return recogniser


def test_utterances_heard_together_are_heard_as_alone() -> None:
    draw, recogniser = np.random.default_rng(1), small_recogniser()
    lengths = (8000, 3000, *[2000] * 10)  # more than one batch
    recordings = [Recording(f"u{n}", 0.1 * draw.normal(size=size), {}) for n, size in enumerate(lengths)]

    together = list(listen(recogniser, recordings))

    alone = [heard for recording in recordings for heard in listen(recogniser, [recording])]
    assert [heard.utt_id for heard in together] == [recording.utt_id for recording in recordings]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.times, other.times)
        for layer, expected in zip(one.layers, other.layers, strict=True):
            np.testing.assert_allclose(layer, expected, atol=1e-6)


def test_encoder_and_curves_share_one_clock(tmp_path: Path) -> None:
    """A sound that begins at 0.8 s begins there for the encoder's frames and for the loudness."""
    time = np.arange(19200) / 16000
    sound = np.where(time >= 0.8, 0.3 * np.random.default_rng(1).normal(size=19200), 0)
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    data_dir = DataDir(wav={"s-a": str(tmp_path / "a.wav")}, utt2spk={"s-a": "s"})

    (heard,) = listen(small_recogniser(), record(data_dir, ["s-a"]))

    assert [layer.shape for layer in heard.layers] == [(len(heard.times), 16)] * 2
    steps = np.abs(np.diff(heard.layers[0], axis=0)).sum(axis=1)
    assert abs(heard.times[steps.argmax()] - 0.8) <= 0.15  # as far as the convolutions reach
    loudness = heard.curves[LOUDNESS].at(heard.times)
    assert abs(heard.times[np.nanargmax(np.diff(loudness))] - 0.8) < 0.04


def test_figure_is_drawn_for_curves_with_gaps(tmp_path: Path) -> None:
    utterances = list(planted(2))
    times = utterances[0].times
    for heard in utterances:
        heard.curves[PITCH] = Curve(times, np.where(times > 0.3, times, np.nan))
    row = {"layer": 2, "neuron": 7, "r_search": -0.5}

    plot_neurons({LOUDNESS: row, PITCH: row}, utterances, tmp_path / "a.png")

    assert imread(tmp_path / "a.png").std() > 0.02  # not blank
