"""RESULTS.md of a recogniser: error rates of its test sets, and how it was made."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sertoolkit.config import dump_yaml, load_yaml
from sertoolkit.inference.recogniser import MODEL_FILE
from sertoolkit.report.facts import Table, environment_table
from sertoolkit.report.markdown import table_lines
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.training.recogniser import COSTS_FILE


def compose_recognition(exp: Path, decoded: Sequence[Path], *, title: str, command: str) -> str:
    """Compose the report.

    Args:
        exp: folder of the recogniser
        decoded: a folder a test set, ``decode_<set>``, with what `decode` and `score-asr` wrote there
        title: first line
        command: what made the results, as typed

    Returns:
        Markdown text

    Raises:
        OSError: if a file of theirs is missing
        CheckpointError: if the model is damaged

    """
    sets = {folder.name.removeprefix("decode_"): _read(folder) for folder in decoded}
    config = load_yaml(exp / "config.yaml")
    lines = [
        f"# {title}",
        "",
        *table_lines(_rates(sets)),
        "- Rates are errors divided by the length of all references of a set; the errors counted here are of words.",
        *(f"- {note}" for note in _notes(sets)),
        "",
        "## How the recogniser was made",
        "",
        *("```sh", command, "```", ""),
        *table_lines(_training(exp, config)),
        *table_lines(environment_table(exp)),
        *("Settings:", "", "```yaml", dump_yaml(config).rstrip(), "```"),
    ]
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> dict[str, Any]:
    """Scores and costs of a test set."""
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return {"scores": scores, "decoding": load_yaml(folder / "decode.yaml")}


def _rates(sets: dict[str, dict[str, Any]]) -> Table:
    kinds = ("substitutions", "deletions", "insertions")
    rows = []
    for name, found in sets.items():
        scores = found["scores"]
        rows.append(
            [
                name,
                f"{scores['num_utts']:,}",
                f"{scores['words']['reference']:,}",
                f"{100 * scores['cer']:.1f}",
                f"{100 * scores['wer']:.1f}",
                *(f"{scores['words'][kind]:,}" for kind in kinds),
                f"{found['decoding']['real_time_factor']:.4f}",
            ]
        )
    header = ["set", "utterances", "words", "CER %", "WER %", *kinds, "real-time factor"]
    return Table(caption="Error rates of the test sets", header=header, rows=rows)


def _notes(sets: dict[str, dict[str, Any]]) -> list[str]:
    """How the sets were decoded, and what was taken out of them."""
    by_text = defaultdict(list)
    for name, found in sets.items():
        by_text[_decoding(found["decoding"])].append(name)
    notes = (
        list(by_text) if len(by_text) == 1 else [f"{', '.join(of)}: {text}" for text, of in by_text.items()]
    )
    dropped = {name: found["scores"]["num_dropped"] for name, found in sets.items()}
    return notes + [
        f"{name}: {count} utterances were taken out of the data dir and not scored; its file `dropped` names them."
        for name, count in dropped.items()
        if count
    ]


def _decoding(told: dict[str, Any]) -> str:
    if told["search"] == "greedy":
        search = "greedy, no language model"
    else:
        search = f"prefix beam search, {told['beam']} prefixes, "
        search += _language_model(told) if "lm" in told else "no language model"
    return (
        f"Decoding: {search}. The real-time factor is its time divided by that of the audio, network and search"
        f" without features; {told['threads']} threads, {told['processor']}."
    )


def _language_model(told: dict[str, Any]) -> str:
    return (
        f"language model {Path(told['lm']).name} (sha256 {told['lm_sha256'][:16]}), weight {told['lm_weight']:g},"
        f" word bonus {told['word_bonus']:g}"
    )


def _training(exp: Path, config: dict[str, Any]) -> Table:
    model = load_tensors(exp / MODEL_FILE)[1]
    costs = load_yaml(exp / COSTS_FILE)
    copies = (
        "" if costs["num_copies"] == costs["num_utts"] else f"; {costs['num_copies']:,} with stored copies"
    )
    rows = [
        ["encoder", f"{model['encoder']}, hash {model['encoder_hash']}"],
        ["parameters", f"{model['num_parameters']:,}"],
        ["training set", f"{costs['num_utts']:,} utterances{copies}; {costs['hours']:.2f} h an epoch"],
        ["epochs", f"{model['epochs']}, epoch {model['best_epoch']} kept"],
        ["validation", f"CER {100 * model['valid_cer']:.1f} % at that epoch, greedy"],
        ["seed", str(config["seed"])],
        ["training time", _time(costs)],
        ["peak memory", _memory(costs)],
    ]
    return Table(caption="Training", header=["what", "value"], rows=rows)


def _time(costs: dict[str, Any]) -> str:
    if "seconds" not in costs:
        return "not recorded"
    hours, rest = divmod(round(costs["seconds"]), 3600)
    minutes, seconds = divmod(rest, 60)
    workers = f" and {costs['num_workers']} processes that read audio" if costs["num_workers"] else ""
    count = costs["num_processes"]
    processes = "" if count == 1 else f" {count} processes of"
    return (
        f"{hours}:{minutes:02d}:{seconds:02d} (h:min:s) by the clock, validation included;"
        f"{processes} {costs['threads']} threads{workers}, {costs['device']}"
    )


def _memory(costs: dict[str, Any]) -> str:
    names = {"process": "the process", "worker": "the largest process that reads audio", "gpu": "the GPU"}
    if costs.get("num_processes", 1) > 1:
        names = {
            "process": "the first process",
            "worker": "the largest that reads audio for it",
            "gpu": "its GPU",
        }
    peaks = costs.get("peak_memory_mib", {})
    return ", ".join(f"{names[name]} {peak:,} MiB" for name, peak in peaks.items()) or "not recorded"
