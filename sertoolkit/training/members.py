"""Members of the grid: one training is one (system, fold, seed), and one folder.

EXP/<system>/<fold>/seed-<n>/
    predictions.valid.tsv  predictions.test.tsv    scores come from these alone
    model.safetensors                              weights of the best epoch
    transcripts.test.txt  transcripts.before.txt   of heads that transcribe: what they, and the recogniser that they
                                                   began with, hear of the test set (Kaldi `text`)
    train.jsonl                                    one line an epoch
    member.yaml                                    hashes, costs, checksums of weights and predictions; written last,
                                                   so it says that all is there
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from sertoolkit import registry
from sertoolkit.config import from_dict, hash_of, load_yaml, to_dict
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import CheckpointError
from sertoolkit.gru import set_precision
from sertoolkit.heads.base import Head
from sertoolkit.heads.stacked import can_stack
from sertoolkit.scoring.predictions import write_predictions
from sertoolkit.storage import atomic
from sertoolkit.storage.tensors import save_tensors
from sertoolkit.tasks.ser import HeadInputs, SerTask, form_of
from sertoolkit.text.transcripts import write_transcripts
from sertoolkit.training.batches import step_seed
from sertoolkit.training.checkpoint import remove_checkpoints
from sertoolkit.training.cohort import cohort_limit, train_alone, train_cohort
from sertoolkit.training.config import SerConfig
from sertoolkit.training.loop import Trainer
from sertoolkit.training.precision import precision_of
from sertoolkit.training.resident import DeviceInputs, step_budget, table_budget

logger = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"
MEMBER_FILE = "member.yaml"
SINGLE = ("precision", "float32")  # not in hashes: members trained before there was a choice remain valid
PREDICTIONS = {"valid": "predictions.valid.tsv", "test": "predictions.test.tsv"}


@dataclasses.dataclass(frozen=True, order=True)
class Member:
    """One training."""

    system: str
    fold: str
    seed: int

    def folder(self, exp: Path) -> Path:
        """Where its results stand."""
        return exp / self.system / self.fold / f"seed-{self.seed}"


def list_members(systems: Sequence[str], folds: Sequence[str], seeds: Sequence[int]) -> list[Member]:
    """All members of a grid, system by system."""
    return [Member(*cell) for cell in itertools.product(systems, folds, seeds)]


@dataclasses.dataclass
class Grid:
    """Everything that members share.

    Attributes:
        config: systems and training
        protocol: classes and folds
        side_dir: store of side features, or None
        layers_dir: folder of encoder layers, or None
        exp: experiment folder
        asr_exp: recogniser, or None; for heads that run its encoder themselves
        asr_feats: features of its frontend, or None
        device: a GPU to train on; None: the CPU
        text: transcripts of the corpus, or None; for heads that learn to transcribe

    """

    config: SerConfig
    protocol: ResolvedProtocol
    side_dir: Path | None
    layers_dir: Path | None
    exp: Path
    asr_exp: Path | None = None
    asr_feats: Path | None = None
    device: torch.device | None = None
    text: Path | None = None

    def __post_init__(self) -> None:
        self._inputs: dict[str, HeadInputs] = {}
        self._resident: DeviceInputs | None = None
        self._protocol_hash = self.protocol.hash

    def inputs(self, name: str) -> HeadInputs:
        """Stores of a system, opened once."""
        if name not in self._inputs:
            system = self.config.systems[name]
            inputs = self._open_inputs(registry.get("head", system.head), system.layers)
            inputs.check(sorted({u for fold in self.protocol.folds.values() for u in fold.truth}))
            inputs.check_texts(list(self.protocol.folds.values()))
            self._inputs[name] = inputs
        return self._inputs[name]

    def _open_inputs(self, head: type[Head], layers: Sequence[int]) -> HeadInputs:
        if form_of(head) != "encoder":
            return HeadInputs(head, layers, side_dir=self.side_dir, layers_dir=self.layers_dir)
        stores = {"side_dir": self.side_dir, "feats_dir": self.asr_feats, "asr_exp": self.asr_exp}
        # heads on stored layers need nothing of a recogniser, its packages neither
        if "text" in head.needs:
            from sertoolkit.tasks.joint import JointInputs

            return JointInputs(head, layers, text=self.text, **stores)
        from sertoolkit.tasks.encoder_inputs import EncoderInputs

        return EncoderInputs(head, layers, **stores)

    def _task_class(self, name: str) -> type[SerTask]:
        if "text" not in registry.get("head", self.config.systems[name].head).needs:
            return SerTask
        from sertoolkit.tasks.joint import JointTask

        return JointTask

    def _task_inputs(self, name: str) -> HeadInputs | DeviceInputs:
        """What tasks read; on a GPU lie the features of one system at a time."""
        inputs = self.inputs(name)
        if self.device is None:
            return inputs
        if self._resident is None or self._resident.inputs is not inputs:
            self._resident = None  # its memory is free before the next is loaded
            torch.cuda.empty_cache()
            self._resident = DeviceInputs(inputs, self.device, budget=table_budget(self.device))
        return self._resident

    def hashes(self, member: Member) -> dict[str, str | None]:
        """What a member's result depends on."""
        inputs = self.inputs(member.system)
        system = self.config.systems[member.system]
        trainings = [
            {k: v for k, v in to_dict(training).items() if k != "checkpoint_seconds" and (k, v) != SINGLE}
            for training in self.config.trainings_of(member.system)
        ]
        settings = {
            "system": {k: v for k, v in to_dict(system).items() if k not in ("training", "choices")},
            "training": trainings,
        }
        if (
            system.head not in registry.BUILT_IN["head"]
        ):  # one's own: where its file changes, it is another head
            settings["source"] = atomic.hash_file(inspect.getfile(registry.get("head", system.head)))
        return {
            "protocol": self._protocol_hash,
            "encoder": inputs.encoder_hash,
            "config": hash_of(settings),
            "data": hash_of([store.meta for store in inputs.stores]),
            **inputs.hashes_of(self.protocol.folds[member.fold]),
        }

    def build_head(self, name: str) -> torch.nn.Module:
        """An untrained head, its weights drawn from torch's generator."""
        system, inputs = self.config.systems[name], self.inputs(name)
        head = registry.get("head", system.head)
        return head(
            from_dict(head.Config, system.head_conf, f"head_conf of {name}"),
            num_classes=len(self.protocol.protocol.classes),
            **inputs.head_arguments,
        )

    def is_done(self, member: Member) -> bool:
        """Whether a member's results are there, undamaged, and were made with the present settings.

        Raises:
            CheckpointError: if they were made with others

        """
        path = member.folder(self.exp) / MEMBER_FILE
        if not all(
            (path.parent / name).exists() for name in (MEMBER_FILE, MODEL_FILE, *PREDICTIONS.values())
        ):
            return False
        summary = load_yaml(path)
        found, expected = summary["hashes"], self.hashes(member)
        changed = [name for name in expected if found.get(name) != expected[name]]
        _clear(path.parent)  # a kill just before the end leaves checkpoints
        if changed:
            raise CheckpointError(
                f"{path}: made with another {', '.join(changed)}; remove {self.exp} or train into another folder"
            )
        files = {path.with_name(name): digest for name, digest in summary.get("files", {}).items()}
        damaged = [
            str(file)
            for file, digest in files.items()
            if not file.exists() or atomic.hash_file(file) != digest
        ]
        if damaged:
            logger.warning("%s: damaged or missing; this member is trained again", ", ".join(damaged))
        return not damaged

    def trainers(self, member: Member, stop: Callable[[], int] = lambda: 0) -> list[Trainer]:
        """What trains a member: one, or one a choice of its system.

        Args:
            member: which one
            stop: returns the number of a signal that asks to stop, or 0

        """
        folder, hashes = member.folder(self.exp), self.hashes(member)
        trainings = self.config.trainings_of(member.system)
        found = []
        for number, training in enumerate(trainings, 1):
            torch.manual_seed(step_seed(member.seed, 0, 0))
            head = self.build_head(member.system).to(self.device)
            set_precision(head, precision_of(training))
            task = self._task_class(member.system)(
                head,
                self._task_inputs(member.system),
                self.protocol.folds[member.fold],
                self.protocol.protocol.classes,
                batch_size=training.batch_size,
                fingerprint=hash_of([hashes, dataclasses.asdict(member), number]),
            )
            own = folder / f"choice-{number}" if len(trainings) > 1 else folder
            found.append(Trainer(task, training, seed=member.seed, folder=own, stop=stop))
        return found

    def train(
        self, cohort: Sequence[Member], stop: Callable[[], int] = lambda: 0
    ) -> Iterator[tuple[Member, dict[str, Any]]]:
        """Train members of one system, together where there is more than one training, and write their folders.

        Args:
            cohort: which ones
            stop: returns the number of a signal that asks to stop, or 0

        Yields:
            each member that is done, and what its ``member.yaml`` holds

        """
        trainers = {member: self.trainers(member, stop) for member in cohort}
        waiting = {id(trainer): member for member, own in trainers.items() for trainer in own}
        every = [trainer for own in trainers.values() for trainer in own]
        # on a GPU also one by itself: dropout is then drawn as in a cohort of any size, and as on the CPU
        together = len(cohort) > 1 or (self.device is not None and can_stack(every[0].task.model))
        for trainer in train_cohort(every, stop) if together else map(train_alone, every):
            member = waiting.pop(id(trainer))
            if member not in waiting.values():
                yield member, self.finish(member, trainers[member])

    def finish(self, member: Member, trainers: Sequence[Trainer]) -> dict[str, Any]:
        """Write the folder of a member whose training has ended.

        Args:
            member: which one
            trainers: as :meth:`trainers` gave them, each with the weights of its best epoch

        Returns:
            what ``member.yaml`` holds

        """
        folder, hashes = member.folder(self.exp), self.hashes(member)
        classes, fold = self.protocol.protocol.classes, self.protocol.folds[member.fold]
        best = min(trainers, key=lambda trainer: trainer.progress.best)
        set_precision(best.task.model, None)  # as whoever predicts with its weights
        for name in ("valid", "test"):
            utt_ids = getattr(fold, name)
            truth = [fold.truth[utt_id] for utt_id in utt_ids]
            write_predictions(
                folder / PREDICTIONS[name], utt_ids, truth, best.task.posteriors(utt_ids).numpy(), classes
            )
        transcripts = best.task.transcripts()
        for name, texts in transcripts.items():
            write_transcripts(folder / name, texts)
        save_tensors(folder / MODEL_FILE, best.task.model.state_dict(), self._description(member, hashes))
        summary = {
            **dataclasses.asdict(member),
            "hashes": hashes,
            "num_parameters": sum(parameter.numel() for parameter in best.parameters),
            "best_epoch": best.progress.best_epoch,
            "valid_loss": best.progress.best,
            "epochs": len(best.progress.history),
            "seconds": round(sum(trainer.progress.seconds for trainer in trainers), 2),
            "files": {
                name: atomic.hash_file(folder / name)
                for name in (MODEL_FILE, *PREDICTIONS.values(), *transcripts)
            },
        }
        choices = self.config.systems[member.system].choices
        if choices:
            losses = [trainer.progress.best for trainer in trainers]
            summary["choices"] = [{**c, "valid_loss": loss} for c, loss in zip(choices, losses, strict=True)]
            summary["choice"] = dict(choices[trainers.index(best)])
            best.write_history(folder)
        atomic.write_yaml(folder / MEMBER_FILE, summary)
        _clear(folder)
        return summary

    def cohort_limit(self, name: str) -> int:
        """How many trainings of a system are best done together; 1 where its head cannot be stacked."""
        head, inputs = self.build_head(name), self.inputs(name)
        if not can_stack(head):
            return 1
        training = self.config.trainings_of(name)[0]
        set_precision(head, precision_of(training))
        utt_ids = {
            copy
            for fold in self.protocol.folds.values()
            for utt_id in fold.truth
            for copy in inputs.copies_of(utt_id)
        }
        longest = sorted(utt_ids, key=inputs.num_frames)[-training.batch_size :]
        gpu_bytes = None if self.device is None else step_budget(inputs, self.device)
        return cohort_limit(head, inputs, longest, gpu_bytes=gpu_bytes)

    def _description(self, member: Member, hashes: dict[str, str | None]) -> dict[str, Any]:
        """What it takes to use a head again, beside its weights."""
        inputs = self.inputs(member.system)
        side = inputs.side.meta if inputs.side is not None else None
        return {
            "member": dataclasses.asdict(member),
            "system": to_dict(self.config.systems[member.system]),
            "classes": list(self.protocol.protocol.classes),
            "layer_dims": inputs.layer_dims,
            "side_dim": inputs.side_dim,
            "side": side and {name: side[name] for name in ("frontend", "frontend_conf")},
            "hashes": hashes,
            **inputs.description,
        }


def _clear(folder: Path) -> None:
    """Drop what only a training under way needs."""
    remove_checkpoints(folder)
    for choice in folder.glob("choice-*"):
        shutil.rmtree(choice)
