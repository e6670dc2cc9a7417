"""``sertoolkit analyse``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sertoolkit.analysis.figures import FigureNote
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.protocol import ResolvedProtocol
    from sertoolkit.scoring.members import ScoredMember

HELP = """Where the systems err, and what the recogniser's layers know: figures and tables.

  sertoolkit analyse --exp exp/ser --protocol_dir exp/ser/protocol \\
      --layers dump/encoded/all --data_dir data/all --asr_exp ../asr/exp/asr

writes to EXP/analysis (--out), each as TSV (all systems) and PNG (the best system of each family):
  projection   t-SNE of what mp-x and rnn-x hear (Figure 4 of the paper)          needs --layers
  confusion    mean confusion matrices with their spread (Figure 5)
  neurons      neurons that follow loudness and pitch (Figure 6)                  needs --data_dir --asr_exp
  layers       score by layer and head
  speakers     accuracy by test speaker
  sentences    scores on sentences that are, and are not, said in training (TSV)  needs --data_dir
  genders      UAR of women and men                                               needs --data_dir
  mistakes     what the best system gets wrong with most confidence (TSV alone; --data_dir adds the texts)
and figures.json, which says what each figure shows. What an option is missing for is left out, and named.
All systems must have the same folds and seeds; a missing member is an error that names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from sertoolkit.commands.score import add_member_options

    add_member_options(parser)
    parser.add_argument("--layers", type=Path, metavar="DIR", help="made by `sertoolkit encode`")
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="data dir with all speakers")
    parser.add_argument("--asr_exp", type=Path, metavar="DIR|FILE", help="the frozen recogniser")
    parser.add_argument(
        "--ser_config", type=Path, metavar="FILE", help="of train-ser: the plugins that it names are loaded"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change of the same")
    parser.add_argument(
        "--num_utts", type=int, default=50, help="utterances drawn to search neurons on (default: 50)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of t-SNE and of what is drawn (default: 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to make anew; default: EXP/analysis")


@dataclasses.dataclass
class _Analysis:
    """What the parts share; each part writes its files to ``out``."""

    args: argparse.Namespace
    out: Path
    resolved: ResolvedProtocol
    members: list[ScoredMember]
    scores: dict[str, Any]
    best: list[str]
    data_dir: DataDir | None
    notes: list[FigureNote] = dataclasses.field(default_factory=list)

    def write_rows(self, name: str, rows: Sequence[Any]) -> None:
        """Write a table."""
        from sertoolkit.analysis.tables import rows_tsv
        from sertoolkit.storage.atomic import write_text

        write_text(self.out / f"{name}.tsv", rows_tsv(rows))

    def note(self, name: str, title: str, caption: str, alt: str) -> Path:
        """Say what a figure shows; returns where to draw it."""
        from sertoolkit.analysis.figures import FigureNote

        self.notes.append(FigureNote(file=f"{name}.png", title=title, caption=caption, alt=alt))
        return self.out / f"{name}.png"

    @property
    def utt_ids(self) -> list[str]:
        """All utterances of the protocol, sorted."""
        return sorted({utt_id for fold in self.resolved.folds.values() for utt_id in fold.test})


def run(args: argparse.Namespace) -> None:
    """Compute and draw."""
    from sertoolkit.analysis.confusion import best_of_families
    from sertoolkit.analysis.figures import write_notes
    from sertoolkit.commands.score import read_chosen
    from sertoolkit.commands.train_ser import load_ser_config
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.errors import ConfigError
    from sertoolkit.scoring.table import score_members
    from sertoolkit.storage.atomic import atomic_dir

    if args.num_utts < 4:
        raise ConfigError(f"--num_utts {args.num_utts}: expected at least 4, two to search and two to report")
    if args.ser_config is not None:
        load_ser_config(args)
    resolved = read_protocol(args.protocol_dir)
    members = read_chosen(args, resolved)
    scores = score_members(members, resolved)
    data_dir = DataDir.read(args.data_dir) if args.data_dir else None
    best = best_of_families(scores["systems"])
    final = args.out or args.exp / "analysis"
    with atomic_dir(final) as out:
        analysis = _Analysis(args, out, resolved, members, scores, best, data_dir)
        print(f"best of each family by UAR on the test sets: {', '.join(best)}")
        for part in (_projection, _confusion, _neurons, _layers, _speakers, _sentences, _genders, _mistakes):
            name = part.__name__.removeprefix("_")
            print(f"{name}: {part(analysis)}", flush=True)
        write_notes(out, analysis.notes)
    print(f"written to {final}")


def _projection(a: _Analysis) -> str:
    import numpy as np

    from sertoolkit.analysis.projection import (
        MAX_UTTS,
        can_project,
        plot_projections,
        projection_rows,
        represent,
    )

    if a.args.layers is None:
        return "left out, needs --layers"
    settings = _settings(a)
    systems = [name for name in _trained(a) if name in settings and can_project(settings[name])]
    if not systems:
        return "left out, no chosen system hears through the frozen encoder alone"
    utt_ids = a.utt_ids
    if len(utt_ids) > MAX_UTTS:
        utt_ids = sorted(np.random.default_rng(a.args.seed).choice(utt_ids, MAX_UTTS, replace=False).tolist())
    columns = []
    for name in systems:
        mine = [member for member in a.members if member.system == name]
        best = min(mine, key=lambda member: member.meta["valid_loss"])
        folder = a.args.exp / name / best.fold / f"seed-{best.seed}"
        fold = a.resolved.folds[best.fold]
        columns.append(represent(folder, fold, utt_ids, layers_dir=a.args.layers))
    rows = projection_rows(columns, utt_ids, a.resolved.protocol.classes, seed=a.args.seed)
    a.write_rows("projection", rows)
    trained = [f"{column.system} on {column.fold.name}" for column in columns if column.is_trained]
    path = a.note(
        "projection",
        "What mp-x and rnn-x hear, in two dimensions",
        f"t-SNE of {len(utt_ids)} utterances as the last layer of {', '.join(systems)} sees them (Figure 4 of the"
        " paper); top: all classes, bottom: sadness and anger alone, where the protocol has both. mp-x shows the"
        " recogniser's layer as it is, averaged over time, without training for emotion."
        + (
            f" The others show one training each, that with the lowest validation loss ({'; '.join(trained)}); only"
            " utterances with a black edge were not trained on or validated on. Distances have no unit."
            if trained
            else " Distances have no unit."
        ),
        f"Scatter plots of utterances coloured by class, one column each for {', '.join(systems)}.",
    )
    plot_projections(rows, a.resolved.protocol.classes, path)
    return f"{len(utt_ids)} utterances, {', '.join(systems)}"


def _confusion(a: _Analysis) -> str:
    from sertoolkit.analysis.confusion import confusion_rows, mean_confusion, plot_confusions
    from sertoolkit.scoring.table import count_members

    classes = a.resolved.protocol.classes
    counts = count_members(a.members, a.resolved)
    confusions = {system: mean_confusion(folds) for system, folds in counts.items()}
    a.write_rows("confusion", confusion_rows(confusions, classes))
    recalls = "; ".join(
        f"{name}: " + ", ".join(f"{c} {confusions[name].mean[i, i]:.2f}" for i, c in enumerate(classes))
        for name in a.best
    )
    path = a.note(
        "confusion",
        "Mean confusion matrices over folds",
        "Of the system of each family with the highest UAR on the test sets, chosen by these results, for"
        " illustration alone (Figure 5 of the paper). Small: standard deviation over folds and, of several runs,"
        " over runs.",
        f"Share of each class that is recognised as itself. {recalls}.",
    )
    plot_confusions({system: confusions[system] for system in a.best}, classes, path)
    return f"{len(confusions)} systems"


def _neurons(a: _Analysis) -> str:
    from sertoolkit.analysis.neurons import (
        best_neurons,
        correlate_all,
        listen,
        neuron_rows,
        num_counted,
        plot_neurons,
        record,
        sample_utterances,
    )
    from sertoolkit.inference.recogniser import Recogniser

    if a.data_dir is None or a.args.asr_exp is None:
        return "left out, needs --data_dir and --asr_exp"
    recogniser = Recogniser.load(a.args.asr_exp)
    utt_ids = sample_utterances(a.utt_ids, a.args.num_utts, seed=a.args.seed)
    networks = {"trained": recogniser, "random": recogniser.untrained(seed=a.args.seed)}
    recordings = record(a.data_dir, utt_ids)
    rows = [
        {"weights": weights, **row}
        for weights, network in networks.items()
        for row in neuron_rows(correlate_all(listen(network, recordings)))
    ]
    if not rows:
        return "left out, the utterances are too short to compare curves"
    a.write_rows("neurons", rows)
    best, control = (best_neurons([row for row in rows if row["weights"] == w]) for w in networks)
    found = "; ".join(
        f"{name}: neuron {row['neuron']} of layer {row['layer']}, mean r {row['r_held_out']:.2f} (sd"
        f" {row['sd_held_out']:.2f}), with random weights {control[name]['r_held_out']:.2f}"
        for name, row in best.items()
    )
    path = a.note(
        "neurons",
        "Neurons that follow loudness and pitch",
        "The neuron of all layers whose activation has the highest absolute Pearson correlation with the curve, mean"
        f" over utterances drawn at random ({num_counted(best, 'num_search')}), and its mean over others"
        f" ({num_counted(best, 'num_held_out')}); utterances with too few frames do not count: {found}. The same"
        " network with random weights, searched likewise, is the control: what it reaches is not due to training. Shown"
        " beside the curve for two of these others (Figure 6 of the paper). Pitch counts voiced frames alone; where r is"
        " negative, the axis of the activation is turned round.",
        f"Activation over time beside loudness and pitch in two utterances. {found}.",
    )
    plot_neurons(best, list(listen(recogniser, recordings[-2:])), path)
    return found


def _layers(a: _Analysis) -> str:
    from sertoolkit.analysis.layers import layer_rows, plot_layers

    rows = layer_rows(_settings(a), {name: a.scores["systems"][name] for name in _trained(a)})
    layered = [row for row in rows if row["layer"]]
    if not layered:
        return "left out, no chosen system reads a single layer"
    a.write_rows("layers", rows)
    path = a.note(
        "layers",
        "Score by layer of the encoder",
        "Mean UAR over folds and runs of each head on each layer; bars: standard deviation over folds; horizontal"
        " lines: systems without layers.",
        "UAR by layer. " + ", ".join(f"{row['system']} {row['uar']:.2f}" for row in rows) + ".",
    )
    plot_layers(rows, path)
    return f"{len({row['head'] for row in layered})} heads"


def _speakers(a: _Analysis) -> str:
    from sertoolkit.analysis.speakers import plot_speakers, speaker_rows
    from sertoolkit.scoring.emotion import MOST_FREQUENT
    from sertoolkit.scoring.table import count_speakers

    rows = speaker_rows(count_speakers(a.members, a.resolved), a.resolved)
    a.write_rows("speakers", rows)
    mine = {row["speaker"]: row["accuracy"] for row in rows if row["system"] == a.best[-1]}
    path = a.note(
        "speakers",
        "Accuracy by test speaker",
        "Mean over runs, of the best system of each family; the line is the most frequent class.",
        f"Accuracy of {a.best[-1]}: "
        + ", ".join(f"{name} {value:.2f}" for name, value in mine.items())
        + ".",
    )
    plot_speakers(rows, a.best, path, chance=MOST_FREQUENT)
    return f"{len(mine)} speakers"


def _sentences(a: _Analysis) -> str:
    from sertoolkit.analysis.sentences import sentence_rows

    if a.data_dir is None or not a.data_dir.text:
        return "left out, needs --data_dir with text"
    rows = sentence_rows(a.members, a.resolved, a.data_dir.text)
    a.write_rows("sentences", rows)
    return ", ".join({f"{row['num_utts']} utterances {row['said']}": None for row in rows})


def _genders(a: _Analysis) -> str:
    from sertoolkit.analysis.genders import gender_rows, plot_genders

    if a.data_dir is None or not a.data_dir.spk2gender:
        return "left out, needs --data_dir with spk2gender"
    rows = gender_rows(a.members, a.resolved, a.data_dir.spk2gender)
    a.write_rows("genders", rows)
    path = a.note(
        "genders",
        "UAR of women and men",
        "Over all test utterances of one gender together, mean over runs, of the best system of each family; of"
        " several runs, bars show the standard deviation over them.",
        ", ".join(
            f"{row['system']} {row['gender']} {row['uar']:.2f}" for row in rows if row["system"] in a.best
        )
        + ".",
    )
    plot_genders(rows, a.best, path)
    return ", ".join(sorted({row["gender"] for row in rows}))


def _mistakes(a: _Analysis) -> str:
    from sertoolkit.analysis.mistakes import best_system, mistake_rows

    system = best_system(a.scores["systems"])
    rows = mistake_rows(a.args.exp, a.members, a.resolved, system, data_dir=a.data_dir)
    if not rows:
        return f"left out, {system} makes none"
    a.write_rows("mistakes", rows)
    return f"{len(rows)} of {system}"


def _trained(a: _Analysis) -> list[str]:
    return list(dict.fromkeys(member.system for member in a.members))


def _settings(a: _Analysis) -> dict[str, Any]:
    """Settings of the systems; none where the predictions come from another toolkit."""
    from sertoolkit.config import load_yaml

    path = a.args.exp / "config.yaml"
    return load_yaml(path)["systems"] if path.exists() else {}
