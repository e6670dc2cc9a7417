"""Cohorts: members of one system that are trained together, each exactly as if alone.

Shapes: M members, a of them with a batch in this step; B utterances, V values, C classes.

Weights and optimiser state of all members are stacked on a leading axis and stepped at once. The parameters and
optimiser states of each member's own :class:`~sertoolkit.training.loop.Trainer` are views of the stacks, so that
checkpoints, annealing, early stopping and best weights are those of the trainer itself. Every epoch is a barrier; a
member that has ended is left out of the stacks, and one whose epoch has fewer steps is not touched by the rest. One that
has ended is handed over once all are saved: whoever starts again after a kill finds the rest in the same cohort.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from sertoolkit.errors import Stopped
from sertoolkit.gru import set_precision
from sertoolkit.heads.base import Head
from sertoolkit.heads.stacked import Draws, stacked
from sertoolkit.tasks.ser import HeadInputs, SerTask
from sertoolkit.training.checkpoint import newest_progress
from sertoolkit.training.loop import Trainer
from sertoolkit.training.stacked_optimisers import step_optimisers

logger = logging.getLogger(__name__)

# Of one step of a cohort as estimated, and of its weights: beyond, members are as fast alone (measured, steps compiled).
STEP_BYTES = 400 * 2**20
CACHE_BYTES = 2**20
NO_TARGET = -100


def cohort_limit(
    head: Head, inputs: HeadInputs, longest: Sequence[str], *, gpu_bytes: int | None = None
) -> int:
    """How many members of a head are best trained together: within the memory of a step, and of the cache.

    Args:
        head: one of them
        inputs: what it sees
        longest: the batch that takes most memory
        gpu_bytes: memory of a GPU that a step may take; no cache counts there. None: trained on the CPU

    """
    if gpu_bytes is not None:
        set_precision(head, torch.bfloat16)
    sample = longest[-4:]
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        batch = inputs.batch(sample)
        head(*batch)
    layers, _, side, _ = batch
    padded = sum(x.nbytes for x in [*layers, side] if x is not None)
    step = (3 * saved + 2 * padded) * len(longest) / len(sample)  # backward has buffers of its own
    if gpu_bytes is not None:
        return max(1, int(gpu_bytes // step))
    weights = sum(parameter.nbytes for parameter in head.parameters())
    return max(1, int(min(STEP_BYTES // step, CACHE_BYTES // weights)))


class _Stack:
    """Members whose weights and optimiser states stand in stacks.

    Args:
        trainers: those with the most steps before them first, so that the active ones are always the first

    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = trainers
        self.tasks: list[SerTask] = [trainer.task for trainer in trainers]
        self.draws = Draws()
        self.template = stacked(self.tasks[0].model, self.draws)
        self.weights = self._stack_weights()
        self.states = self._stack_states()
        if next(iter(self.weights.values())).is_cuda:
            set_precision(self.template, torch.bfloat16)

    def _stack_weights(self) -> dict[str, Tensor]:
        models = [dict(task.model.named_parameters()) for task in self.tasks]
        stacks = {
            name: torch.stack([model[name].detach() for model in models])
            for name, parameter in models[0].items()
        }
        for name, stack in stacks.items():
            for model, row in zip(models, stack, strict=True):
                model[name].data = row
        return stacks

    def _stack_states(self) -> dict[str, dict[str, Tensor]]:
        stacks: dict[str, dict[str, Tensor]] = {}
        for index, (name, weight) in enumerate(self.weights.items()):
            states = [trainer.optimiser.state[trainer.parameters[index]] for trainer in self.trainers]
            empty = {
                "adam": {"step": torch.zeros(()), "exp_avg": weight[0], "exp_avg_sq": weight[0]},
                "sgd": {"momentum_buffer": weight[0]},
            }[self.trainers[0].training.optimiser.replace("adamw", "adam")]
            stacks[name] = {
                key: torch.stack([state.get(key, torch.zeros_like(like)) for state in states])
                for key, like in empty.items()
            }
            for row, state in enumerate(states):
                state.update({key: stack[row] for key, stack in stacks[name].items()})
        return stacks

    def step(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """One optimiser step of the first ``len(batches)`` members.

        Returns:
            loss of each

        """
        trainers, tasks = self.trainers[: len(batches)], self.tasks[: len(batches)]
        utt_ids = [[task.utt_ids[i] for i in batch] for task, batch in zip(tasks, batches, strict=True)]
        weights = {
            name: stack[: len(batches)].detach().requires_grad_() for name, stack in self.weights.items()
        }
        seeds = [trainer.step_seed(batch) for trainer, batch in zip(trainers, batches, strict=True)]
        self.draws.seed([len(ids) for ids in utt_ids], seeds)
        self.template.train()
        losses = self._losses(tasks, weights, utt_ids)
        for trainer, batch, finite in zip(trainers, batches, torch.isfinite(losses).tolist(), strict=True):
            if not finite:
                trainer.refuse("loss", batch)
        grads = dict(zip(weights, torch.autograd.grad(losses.sum(), list(weights.values())), strict=True))
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads.values()])
        norms = torch.linalg.vector_norm(norms, dim=0)
        for trainer, batch, finite in zip(trainers, batches, torch.isfinite(norms).tolist(), strict=True):
            if not finite:
                trainer.refuse("gradient", batch)
        limits = norms.new_tensor([trainer.training.clip_norm for trainer in trainers])
        scale = (limits / (norms + 1e-6)).clamp(max=1)
        for name, grad in grads.items():
            grad.mul_(scale.view(-1, *[1] * (grad.ndim - 1)))
            state = {key: stack[: len(batches)] for key, stack in self.states[name].items()}
            step_optimisers(trainers, self.weights[name][: len(batches)], grad, state)
        return losses.tolist()

    def _losses(
        self, tasks: Sequence[SerTask], weights: dict[str, Tensor], utt_ids: Sequence[Sequence[str]]
    ) -> Tensor:
        logits = self._logits(weights, utt_ids)
        targets = torch.full(logits.shape[:2], NO_TARGET)
        for row, task, ids in zip(targets, tasks, utt_ids, strict=True):
            row[: len(ids)] = task.targets(ids)
        each = functional.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten().to(logits.device),
            reduction="none",
            ignore_index=NO_TARGET,
        )
        return each.view(targets.shape).sum(1) / each.new_tensor([len(ids) for ids in utt_ids])

    def _logits(self, weights: dict[str, Tensor], utt_ids: Sequence[Sequence[str]]) -> Tensor:
        """(a, B, C); rows behind a member's utterances mean nothing."""
        width = max(map(len, utt_ids))
        rows = [utt_id for ids in utt_ids for utt_id in [*ids, *[None] * (width - len(ids))]]
        layers, lengths, side, side_lengths = self.tasks[0].inputs.batch(rows)
        like = next(iter(weights.values()))

        def split(x: Tensor | None) -> Tensor | None:
            if x is None:
                return None
            return x.unflatten(0, (-1, width)).to(like.device, like.dtype if x.is_floating_point() else None)

        inputs = ([split(layer) for layer in layers], split(lengths), split(side), split(side_lengths))
        return functional_call(self.template, weights, inputs)

    @torch.no_grad()
    def valid_posteriors(self) -> list[Tensor]:
        """Posteriors of each member's validation set, as :meth:`SerTask.posteriors` gives them."""
        self.template.eval()
        valid = [task.fold.valid for task in self.tasks]
        chunks = [task.chunks(ids) for task, ids in zip(self.tasks, valid, strict=True)]
        found = [torch.empty(len(ids), len(self.tasks[0].classes), dtype=torch.float64) for ids in valid]
        for number in range(max(map(len, chunks))):
            members = [member for member in range(len(chunks)) if number < len(chunks[member])]
            utt_ids = [[valid[member][row] for row in chunks[member][number]] for member in members]
            weights = {name: stack[members] for name, stack in self.weights.items()}
            logits = self._logits(weights, utt_ids).double().cpu()
            for member, values in zip(members, logits, strict=True):
                rows = chunks[member][number]
                found[member][rows] = values[: len(rows)]
        return [logits.softmax(1) for logits in found]


def train_cohort(trainers: Sequence[Trainer], stop: Callable[[], int] = lambda: 0) -> Iterator[Trainer]:
    """Train members together, from where their checkpoints stand.

    Args:
        trainers: of one system, with models that :func:`~sertoolkit.heads.stacked.can_stack` and the same kind of optimiser
        stop: returns the number of a signal that asks to stop, or 0

    Yields:
        each trainer once its training has ended, its model with the weights of the best epoch

    Raises:
        Stopped: if ``stop`` asked for it; all states are saved
        TrainingError: if a loss or gradient is not finite
        CheckpointError: if checkpoints are damaged or of another training

    """
    _restore(trainers)
    active, is_saved = list(trainers), True
    while active:
        if is_saved:
            for trainer in active:
                if trainer.progress.ended:
                    trainer.load_best()
                    _leave_stacks(trainer)
                    yield trainer
            active = _running(active)
        if active:
            _train_epoch(_running(active), functools.partial(_save, active), stop)
        is_saved = bool(stop() or not _running(active) or any(trainer.is_save_due() for trainer in active))
        if is_saved:
            _save(active)
        if stop() and _running(active):
            raise Stopped(stop())


def _running(trainers: Sequence[Trainer]) -> list[Trainer]:
    return [trainer for trainer in trainers if not trainer.progress.ended]


def _save(trainers: Sequence[Trainer]) -> None:
    # those that have ended last: where one is found, all others have been saved too
    for trainer in sorted(trainers, key=lambda trainer: trainer.progress.ended):
        trainer.save()


def _leave_stacks(trainer: Trainer) -> None:
    """Copy a member's weights out of the stacks, which they would keep in memory as long as itself."""
    for parameter in trainer.task.model.parameters():
        parameter.data = parameter.data.clone()
    for module in trainer.task.model.modules():
        if isinstance(module, nn.GRU):
            module.flatten_parameters()  # as cuDNN wants them
    trainer.optimiser.state.clear()


def train_alone(trainer: Trainer) -> Trainer:
    """Train one member by itself; a kill before its results are written loses nothing."""
    trainer.run()
    trainer.save()
    return trainer


def _restore(trainers: Sequence[Trainer]) -> None:
    """All members save together; a kill between two files of one save is undone by going back to the save before."""
    found = [newest_progress(trainer.folder) for trainer in trainers]
    saves = [
        progress["saves"] if progress else 0 for progress in found if not (progress and progress["ended"])
    ]
    common = min(saves) if saves and max(saves) - min(saves) == 1 else None
    for trainer, progress in zip(trainers, found, strict=True):
        trainer.restore(None if progress and progress["ended"] else common)


def _train_epoch(trainers: Sequence[Trainer], save: Callable[[], None], stop: Callable[[], int]) -> None:
    started = time.monotonic()

    def count_seconds() -> None:
        nonlocal started
        now = time.monotonic()
        for trainer in trainers:
            trainer.progress.seconds += (now - started) / len(trainers)
        started = now

    whole = {id(trainer): trainer.begin_epoch() for trainer in trainers}
    left = {
        key: batches[trainer.progress.step :]
        for (key, batches), trainer in zip(whole.items(), trainers, strict=True)
    }
    stack = _Stack(sorted(trainers, key=lambda trainer: -len(left[id(trainer)])))
    for number in range(max(map(len, left.values()))):
        now = [trainer for trainer in stack.trainers if number < len(left[id(trainer)])]
        for trainer in now:
            trainer.set_learning_rate(len(whole[id(trainer)]))
        losses = stack.step([left[id(trainer)][number] for trainer in now])
        for trainer, loss in zip(now, losses, strict=True):
            trainer.count_step(loss)
        if stop() or any(trainer.is_save_due() for trainer in trainers):
            count_seconds()
            save()
            if stop():
                raise Stopped(stop())
    posteriors = stack.valid_posteriors()
    count_seconds()
    for trainer, values in zip(stack.trainers, posteriors, strict=True):
        trainer.end_epoch(len(whole[id(trainer)]), trainer.task.metrics(values))
