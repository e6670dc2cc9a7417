"""What a training is told: the keys of ``conf/asr.yaml`` and ``conf/ser.yaml``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sertoolkit.audio.augmentation import Augmentation
from sertoolkit.config import from_dict
from sertoolkit.errors import ConfigError, suggest
from sertoolkit.training.batches import make_batches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Optimisation of one model. The defaults are those of Lakomkin et al. 2017, section 3.3, for emotion."""

    optimiser: Literal["sgd", "adam", "adamw"] = "adam"
    """``sgd`` has Nesterov momentum."""
    learning_rate: float = 1e-4
    momentum: float = 0.9
    """Used by ``sgd`` alone."""
    weight_decay: float = 0.0
    clip_norm: float = 15.0
    """Largest norm of the gradient over all parameters."""
    batch_size: int = 64
    """Utterances a step."""
    max_epochs: int = 100
    schedule: Literal["plateau", "epoch", "linear"] = "plateau"
    """``plateau`` anneals when the selecting metric has not improved for ``patience`` epochs; ``epoch`` anneals after
    every epoch; ``linear`` warms up over ``warmup_steps`` and falls to zero at ``max_epochs``."""
    anneal_factor: float = 0.5
    """The learning rate is multiplied by this; the recogniser's 1 / 1.1 an epoch is 0.909."""
    patience: int = 2
    """Epochs without improvement before annealing (``plateau``)."""
    stop_learning_rate: float = 1e-6
    """Training ends once the learning rate falls below this (``plateau`` and ``epoch``)."""
    stop_patience: int = 0
    """Training ends after this many epochs without a better selecting metric; 0: never for that reason."""
    warmup_steps: int = 0
    sort_first_epoch: bool = True
    """SortaGrad: the first epoch runs from short to long utterances."""
    bucket: bool = False
    """Batches of similar duration in random order, instead of random batches."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16``: products of recurrent layers in that type in training and its validation, also those of an encoder that
    a head trains; of all layers of a recogniser, by autocast. Weights, statistics and all that is predicted stay in
    float32. For CPUs with matrix units (AMX); others get slower, and a small recogniser gains nothing. On a GPU for
    recognisers; emotion systems that form cohorts always train so there, others never."""
    checkpoint_seconds: float = 60.0
    """At most this much work is lost when the process is killed."""

    def __post_init__(self) -> None:
        for name in (
            "learning_rate",
            "clip_norm",
            "batch_size",
            "max_epochs",
            "patience",
            "checkpoint_seconds",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("weight_decay", "stop_patience", "warmup_steps", "momentum"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 0 < self.anneal_factor < 1:
            raise ConfigError(f"anneal_factor must lie between 0 and 1, found {self.anneal_factor}")

    @property
    def limits(self) -> dict[str, int]:
        """How large a batch may be, as :func:`~sertoolkit.training.batches.make_batches` takes it."""
        return {"batch_size": self.batch_size}

    def batches(self, lengths: Sequence[int], *, seed: int, epoch: int) -> list[np.ndarray]:
        """Batches of one epoch, as :func:`~sertoolkit.training.batches.make_batches` makes them.

        Args:
            lengths: frames of each utterance
            seed: of the training
            epoch: from 1

        """
        return make_batches(
            lengths,
            **self.limits,
            seed=seed,
            epoch=epoch,
            ascending=self.sort_first_epoch and epoch == 1,
            bucket=self.bucket,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsrTraining(Training):
    """Optimisation of a recogniser. The defaults are those of Lakomkin et al. 2017, section 3.1.1, or the field's."""

    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 3e-4
    clip_norm: float = 400.0
    schedule: Literal["plateau", "epoch", "linear"] = "epoch"
    anneal_factor: float = 1 / 1.1
    stop_patience: int = 2
    bucket: bool = True
    batch_frames: int = 0
    """Most frames a step, padding included, in place of ``batch_size``: short utterances then make bigger batches.
    Where tempo is drawn anew each epoch, an utterance counts at its slowest. 0: ``batch_size`` utterances."""
    deterministic: bool = False
    """The same weights from every run on the same GPUs, as on the CPU anyway: CTC is computed on the CPU, and torch takes
    deterministic algorithms. Slower; ``bench/gpu.sh`` measures by how much."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_frames < 0:
            raise ConfigError(f"batch_frames must not be negative, found {self.batch_frames}")

    @property
    def limits(self) -> dict[str, int]:
        """Utterances, or frames in their place."""
        return super().limits | {"batch_frames": self.batch_frames}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsrConfig:
    """A recogniser: its encoder and its training (``conf/asr.yaml``)."""

    encoder: str = "ds2"
    encoder_conf: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: AsrTraining = AsrTraining()
    augment: Augmentation | None = None
    """How utterances of the training set sound, drawn anew each epoch; needs features that are computed on the fly."""
    seed: int = 1
    plugins: list[str] = dataclasses.field(default_factory=list)
    """Files of one's own plugins, relative to this file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """One row of the table: a head, the encoder layers that it sees, and its settings."""

    head: str
    layers: list[int] = dataclasses.field(default_factory=list)
    """Encoder layers, numbered from 1 as in the paper."""
    head_conf: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Where this system's training differs from that of the others, e.g. ``{learning_rate: 1e-2}``."""
    choices: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Trainings to choose from, e.g. ``[{learning_rate: 5e-3}, {learning_rate: 5e-2}]``: every member is trained once
    by each and keeps the one with the lowest validation loss of its own fold; no test utterance takes part."""

    def __post_init__(self) -> None:
        if any(layer < 1 for layer in self.layers):
            raise ConfigError(f"layers are numbered from 1, found {self.layers}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SerConfig:
    """Emotion systems and how they are trained (``conf/ser.yaml``)."""

    systems: dict[str, System]
    training: Training = Training()
    plugins: list[str] = dataclasses.field(default_factory=list)
    """Files of one's own plugins, relative to this file."""

    def trainings_of(self, name: str) -> list[Training]:
        """The training of one system, or those that its members choose from.

        Raises:
            ConfigError: if one of its own settings is unknown or wrong, or the choices differ in their optimiser or
                precision

        """
        system = self.systems[name]
        shared = dataclasses.asdict(self.training) | system.training
        found = [
            from_dict(Training, shared | choice, f"training of {name}") for choice in system.choices or [{}]
        ]
        if len({(training.optimiser, training.precision) for training in found}) > 1:
            raise ConfigError(
                f"choices of {name}: they may differ in anything but the optimiser and the precision"
            )
        return found

    def choose(self, names: list[str]) -> dict[str, System]:
        """The systems of these names, in the order of the configuration; all of them where ``names`` is empty.

        Raises:
            ConfigError: if a name is unknown

        """
        for name in names:
            if name not in self.systems:
                known = ", ".join(self.systems)
                raise ConfigError(f"unknown system {name!r}{suggest(name, self.systems)} (known: {known})")
        return {name: system for name, system in self.systems.items() if not names or name in names}
