"""What is wrong with the settings of a recipe: all of it, before the first stage runs."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from sertoolkit import registry
from sertoolkit.cli import Parser
from sertoolkit.commands.score import parse_prediction
from sertoolkit.config import from_dict, load_config
from sertoolkit.corpus.protocol import load_protocol
from sertoolkit.encoders.base import Encoder
from sertoolkit.errors import ConfigError, SertoolkitError, suggest
from sertoolkit.inference.recogniser import MODEL_FILE
from sertoolkit.storage.tensors import load_meta
from sertoolkit.tasks.ser import form_of
from sertoolkit.text.tokens import KINDS
from sertoolkit.training.config import AsrConfig, SerConfig
from sertoolkit.training.ranks import need_gpus

Config = TypeVar("Config", AsrConfig, SerConfig)

# Options of score, analyse and report that recipes give them.
_RECIPES_OWN = frozenset(
    {"exp", "protocol_dir", "systems", "folds", "seeds", "text", "out", "html", "data_dir"}
    | {"layers", "asr_exp", "ser_config", "set", "plugin", "title", "command"}
)
_OF_SCORES = frozenset({"metric", "baseline", "predictions"})


class _Handed(Parser):
    """Its errors are faults among others."""

    def error(self, message: str) -> None:
        """Raise."""
        raise ConfigError(message)


class Preflight:
    """Checks settings and collects what is wrong with them.

    Attributes:
        faults: one text each, in the order of the checks

    """

    def __init__(self) -> None:
        self.faults: list[str] = []

    @contextlib.contextmanager
    def _noting(self, where: str = "") -> Iterator[None]:
        """An error inside is a fault, and what stands behind the block goes on."""
        try:
            yield
        except (SertoolkitError, OSError) as error:
            self.faults.append(f"{where}: {error}" if where else str(error))

    def load_plugins(self, paths: Sequence[Path]) -> None:
        """Load files of the user's own plugins."""
        for path in paths:
            with self._noting("plugin"):
                registry.load_plugin(path)

    def load(self, cls: type[Config], path: Path, overrides: Sequence[str]) -> Config | None:
        """A configuration and the plugins that it names; None where it cannot be read."""
        with self._noting():
            config = load_config(cls, path, overrides)
            self.load_plugins([path.parent / name for name in config.plugins])
            return config
        return None

    def words(self, option: str, text: str) -> list[str]:
        """The words of an option; commas, repetitions and an empty text are faults."""
        words = text.replace(",", " ").split()
        if "," in text:
            self.faults.append(
                f"--{option} {text!r}: names are separated by blanks: --{option} {' '.join(words)!r}"
            )
        if not words:
            self.faults.append(f"--{option} {text!r}: expected at least one name")
        unique = list(dict.fromkeys(words))
        self.faults += [
            f"--{option}: {word!r} stands there twice" for word in unique if words.count(word) > 1
        ]
        return unique

    def check_systems(self, config: SerConfig, names: Sequence[str]) -> dict[str, list[int]]:
        """Check heads, their settings and trainings.

        Args:
            config: of all systems
            names: of the systems that are chosen

        Returns:
            the layers of each system that reads an encoder's

        """
        layered, wordless = {}, []
        for name in names:
            with self._noting():
                system = config.choose([name])[name]
                with self._noting():
                    config.trainings_of(name)
                with self._noting(f"system {name}"):
                    head = registry.get("head", system.head)
                    if form_of(head) is not None:
                        layered[name] = system.layers
                        if "words" not in head.needs:
                            wordless.append(name)
                    from_dict(head.Config, system.head_conf, "head_conf")
        for name in wordless:
            if not layered[name]:
                self.faults.append(
                    f"system {name}: head {config.systems[name].head!r} reads encoder layers: name them by `layers: [2]`"
                )
        return layered

    def check_folds(self, names: Sequence[str], protocol_dir: Path | None) -> None:
        """Check names of folds: against a protocol's folder where it is given and there, else their form."""
        if "all" in names:
            if len(names) > 1:
                self.faults.append(f"--folds {' '.join(names)!r}: 'all' stands alone")
            return
        known = sorted(path.stem for path in protocol_dir.glob("folds/*.tsv")) if protocol_dir else []
        for name in names:
            if known and name not in known:
                self.faults.append(
                    f"--folds: unknown fold {name!r}{suggest(name, known)} (known: {', '.join(known)})"
                )
            elif not re.fullmatch(r"fold-\d{2,}", name):
                self.faults.append(f"--folds: {name!r}: expected all, or names such as fold-01")

    def check_seeds(self, words: Sequence[str]) -> None:
        """Check that all are whole numbers."""
        self.faults += [
            f"--seeds: {word!r}: expected a whole number, such as 1"
            for word in words
            if not re.fullmatch(r"0|[1-9]\d{0,17}", word, re.ASCII)
        ]

    def check_arguments(self, command: str, text: str) -> None:
        """Check the words that a recipe hands on to a command: its parser takes them, files of predictions are there."""
        where = f"--{command}_args"
        with self._noting(where):
            module = importlib.import_module(f"sertoolkit.commands.{command}")
            parser = _Handed(prog=where, add_help=False, allow_abbrev=False)
            module.add_arguments(parser)
            for action in parser._actions:
                action.required, action.default = False, argparse.SUPPRESS  # the recipe gives them
            given = vars(parser.parse_args(text.split()))
            for name in sorted(given.keys() & _RECIPES_OWN):
                self.faults.append(f"{where}: --{name} is given by the recipe; use the recipe's own options")
            if command == "report":
                for name in sorted(given.keys() & _OF_SCORES):
                    self.faults.append(
                        f"{where}: --{name} would differ from the table; give it by --score_args"
                    )
            for name, path in map(parse_prediction, given.get("predictions", [])):
                if not path.is_file():
                    self.faults.append(f"{where}: --predictions {name}={path}: no such file")

    def check_protocol(self, path: Path) -> None:
        """Check a protocol's YAML."""
        with self._noting("--protocol"):
            load_protocol(path)

    def check_frontend(self, option: str, name: str) -> None:
        """Check that a frontend is known and can be imported."""
        with self._noting(f"--{option}"):
            registry.get("frontend", name)

    def check_token_type(self, kind: str) -> None:
        """Check the kind of tokens."""
        if kind not in KINDS:
            self.faults.append(
                f"--token_type {kind!r}: expected one of {', '.join(KINDS)}{suggest(kind, KINDS)}"
            )

    def check_augment(self, config: AsrConfig, feats: str | None) -> None:
        """Check that tempo and gain are asked of features that can change."""
        if config.augment and feats == "ark":
            self.faults.append(
                "augment: in the configuration needs features made on the fly: --feats on_the_fly; stored ones stay as"
                " they are: --asr_args augment=null"
            )

    def check_gpus(self, count: int) -> None:
        """Check that this machine has that many GPUs."""
        with self._noting():
            need_gpus(count)

    def check_encoder(self, config: AsrConfig, frontend: str | None) -> None:
        """Check an encoder's name and settings, and that it reads the features of a frontend."""
        with self._noting():
            encoder = _build(config.encoder, config.encoder_conf)
            self._compare_frontends(encoder.frontend, frontend, f"encoder {config.encoder!r}")

    def check_recogniser(
        self, path: Path | None, layered: Mapping[str, list[int]], frontend: str | None, *, made_later: bool
    ) -> None:
        """Check that there is a recogniser with the layers that systems read, for the features of a frontend.

        Args:
            path: its file or experiment folder, or None
            layered: layers by system
            frontend: name of the frontend, or None where that does not matter
            made_later: it may be missing now

        """
        if path is None:
            self.faults.append(
                f"{' '.join(layered)} read layers of a recogniser: name it by --asr_exp (a folder or bundle that an"
                " asr recipe made)"
            )
            return
        file = path if path.suffix == ".safetensors" else path / MODEL_FILE
        if not file.exists():
            if not made_later:
                self.faults.append(f"--asr_exp {path}: no recogniser there; {_maker_of(path)} makes one")
            return
        with self._noting("--asr_exp"):
            meta = load_meta(file)
            if meta.get("kind") != "asr":
                raise ConfigError(
                    f"{file}: holds a model of kind {meta.get('kind')!r}, expected a recogniser"
                )
            if not {"frontend", "encoder", "encoder_conf"} <= set(meta):
                raise ConfigError(f"{file}: damaged: does not name its encoder; remove it and make it again")
            self._compare_frontends(meta["frontend"], frontend, f"the recogniser {file}")
            count = len(_build(meta["encoder"], meta["encoder_conf"]).layer_dims)
            self.faults += [
                f"system {name}: layer {layer}: the encoder of {file} has layers 1 to {count}"
                for name, layers in layered.items()
                for layer in layers
                if layer > count
            ]

    def _compare_frontends(self, expected: str, found: str | None, who: str) -> None:
        if found not in (None, expected):
            self.faults.append(f"{who} reads features of {expected!r}, the recipe makes {found!r}")


def _maker_of(path: Path) -> str:
    """The script that makes a recogniser, where it is one of this project, egs/X/asr/exp/..."""
    found = re.match(r"(.*/)(egs/[^/]+/asr)/exp/", path.resolve().as_posix())
    script = found and f"{found[2]}/run.sh"
    return script if script and Path(found[1], script).is_file() else "an asr recipe"


def _build(name: str, conf: Mapping[str, Any]) -> Encoder:
    """An encoder to be asked and not to be run; where it can do without, no memory is taken for its weights."""
    encoder_class = registry.get("encoder", name)
    config = from_dict(encoder_class.Config, conf, "encoder_conf")
    try:
        with torch.device("meta"):
            return encoder_class(config)
    except RuntimeError:  # its constructor looks at values
        return encoder_class(config)
