"""Neurons of the recogniser that follow loudness or pitch (Figure 6 of Lakomkin et al. 2017).

The paper names the neuron whose activation correlates best with loudness, by the mean of Pearson's correlation
over utterances. The best of thousands of neurons looks good by luck alone, so the neurons are chosen on one half
of the utterances, and their correlation is reported on the other half. A network with random weights has such
neurons too, so the same search there is the control.

Shapes: N utterances, T frames of the encoder, D neurons of a layer. Layers and neurons are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sertoolkit.analysis.figures import COLOURS, save_figure
from sertoolkit.analysis.prosody import LABELS, Curve, Prosody
from sertoolkit.audio.read import read_audio
from sertoolkit.errors import ConfigError

if TYPE_CHECKING:
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.inference.recogniser import Recogniser

MIN_FRAMES = 10  # a correlation over fewer frames says nothing
_BATCH = 10  # utterances that the encoder hears together: its steps take little longer than for one
_NUM_TOP = 5  # neurons a layer that are listed

Correlations = Mapping[str, Sequence[np.ndarray]]
"""curve -> for each layer (N, D); NaN where an utterance has too few frames"""


@dataclass(frozen=True)
class Recording:
    """One utterance and its prosody.

    Args:
        utt_id: which
        waveform: mono (num_samples,), in [-1, 1], 16 kHz
        curves: by name

    """

    utt_id: str
    waveform: np.ndarray
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of one utterance, beside its prosody.

    Args:
        utt_id: which
        times: centres of the encoder's frames in seconds, (T,)
        layers: each (T, D)
        curves: by name

    """

    utt_id: str
    times: np.ndarray
    layers: list[np.ndarray]
    curves: dict[str, Curve]


def sample_utterances(utt_ids: Iterable[str], num_utts: int, *, seed: int) -> list[str]:
    """Draw utterances in random order: the first half is for the search, the second for the report."""
    order = np.random.default_rng(seed).permutation(sorted(utt_ids))
    return order[:num_utts].tolist()


def record(data_dir: DataDir, utt_ids: Iterable[str]) -> list[Recording]:
    """Read utterances, and run openSMILE over them, in the given order.

    Raises:
        AudioError: if a recording cannot be read

    """
    prosody, recordings = Prosody(), []
    for utt_id in utt_ids:
        path, start, end = data_dir.audio(utt_id)
        # what to do about rate and channels was the user's choice when features were made of them
        waveform, _ = read_audio(
            path, start=start, end=end, sampling_rate=prosody.sampling_rate, resample=True, channel="mix"
        )
        recordings.append(Recording(utt_id, waveform, prosody.curves(waveform)))
    return recordings


def listen(recogniser: Recogniser, recordings: Sequence[Recording]) -> Iterator[Heard]:
    """Run the encoder over recordings.

    Args:
        recogniser: lends its encoder, all layers
        recordings: utterances

    Yields:
        utterances in the given order

    Raises:
        ConfigError: if the recogniser hears another sampling rate than openSMILE's configuration

    """
    from sertoolkit.tasks.asr import pad

    frontend, encoder = recogniser.build_frontend(), recogniser.encoder.freeze()
    rate = frontend.sampling_rate
    if rate != Prosody.sampling_rate:
        raise ConfigError(f"the recogniser hears {rate} Hz, loudness and pitch need {Prosody.sampling_rate}")
    shift = frontend.frame_shift * encoder.subsampling
    for start in range(0, len(recordings), _BATCH):
        batch = recordings[start : start + _BATCH]
        layers, lengths = encoder(*pad([frontend(recording.waveform, rate) for recording in batch]))
        for place, (recording, num_frames) in enumerate(zip(batch, lengths.tolist(), strict=True)):
            # the shortest recording that gives a frame is one window
            times = np.arange(num_frames) * shift + frontend.min_samples / rate / 2
            arrays = [layer[place, :num_frames].numpy() for layer in layers]
            yield Heard(recording.utt_id, times, arrays, recording.curves)


def correlate(activations: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each neuron with a curve, over the frames where the curve has a value.

    Args:
        activations: (T, D)
        values: (T,), may hold NaN

    Returns:
        (D,), in [-1, 1]; 0 for a neuron that never changes; all NaN if the curve has fewer than
        ``MIN_FRAMES`` values, or never changes

    """
    present = np.isfinite(values)
    x, y = activations[present].astype(np.float64), values[present]
    if len(y) < MIN_FRAMES or np.ptp(y) == 0:
        return np.full(activations.shape[1], np.nan)
    x, y = x - x.mean(axis=0), y - y.mean()
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    return np.divide(y @ x, scale, out=np.zeros(x.shape[1]), where=scale > 0)


def correlate_all(utterances: Iterable[Heard]) -> Correlations:
    """Correlations of all neurons of all layers with all curves, utterance by utterance."""
    found: dict[str, list[list[np.ndarray]]] = {}
    for heard in utterances:
        for name, curve in heard.curves.items():
            values = curve.at(heard.times)
            layers = found.setdefault(name, [[] for _ in heard.layers])
            for rows, layer in zip(layers, heard.layers, strict=True):
                rows.append(correlate(layer, values))
    return {name: [np.stack(rows) for rows in layers] for name, layers in found.items()}


def neuron_rows(correlations: Correlations) -> list[dict[str, Any]]:
    """The best neurons of each layer: chosen on the first half of the utterances, measured on the second.

    Args:
        correlations: of utterances in random order

    Returns:
        dicts with ``curve layer neuron r_search r_held_out sd_held_out num_search num_held_out``: means over
        utterances of Pearson's r, their standard deviation, and how many utterances had enough frames; of a
        layer, the neuron with the highest absolute r_search first. A curve without enough frames in one of the
        halves has no rows

    """
    rows = []
    for curve, layers in correlations.items():
        for number, table in enumerate(layers, start=1):
            half = len(table) // 2
            search, held_out = (part[np.isfinite(part).all(axis=1)] for part in (table[:half], table[half:]))
            if not len(search) or not len(held_out):
                continue
            means = search.mean(axis=0)
            for index in np.argsort(-np.abs(means), kind="stable")[:_NUM_TOP].tolist():
                mine = held_out[:, index]
                rows.append(
                    {
                        "curve": curve,
                        "layer": number,
                        "neuron": index + 1,
                        "r_search": float(means[index]),
                        "r_held_out": float(mine.mean()),
                        "sd_held_out": float(mine.std(ddof=1)) if len(mine) > 1 else float("nan"),
                        "num_search": len(search),
                        "num_held_out": len(held_out),
                    }
                )
    return rows


def best_neurons(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The row of the neuron that follows each curve best over all layers, by the half it was searched on."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["curve"] not in best or abs(row["r_search"]) > abs(best[row["curve"]]["r_search"]):
            best[row["curve"]] = row
    return best


def num_counted(best: Mapping[str, Mapping[str, Any]], half: str) -> str:
    """How many utterances had enough frames for each curve, in words.

    Args:
        best: of :func:`best_neurons`
        half: ``num_search`` or ``num_held_out``

    Examples:
        >>> num_counted({"loudness": {"num_search": 25}, "pitch": {"num_search": 21}}, "num_search")
        '25 for loudness, 21 for pitch'

    """
    return ", ".join(f"{row[half]} for {name}" for name, row in best.items())


def plot_neurons(
    best: Mapping[str, Mapping[str, Any]], utterances: Sequence[Heard], path: str | Path
) -> None:
    """Draw the activation of the best neuron of each curve beside the curve.

    Args:
        best: of :func:`best_neurons`
        utterances: a column each; of the half that was not searched
        path: PNG to write

    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 + 4.6 * len(utterances), 0.5 + 2.4 * len(best)), layout="constrained")
    axes = figure.subplots(len(best), len(utterances), squeeze=False)
    for line, (name, row) in zip(axes, best.items(), strict=True):
        for axis, heard in zip(line, utterances, strict=True):
            _draw(axis, heard, name, row)
    save_figure(figure, path)


def _draw(axis: Any, heard: Heard, name: str, row: Mapping[str, Any]) -> None:
    activation = heard.layers[row["layer"] - 1][:, row["neuron"] - 1]
    curve = heard.curves[name]
    r = float(correlate(activation[:, None], curve.at(heard.times))[0])
    axis.plot(heard.times, activation, color=COLOURS[0])
    axis.set_ylabel(
        f"activation, neuron {row['neuron']} of layer {row['layer']}", color=COLOURS[0], fontsize=8
    )
    axis.set_xlabel("time (s)", fontsize=8)
    if row["r_search"] < 0:
        axis.invert_yaxis()  # a neuron that falls where the curve rises
    axis.set_title(f"{heard.utt_id}, r = {r:.2f}", fontsize=9)
    other = axis.twinx()
    other.plot(curve.times, curve.values, color=COLOURS[5], linestyle="--")
    other.set_ylabel(LABELS[name], color=COLOURS[5], fontsize=8)
    for side in (axis, other):
        side.tick_params(labelsize=8)
        side.spines["top"].set_visible(False)
