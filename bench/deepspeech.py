"""The rival of ds2: deepspeech.pytorch's model from torch's modules."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sertoolkit.encoders.ds2 import DS2Config
from sertoolkit.networks import frame_mask


class PlainDS2(nn.Module):
    """The same architecture from torch's modules as deepspeech.pytorch puts them together.

    Convolutions with a mask after each module, packed bidirectional GRUs, batch norm over all
    frames of a batch, padding included. Directions are concatenated as in ours, where deepspeech.pytorch adds them.
    """

    def __init__(self, config: DS2Config) -> None:
        super().__init__()
        channels = config.conv_channels
        self.convs = nn.Sequential(
            nn.Conv2d(1, channels, (41, 11), (2, 2), (20, 5)),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
            nn.Conv2d(channels, channels, (21, 11), (2, 1), (10, 5)),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
        )
        frequencies = ((config.input_dim - 1) // 2) // 2 + 1
        self.layer_dims = [2 * config.hidden_size] * config.num_layers
        sizes = [channels * frequencies, *self.layer_dims[:-1]]
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:])
        self.grus = nn.ModuleList(nn.GRU(size, config.hidden_size, bidirectional=True) for size in sizes)

    @staticmethod
    def output_lengths(lengths: Tensor) -> Tensor:
        """As :meth:`DS2.output_lengths`."""
        return (lengths - 1) // 2 + 1

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """As :meth:`DS2.forward`."""
        x = features.transpose(1, 2)[:, None]
        lengths = self.output_lengths(lengths)
        behind = ~frame_mask(lengths, (x.shape[3] - 1) // 2 + 1)[:, None, None]
        for module in self.convs:
            x = module(x).masked_fill(behind, 0)
        x = x.flatten(1, 2).permute(2, 0, 1)  # (T, B, F * C)
        layers = []
        on_cpu = lengths.cpu()
        for number, gru in enumerate(self.grus):
            if number:
                x = self.norms[number - 1](x.flatten(0, 1)).view(x.shape)
            packed = pack_padded_sequence(x, on_cpu, enforce_sorted=False)
            x = pad_packed_sequence(gru(packed)[0], total_length=x.shape[0])[0]
            layers.append(x.transpose(0, 1))
        return layers, lengths
