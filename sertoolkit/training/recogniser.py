"""Train a recogniser from data directories and feature stores."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sertoolkit import registry
from sertoolkit.audio.augmentation import plain_id
from sertoolkit.config import dump_yaml, from_dict, hash_of, to_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.errors import CheckpointError, ConfigError
from sertoolkit.features.dump import ExtractOptions
from sertoolkit.features.on_the_fly import AudioFeatures
from sertoolkit.inference.recogniser import MODEL_FILE, Recogniser
from sertoolkit.storage import atomic
from sertoolkit.storage.ark import ArkReader
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks.asr import AsrTask, Transcribed
from sertoolkit.text.tokens import load_tokens
from sertoolkit.training.batches import step_seed
from sertoolkit.training.checkpoint import remove_checkpoints
from sertoolkit.training.config import AsrConfig
from sertoolkit.training.determinism import deterministic
from sertoolkit.training.loop import Trainer
from sertoolkit.training.precision import warn_where_slow
from sertoolkit.training.ranks import ALONE, Ranks
from sertoolkit.training.signals import stop_requests
from sertoolkit.version import environment, processor

logger = logging.getLogger(__name__)

COSTS_FILE = "training.yaml"


def train_recogniser(
    config: AsrConfig,
    *,
    train_data: Path,
    train_feats: Path | None,
    valid_data: Path,
    valid_feats: Path,
    tokens_dir: Path,
    out: Path,
    device: str | torch.device = "cpu",
    drop_bad: bool = False,
    num_workers: int = 0,
    device_features: bool = False,
    ranks: Ranks = ALONE,
) -> Path:
    """Train, and write ``model.safetensors``, ``config.yaml``, ``train.jsonl`` and ``training.yaml`` into ``out``.

    Goes on from a checkpoint in ``out``; does nothing if the same training has ended there.

    Args:
        config: encoder and optimisation
        train_data: data directory with transcripts
        train_feats: feature store of the same utterances, tempo copies allowed; None: features are computed on the
            fly from the audio of ``train_data``, as those of ``valid_feats`` were, at tempos and gains of ``config``
        valid_data: as ``train_data``; its character error rate selects the epoch
        valid_feats: feature store of its utterances
        tokens_dir: token list
        out: experiment folder
        device: as torch names it
        drop_bad: leave utterances out that CTC cannot learn from, with a count
        num_workers: processes that read the training set ahead; changes no result
        device_features: features on the fly are computed on ``device`` where the frontend can, not by those processes;
            results differ by rounding
        ranks: the processes that share the training; the first one writes

    Returns:
        path of the model

    Raises:
        ConfigError: if ``config`` wants tempos and gains of features that are stored
        DataError: names every utterance that cannot be trained on
        CheckpointError: if ``out`` holds another training, or is damaged
        Stopped: on SIGTERM or Ctrl-C, the state saved

    """
    with ranks.together():
        tokens = load_tokens(tokens_dir)
        train_dir, valid_store = DataDir.read(train_data), ArkReader(valid_feats).verify()
        frontend = {key: valid_store.meta[key] for key in ("frontend", "frontend_conf")}
        if train_feats is None:
            train_source = _audio(train_dir, config, valid_store.meta, out)
        elif config.augment is None:
            train_source = ArkReader(train_feats, expect=frontend).verify()
        else:
            raise ConfigError(
                f"augment: the features in {train_feats} are stored, so tempo and gain cannot change; compute them on the"
                " fly (--feats on_the_fly of a recipe), or set augment=null"
            )
        torch.manual_seed(step_seed(config.seed, 0, 0))
        recogniser = Recogniser.build(
            encoder=config.encoder, encoder_conf=config.encoder_conf, tokens=tokens, **frontend
        )
        encoder = recogniser.encoder
        train = Transcribed.check(train_source, train_dir.text, tokens, encoder, drop_bad=drop_bad)
        valid = Transcribed.check(
            valid_store, DataDir.read(valid_data).text, tokens, encoder, drop_bad=drop_bad
        )
        amount = _amount(train, train_dir.text, valid_store.meta["frame_shift"])
        ranks.check(recogniser.model)
        warn_where_slow([config.training], torch.device(device))
        recogniser.model.to(device)
        task = AsrTask(
            recogniser.model,
            train,
            valid,
            tokens,
            training=config.training,
            settings=to_dict(config),
            num_workers=num_workers,
            device_features=device_features
            and isinstance(train_source, AudioFeatures)
            and train_source.frontend.compute_frames is not None,
            ranks=ranks,
        )
        model_path = out / MODEL_FILE
        if _has_ended(model_path, task.fingerprint):
            logger.info("%s: this training has ended already", model_path)
            if ranks.is_first:
                remove_checkpoints(out)  # a kill just before the end leaves them
                if not (out / COSTS_FILE).exists():  # its times are lost
                    atomic.write_yaml(out / COSTS_FILE, amount)
            return model_path
        out.mkdir(parents=True, exist_ok=True)
        if ranks.is_first:
            atomic.write_text(out / "config.yaml", dump_yaml(to_dict(config)))
            atomic.write_text(out / "environment.yaml", dump_yaml(environment()))
        num_parameters = sum(parameter.numel() for parameter in recogniser.model.parameters())
        logger.info("%s, %d parameters, %d utterances", config.encoder, num_parameters, len(train.utt_ids))
    if len(set(ranks.gather(task.fingerprint))) > 1:
        raise ConfigError(
            "the processes of this training read different data or settings; give all of them the same"
        )
    repeatable = deterministic() if config.training.deterministic else contextlib.nullcontext()
    with stop_requests() as stop, contextlib.closing(task), repeatable:
        trainer = Trainer(
            task,
            config.training,
            seed=config.seed,
            folder=out,
            stop=stop,
            show_progress=ranks.is_first,
            ranks=ranks,
        )
        progress = trainer.run()
    if not ranks.is_first:
        return model_path
    # Not in the model: a training that was interrupted shall end with the same bytes. Before it: where the model is,
    # its costs are known.
    costs = {
        "seconds": round(progress.seconds, 1),
        "peak_memory_mib": progress.peak_memory,
        "device": torch.cuda.get_device_name(device) if torch.device(device).type != "cpu" else processor(),
        "num_processes": ranks.count,
        "threads": torch.get_num_threads(),
        "num_workers": num_workers,
    }
    atomic.write_yaml(out / COSTS_FILE, amount | costs)
    recogniser.model.eval()
    recogniser.save(
        model_path,
        fingerprint=task.fingerprint,
        config_hash=hash_of(to_dict(config)),
        num_parameters=num_parameters,
        best_epoch=progress.best_epoch,
        epochs=len(progress.history),
        valid_cer=progress.best,
        environment=environment(),
    )
    trainer.finish()
    logger.info("%s: trained in %.0f s, epoch %d kept", model_path, progress.seconds, progress.best_epoch)
    return model_path


def _audio(data: DataDir, config: AsrConfig, stored: Mapping[str, Any], out: Path) -> AudioFeatures:
    """The features of a data dir, made as those of a store."""
    cls = registry.get("frontend", stored["frontend"])
    options = ExtractOptions(resample=stored.get("resample", False), channel=stored.get("channel", "error"))
    return AudioFeatures(
        data,
        cls(from_dict(cls.Config, stored["frontend_conf"], "frontend_conf")),
        options=options,
        augmentation=config.augment,
        drop_list=out / "audio.bad",
    )


def _amount(train: Transcribed, text: Mapping[str, str], frame_shift: float) -> dict[str, Any]:
    """How much speech an epoch reads: utterances, the same with their stored copies, hours of all these."""
    return {
        "num_utts": len({utt_id if utt_id in text else plain_id(utt_id) for utt_id in train.utt_ids}),
        "num_copies": len(train.utt_ids),
        "hours": round(sum(train.feats.num_frames[u] for u in train.utt_ids) * frame_shift / 3600, 6),
    }


def _has_ended(path: Path, fingerprint: str) -> bool:
    if not path.exists():
        return False
    meta = load_tensors(path)[1]
    if meta.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{path}: made with other data or settings than this training; remove its folder or train into another one"
        )
    return True
