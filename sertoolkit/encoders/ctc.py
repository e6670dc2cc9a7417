"""Connectionist temporal classification on an encoder (Graves et al. 2006)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertoolkit.encoders.base import Encoder


class CtcModel(nn.Module):
    """An encoder and a softmax over tokens on its last layer.

    Args:
        encoder: features -> layers
        num_tokens: the blank included

    """

    def __init__(self, encoder: Encoder, num_tokens: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = nn.Linear(encoder.layer_dims[-1], num_tokens)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of tokens, at least in float32 also under autocast.

        Args:
            features: (B, T, D)
            lengths: valid frames (B,)

        Returns:
            log probabilities (B, T', V) and their valid frames (B,)

        """
        layers, lengths = self.encoder(features, lengths)
        return token_log_probs(self.output(layers[-1])), lengths

    def loss(
        self,
        features: Tensor,
        lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        blank: int,
        in_bfloat16: bool = False,
        on_cpu: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """CTC of a batch.

        Args:
            features: (B, T, D)
            lengths: valid frames (B,), on the CPU, so that a GPU need not be waited for
            targets: token numbers of each utterance
            blank: number of the blank
            in_bfloat16: products of encoder and output, by autocast
            on_cpu: as in :func:`ctc_loss`

        Returns:
            loss, log probabilities (B, T', V), and their valid frames (B,) on the CPU

        """
        with torch.autocast(features.device.type, torch.bfloat16, enabled=in_bfloat16):
            log_probs, _ = self(features, lengths.to(features.device, non_blocking=True))
        lengths = self.encoder.output_lengths(lengths)
        return ctc_loss(log_probs, lengths, targets, blank=blank, on_cpu=on_cpu), log_probs, lengths


def token_log_probs(logits: Tensor) -> Tensor:
    """Log probabilities (B, T', V) from logits of tokens, at least in float32 also under autocast."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.log_softmax(logits, dim=-1)


def ctc_loss(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    blank: int,
    on_cpu: bool = False,
    reduction: str = "sum",
) -> Tensor:
    """Loss of each utterance, averaged over utterances.

    Args:
        log_probs: (B, T', V)
        lengths: valid frames (B,), on the CPU
        targets: token numbers of each utterance
        blank: number of the blank
        on_cpu: copy the log probabilities there, since CTC's gradient on a GPU differs from run to run
        reduction: of an utterance: ``sum`` over its frames (nats an utterance), or ``mean``, that sum divided by the
            number of its tokens (nats a token)

    Returns:
        a scalar

    """
    if on_cpu:
        log_probs = log_probs.cpu()
    loss = functional.ctc_loss(
        log_probs.transpose(0, 1),
        torch.tensor(list(itertools.chain(*targets)), device=log_probs.device),
        lengths,
        torch.tensor([len(target) for target in targets]),
        blank=blank,
        reduction=reduction,
    )
    return loss / len(targets) if reduction == "sum" else loss
