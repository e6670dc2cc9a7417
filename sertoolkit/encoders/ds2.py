"""The paper's recogniser: two convolutions and bidirectional GRUs, in the style of Deep Speech 2."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, channels_last, nn
from torch.nn import functional

from sertoolkit.encoders.base import Encoder
from sertoolkit.errors import ConfigError
from sertoolkit.gru import BiGRU
from sertoolkit.networks import MaskedBatchNorm, frame_mask

CLIP = 20.0  # upper end of the clipped ReLU (Deep Speech 2 as commonly built)


@dataclass(frozen=True)
class DS2Config:
    """Settings of `ds2`.

    Args:
        conv_channels: maps of each convolution
        num_layers: bidirectional GRU layers, which are the layers of the encoder
        hidden_size: units of a direction
        dropout: before each GRU layer but the first
        input_dim: values of an input frame

    """

    conv_channels: int = 32
    num_layers: int = 5
    hidden_size: int = 1000
    dropout: float = 0.0
    input_dim: int = 161

    def __post_init__(self) -> None:
        for name in ("conv_channels", "num_layers", "hidden_size", "input_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"ds2: {name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"ds2: dropout is {self.dropout}, expected at least 0 and below 1")


class _ConvBlock(nn.Module):
    """Convolution over (B, C, F, T), batch norm over valid frames, clipped ReLU."""

    def __init__(
        self, in_channels: int, channels: int, *, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.norm = MaskedBatchNorm(channels)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        conv = self.conv
        # channels_last: a training step of the convolutions takes 0.4 of the time on the CPU (measured).
        # The weight asks for it, since an input of one channel cannot, and stays plain in the state
        weight = conv.weight.contiguous(memory_format=channels_last)
        x = functional.conv2d(x, weight, None, conv.stride, conv.padding)
        lengths = self.output_lengths(lengths)
        # the norm leaves zeros behind the lengths, which the next convolution then reads as its own padding
        return functional.hardtanh(self.norm(x, lengths), 0.0, CLIP), lengths

    def folded(self) -> Callable[[Tensor], Tensor]:
        """The block in eval mode for an utterance alone, (1, C, T, F): the norm is part of the convolution."""
        scale, shift = self.norm.running_affine()
        weight = (self.conv.weight * scale[:, None, None, None]).mT.contiguous(memory_format=channels_last)
        stride, padding = self.conv.stride[::-1], self.conv.padding[::-1]
        return lambda x: functional.conv2d(x, weight, shift, stride, padding).clamp_(0.0, CLIP)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths - 1) // self.conv.stride[1] + 1

    def output_frequencies(self, frequencies: int) -> int:
        return (frequencies - 1) // self.conv.stride[0] + 1


class DS2(Encoder):
    """Convolutions 41 x 11 and 21 x 11 (frequency x time), then GRU layers with batch norm between them.

    One output frame stands for two input frames (20 ms). Layer x is the output of GRU layer x, forward and
    backward units concatenated: `2 * hidden_size` values. Lakomkin et al. 2017, section 3.1.1; the shapes
    that the paper leaves open are those of Deep Speech 2 as it is commonly built.

    Args:
        config: settings

    """

    Config = DS2Config
    frontend = "power_spectrogram"
    subsampling = 2

    def __init__(self, config: DS2Config) -> None:
        super().__init__()
        self.config = config
        self.input_dim = config.input_dim
        self.layer_dims = [2 * config.hidden_size] * config.num_layers
        self.convs = nn.ModuleList(
            [
                _ConvBlock(1, config.conv_channels, kernel=(41, 11), stride=(2, 2)),
                _ConvBlock(config.conv_channels, config.conv_channels, kernel=(21, 11), stride=(2, 1)),
            ]
        )
        frequencies = config.input_dim
        for conv in self.convs:
            frequencies = conv.output_frequencies(frequencies)
        sizes = [frequencies * config.conv_channels, *self.layer_dims[:-1]]
        self.grus = nn.ModuleList(BiGRU(size, config.hidden_size) for size in sizes)
        self.norms = nn.ModuleList(MaskedBatchNorm(size) for size in sizes[1:])

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of the layers from frames of the features: half, rounded up."""
        for conv in self.convs:
            lengths = conv.output_lengths(lengths)
        return lengths

    def parts(self) -> list[list[nn.Module]]:
        """The convolutions, then of each layer its GRU and the norm before it."""
        return [
            list(self.convs),
            [self.grus[0]],
            *([norm, gru] for norm, gru in zip(self.norms, self.grus[1:], strict=True)),
        ]

    def drop_layers_above(self, layer: int) -> None:
        """Remove the GRU layers above."""
        self.grus, self.norms = self.grus[:layer], self.norms[: layer - 1]
        self.layer_dims = self.layer_dims[:layer]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute all GRU layers.

        Args:
            features: (B, T, input_dim)
            lengths: valid frames, (B,)

        Returns:
            layers (B, ceil(T / 2), 2 * hidden_size), zero behind their lengths, and these lengths

        """
        is_inference = not self.training and not torch.is_grad_enabled()
        if is_inference and features.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            x = self._convolve_apart(features, lengths)
        else:
            x = self._convolve(features, lengths)
        lengths = self.output_lengths(lengths)
        layers = [_run_gru(self.grus[0], x, lengths)]
        for gru, norm in zip(self.grus[1:], self.norms, strict=True):
            x = functional.dropout(norm(layers[-1], lengths), self.config.dropout, self.training)
            layers.append(_run_gru(gru, x, lengths))
        return layers, lengths

    def _convolve(self, features: Tensor, lengths: Tensor) -> Tensor:
        mask = frame_mask(lengths, features.shape[1])
        x = features.masked_fill(~mask[:, :, None], 0).transpose(1, 2)[:, None]
        for conv in self.convs:
            x, lengths = conv(x, lengths)
        return x.permute(0, 3, 2, 1).flatten(2)  # (B, C, F, T) -> (B, T, F * C)

    def _convolve_apart(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`_convolve`, utterance by utterance.

        On the CPU in 0.7 of the time (measured): what a convolution writes is still in the cache when the next one
        reads it, and no padding is computed.
        """
        blocks = [block.folded() for block in self.convs]
        num_frames = int(self.output_lengths(torch.tensor(features.shape[1])))
        out = features.new_zeros(len(features), num_frames, self.grus[0].forwards[0].input_size)
        for row, utterance, length in zip(out, features, lengths.tolist(), strict=True):
            # strides that tell channels_last, which one channel leaves open
            x = utterance[None, :length, :, None].permute(0, 3, 1, 2)
            for block in blocks:
                x = block(x)
            row[: x.shape[2]] = x.permute(0, 2, 3, 1).flatten(2)  # (1, C, T, F) -> (1, T, F * C)
        return out


def _run_gru(gru: BiGRU, x: Tensor, lengths: Tensor) -> Tensor:
    if not torch.is_autocast_enabled(x.device.type):
        return gru(x, lengths)
    # By itself autocast runs cuDNN's GRU in float16, whose gradients vanish, even where it was asked for bfloat16
    # (torch's aten/src/ATen/cudnn/AutocastRNN.cpp). So the weights are cast here.
    weights = {name: weight.to(x.dtype) for name, weight in gru.named_parameters()}
    with torch.autocast(x.device.type, enabled=False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        return torch.func.functional_call(gru, weights, (x, lengths))
