"""The benchmark of the recogniser on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import ds2
from bench.deepspeech import PlainDS2
from sertoolkit.encoders.ds2 import DS2


def test_durations_are_skewed_as_those_of_librispeech() -> None:
    seconds = ds2.frames_like_librispeech(4000) / 100

    assert seconds.mean() == pytest.approx(12.6, rel=0.02)
    assert (seconds.min(), seconds.max()) == (pytest.approx(1.4, abs=0.7), pytest.approx(16.5, abs=0.1))
    assert (seconds > seconds.mean()).mean() > 0.55


def test_the_rival_computes_what_ds2_computes() -> None:
    rival, ours = PlainDS2(ds2.TINY).eval(), DS2(ds2.TINY).eval()
    with torch.no_grad():  # a bias before a batch norm changes nothing that is trained
        rival.convs[0].bias.zero_()
        rival.convs[3].bias.zero_()
    parts = [
        *((ours.convs[n].conv, rival.convs[3 * n]) for n in range(2)),
        *((ours.convs[n].norm, rival.convs[3 * n + 1]) for n in range(2)),
        *zip(ours.norms, rival.norms, strict=True),
    ]
    for own, theirs in parts:
        own.load_state_dict({name: theirs.state_dict()[name] for name in own.state_dict()})
    for number, (own, theirs) in enumerate(zip(ours.grus, rival.grus, strict=True)):
        state = theirs.state_dict()
        if number == 0:  # the rival reads maps x frequencies, ours frequencies x maps
            for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
                state[name] = state[name].unflatten(1, (ds2.TINY.conv_channels, -1)).mT.flatten(1)
        own.forwards[0].load_state_dict({name: state[name] for name in own.forwards[0].state_dict()})
        own.backwards[0].load_state_dict(
            {name: state[f"{name}_reverse"] for name in own.backwards[0].state_dict()}
        )
    features, lengths = torch.randn(3, 20, 161), torch.tensor([20, 20, 20])

    for mine, other in zip(ours(features, lengths)[0], rival(features, lengths)[0], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


def test_a_tiny_run_prints_its_tables_and_keeps_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds2.main(["--tiny", "--threads", str(torch.get_num_threads()), "--results", str(tmp_path / "results")])

    printed = capsys.readouterr().out
    for kind in ("ragged", "equal"):
        for work in ("training", "encoding"):
            assert f"ds2_{work}_{kind}: a tiny run, no result; nothing written" in printed
    assert "| torch modules, one at a time " in printed
    assert not list(tmp_path.iterdir())
