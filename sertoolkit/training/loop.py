"""The training loop: one for all tasks, exactly resumable.

Order and random draws of a step follow from (seed, epoch, step) alone, so a checkpoint holds weights, optimiser and
counters but no state of a generator; a training that is killed and started again ends with the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from tqdm import tqdm

from sertoolkit.errors import CheckpointError, Stopped, TrainingError
from sertoolkit.processes import peak_memory
from sertoolkit.storage import atomic
from sertoolkit.tasks.base import Task
from sertoolkit.training.batches import step_seed
from sertoolkit.training.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from sertoolkit.training.config import Training
from sertoolkit.training.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

OPTIMISERS = {
    "sgd": lambda parameters, c: torch.optim.SGD(
        parameters,
        lr=c.learning_rate,
        momentum=c.momentum,
        nesterov=c.momentum > 0,
        weight_decay=c.weight_decay,
    ),
    "adam": lambda parameters, c: torch.optim.Adam(
        parameters, lr=c.learning_rate, weight_decay=c.weight_decay
    ),
    "adamw": lambda parameters, c: torch.optim.AdamW(
        parameters, lr=c.learning_rate, weight_decay=c.weight_decay
    ),
}


@dataclasses.dataclass
class Progress:
    """Where a training stands; plain data of its checkpoints."""

    epoch: int = 1
    """The epoch under way, from 1."""
    step: int = 0
    """Steps of this epoch that are done."""
    total_steps: int = 0
    learning_rate: float = 0.0
    loss_sum: float = 0.0
    """Sum of the losses of this epoch's steps."""
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    """Epochs since the best one."""
    seconds: float = 0.0
    peak_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    """As :func:`sertoolkit.processes.peak_memory` tells, over all runs."""
    saves: int = 0
    """Checkpoints written so far; members of a cohort write theirs together."""
    ended: bool = False
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """One entry an epoch."""


class Trainer:
    """Trains the model of a task; afterwards the model holds the weights of the best epoch.

    Args:
        task: model, loss and metrics
        training: optimisation
        seed: of order and dropout
        folder: for checkpoints and ``train.jsonl``
        stop: returns the number of the signal that asks to stop, or 0
        show_progress: draw a bar an epoch
        ranks: the processes that share the work; the first one writes

    """

    def __init__(
        self,
        task: Task,
        training: Training,
        *,
        seed: int,
        folder: Path,
        stop: Callable[[], int] = lambda: 0,
        show_progress: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.task, self.training, self.seed, self.folder = task, training, seed, folder
        self.stop, self.show_progress, self.ranks = stop, show_progress, ranks
        groups = task.parameter_groups()
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimiser = OPTIMISERS[training.optimiser](groups, training)
        self.progress = Progress(learning_rate=training.learning_rate)
        self.best_weights: dict[str, torch.Tensor] = {}
        self.saved_at = time.monotonic()

    def run(self) -> Progress:
        """Train to the end, from the newest checkpoint where there is one.

        Raises:
            Stopped: if ``stop`` asked for it; the state is saved
            TrainingError: if the loss or gradient is not finite; the weights before that step are kept
            CheckpointError: if the checkpoints are damaged or of another training, or not the same for all ranks

        """
        with self.ranks.together():
            self.restore()
        self._check_same_place()
        while not self.progress.ended:
            self._epoch()
        self.load_best()
        return self.progress

    def restore(self, newest: int | None = None) -> None:
        """Go to where the newest checkpoint stands, or the newest up to save number ``newest``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        restored = load_checkpoint(
            self.folder, self.task.model, self.optimiser, self.task.fingerprint, newest=newest
        )
        if restored is not None:
            meta, self.best_weights = restored
            self.progress = Progress(**meta["progress"])
            logger.info("resumed at epoch %d, step %d", self.progress.epoch, self.progress.step)

    def _check_same_place(self) -> None:
        progress = self.progress
        places = self.ranks.gather([progress.epoch, progress.step, progress.saves])
        if any(place != places[0] for place in places):
            found = ", ".join(f"epoch {epoch} step {step} ({saves} saves)" for epoch, step, saves in places)
            with self.ranks.together():
                raise CheckpointError(
                    f"{self.folder}: the processes found different checkpoints in it: {found}; all machines must see the"
                    " same folder"
                )

    def load_best(self) -> None:
        """Give the model the weights of the best epoch."""
        self.task.model.load_state_dict(self.best_weights)
        with self.ranks.together():
            self.write_history(self.folder)

    def finish(self) -> None:
        """Drop the checkpoints; call this once the results are written."""
        if self.ranks.is_first:
            remove_checkpoints(self.folder)

    def batches(self) -> list[np.ndarray]:
        """All batches of the epoch under way."""
        return self.training.batches(self.task.lengths, seed=self.seed, epoch=self.progress.epoch)

    def begin_epoch(self) -> list[np.ndarray]:
        """All batches of the epoch under way, its task ready for those that are left."""
        batches = self.batches()
        shares = [self.ranks.share(batch) for batch in batches[self.progress.step :]]
        self.task.begin_epoch(self.progress.epoch, shares)
        return batches

    def step_seed(self, batch: Any) -> int:
        """Seed of the random draws of the next step: one for all ranks where each has the whole batch."""
        rank = self.ranks.number if self.ranks.is_shared(batch) else 0
        return step_seed(self.seed, self.progress.epoch, self.progress.step, rank)

    def count_step(self, loss: float) -> None:
        """Note that a step was taken."""
        self.progress.loss_sum += loss
        self.progress.step += 1
        self.progress.total_steps += 1

    def is_save_due(self) -> bool:
        """Whether a kill would lose more work than agreed."""
        return time.monotonic() - self.saved_at > self.training.checkpoint_seconds

    def _epoch(self) -> None:
        progress, started = self.progress, time.monotonic()
        batches = self.begin_epoch()
        self.task.model.train()
        for batch in self._bar(batches[progress.step :], len(batches)):
            if progress.step == len(batches) - 1:  # on a GPU the processes that read end within the last step
                progress.peak_memory = peak_memory(earlier=progress.peak_memory)
            self.set_learning_rate(len(batches))
            torch.manual_seed(self.step_seed(batch))
            self.count_step(self._step(batch))
            stop, is_due = self.ranks.agree(self.stop(), self.is_save_due())
            if stop or is_due:
                progress.seconds += time.monotonic() - started
                started = time.monotonic()
                self.save()
                self._leave_if(stop)
        self.task.model.eval()
        with torch.no_grad():
            metrics = self.task.validate()
        progress.seconds += time.monotonic() - started
        with self.ranks.together():
            self.end_epoch(len(batches), metrics)
        stop, is_due = self.ranks.agree(self.stop(), self.is_save_due() or self.show_progress)
        if stop or is_due:
            self.save()
        if not progress.ended:
            self._leave_if(stop)

    def _leave_if(self, stop: int) -> None:
        if stop:
            with self.ranks.together():
                raise Stopped(stop)

    def _step(self, batch: Any) -> float:
        with self.ranks.together():
            self.task.fetch()
        self.ranks.join_norms(self.task.model, batch)
        part = self.task.loss(self.ranks.share(batch)) * self.ranks.weight(batch)
        loss = self.ranks.sum(part.detach().clone())
        if not torch.isfinite(loss):
            self.refuse("loss", batch)
        self.optimiser.zero_grad(set_to_none=True)
        part.backward()
        self.ranks.sum_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        if not torch.isfinite(norm):
            self.refuse("gradient", batch)
        self.optimiser.step()
        return loss.item()

    def refuse(self, what: str, batch: Any) -> NoReturn:
        """Name the utterances of a batch whose loss or gradient is not finite.

        Raises:
            TrainingError: always

        """
        utterances = [self.task.utt_ids[index] for index in batch]
        place = f"epoch {self.progress.epoch}, step {self.progress.step + 1}"
        report = self.folder / "not_finite.json"
        with self.ranks.together():
            if self.ranks.is_first:
                atomic.write_text(
                    report, json.dumps({"what": what, "where": place, "utt_ids": utterances}, indent=1) + "\n"
                )
            raise TrainingError(
                f"{what} is not finite at {place} (utterances {', '.join(utterances[:3])}, ...; all in {report}); "
                "look at these utterances, or lower learning_rate"
            )

    def set_learning_rate(self, steps_an_epoch: int) -> None:
        """Give the optimiser the learning rate of the next step."""
        rate = self.progress.learning_rate
        if self.training.schedule == "linear":
            total, warmup = steps_an_epoch * self.training.max_epochs, self.training.warmup_steps
            done = self.progress.total_steps
            rise = (done + 1) / (warmup + 1)
            fall = (total - done) / max(1, total - warmup)
            rate = self.training.learning_rate * min(rise, fall, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]

    def end_epoch(self, steps_an_epoch: int, metrics: dict[str, float]) -> None:
        """Keep the best weights, anneal, and tell whether training has ended.

        Raises:
            TrainingError: if the first validation gives no number

        """
        training, progress = self.training, self.progress
        self.set_learning_rate(steps_an_epoch)  # for the history, also where no step was left after a resume
        metrics = {"train_loss": progress.loss_sum / steps_an_epoch, **metrics}
        value = metrics[self.task.selects]
        rate = self.optimiser.param_groups[0]["lr"]
        progress.history.append({"epoch": progress.epoch, "learning_rate": rate, **metrics})
        if value < progress.best:
            progress.best, progress.best_epoch, progress.waited = value, progress.epoch, 0
            self.best_weights = {name: t.detach().clone() for name, t in self.task.model.state_dict().items()}
        else:
            progress.waited += 1
        if training.schedule == "epoch" or (
            training.schedule == "plateau" and progress.waited and progress.waited % training.patience == 0
        ):
            progress.learning_rate *= training.anneal_factor
        if self.show_progress:
            text = " ".join(f"{name} {number:.4g}" for name, number in metrics.items())
            logger.info(
                "epoch %d: %s, learning rate %.2e, %.0f s", progress.epoch, text, rate, progress.seconds
            )
        progress.ended = (
            progress.epoch >= training.max_epochs
            or (training.schedule != "linear" and progress.learning_rate < training.stop_learning_rate)
            or bool(training.stop_patience and progress.epoch - progress.best_epoch >= training.stop_patience)
        )
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        if not math.isfinite(progress.best):
            raise TrainingError(
                f"{self.task.selects} of the first validation is {value}; look at the validation data"
            )

    def save(self) -> None:
        """Write a checkpoint."""
        self.progress.saves += 1
        self.progress.peak_memory = peak_memory(earlier=self.progress.peak_memory)
        meta = {"fingerprint": self.task.fingerprint, "progress": dataclasses.asdict(self.progress)}
        with self.ranks.together():
            if self.ranks.is_first:
                save_checkpoint(
                    self.folder, self.progress.saves, self.task.model, self.optimiser, meta, self.best_weights
                )
            self.write_history(self.folder)
        self.saved_at = time.monotonic()

    def write_history(self, folder: Path) -> None:
        """Write ``train.jsonl``, one line an epoch."""
        if not self.ranks.is_first:
            return
        lines = (json.dumps(entry) + "\n" for entry in self.progress.history)
        atomic.write_text(folder / "train.jsonl", "".join(lines))

    def _bar(self, batches: list, total: int) -> Iterator:
        if not self.show_progress:
            yield from batches
            return
        bar = tqdm(
            batches,
            desc=f"epoch {self.progress.epoch}/{self.training.max_epochs}",
            initial=self.progress.step,
            total=total,
            leave=False,
            mininterval=1,
        )
        for batch in bar:
            yield batch
            bar.set_postfix(loss=f"{self.progress.loss_sum / max(1, self.progress.step):.3f}")
