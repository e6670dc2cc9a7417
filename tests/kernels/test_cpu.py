"""The compiled steps of a CPU against the same in plain torch, for each kind of CPU that this one can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sertoolkit.gru import BiGRU
from sertoolkit.kernels import cpu

ROOT = Path(__file__).parents[2]
NOT_COMPILED = (
    "not compiled: no C++ compiler was found when the toolkit was installed, or the CPU is of another kind"
)


@pytest.fixture(params=cpu.INSTRUCTIONS)
def instructions(request, monkeypatch) -> str:
    """Steps compiled for some instructions are the ones that run."""
    if request.param not in cpu.known_instructions():
        pytest.skip(f"this CPU knows {' '.join(cpu.known_instructions())} only")
    library = cpu.load(request.param)
    if library is None:
        pytest.skip(NOT_COMPILED)
    monkeypatch.setattr(cpu, "library", lambda: library)
    return request.param


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Both(nn.Module):
    """Frames and their mean, as heads and encoders take them."""

    def __init__(self, network: BiGRU) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.network(x, lengths).sum((-3, -2)) + 10 * self.network.mean(x, lengths).sum(-2)


def values_and_gradients(
    module: nn.Module, stacked: dict[str, Tensor], x: Tensor, lengths: Tensor
) -> list[Tensor]:
    out = torch.func.functional_call(module, stacked, (x, lengths))
    target = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * target).sum(), [x, *stacked.values()])]


def test_a_compiler_that_is_there_was_used() -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    assert cpu.library() is not None


def test_without_a_compiler_the_toolkit_is_installed_all_the_same(tmp_path) -> None:
    pytest.importorskip("setuptools", reason="this environment builds nothing: it has no setuptools")
    build = [
        sys.executable,
        "setup.py",
        "build_ext",
        "--build-temp",
        tmp_path / "temp",
        "--build-lib",
        tmp_path / "lib",
    ]
    env = {**os.environ, "CC": "no-such-compiler", "CXX": "no-such-compiler"}
    done = subprocess.run(build, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "no-such-compiler" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("threads", [1, 7], indirect=True)
@pytest.mark.parametrize("units", [1, 7, 24, 50, 96])
@pytest.mark.parametrize(
    "lengths", [[[4] * 9], [[5, 3, 0, 1, 2]], [[5, 3, 2], [2, 7, 0], [0, 0, 0]], [list(range(1, 40))]]
)
def test_values_and_gradients_are_those_of_plain_torch(
    lengths, units, threads, instructions, monkeypatch
) -> None:
    lengths = torch.tensor(lengths)
    members, batch = lengths.shape
    module = Both(BiGRU(5, units, 2))
    shapes = {name: value.shape for name, value in module.named_parameters()}
    stacked = {
        name: (torch.randn(members, *shape, dtype=torch.float64) * units**-0.5).requires_grad_()
        for name, shape in shapes.items()
    }
    x = torch.randn(members, batch, int(lengths.max()) + 2, 5, dtype=torch.float64, requires_grad=True)
    found = values_and_gradients(module, stacked, x, lengths)
    with monkeypatch.context() as plain:
        plain.setattr(cpu, "applies", lambda *_: False)
        expected = values_and_gradients(module, stacked, x, lengths)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_small_values_keep_their_digits(instructions) -> None:
    network = BiGRU(5, 24)
    for name, value in network.named_parameters():
        if name.split(".")[-1].startswith("bias"):
            nn.init.zeros_(value)
    x, lengths = torch.randn(4, 9, 5) * 1e-6, torch.tensor([9, 9, 3, 1], dtype=torch.int32)
    found, exact = network(x, lengths), network.double()(x.double(), lengths)
    assert float(((found - exact).abs().max() / exact.abs().max()).detach()) < 1e-6


def test_single_precision_is_as_near_to_double_as_plain_torch(instructions, monkeypatch) -> None:
    lengths = torch.randint(1, 120, (1, 32))
    module = Both(BiGRU(5, 96, 1))
    stacked = {name: value[None].detach().requires_grad_() for name, value in module.named_parameters()}
    x = torch.randn(1, 32, 120, 5, requires_grad=True)

    def errors(compiled: bool) -> list[float]:
        with monkeypatch.context() as chosen:
            if not compiled:
                chosen.setattr(cpu, "applies", lambda *_: False)
            found = values_and_gradients(module, stacked, x, lengths)
        return [
            float((value.detach() - true).abs().max() / true.abs().max())
            for value, true in zip(found, exact, strict=True)
        ]

    double = {name: value.detach().double().requires_grad_() for name, value in stacked.items()}
    exact = values_and_gradients(module, double, x.detach().double().requires_grad_(), lengths)
    exact = [value.detach() for value in exact]
    for ours, plain in zip(errors(True), errors(False), strict=True):
        assert ours < max(5 * plain, 2e-6)


def steps(lengths: list[int], gates: list[Tensor], weight: Tensor, bias: Tensor) -> list[Tensor]:
    """States of each utterance, (2H,) a frame, from what its input gives to the gates, (2, frames, 3H)."""
    counts = [sum(length > t for length in lengths) for t in range(max(lengths))]
    offsets = torch.tensor([0, *counts]).cumsum(0)[:-1]
    rows = [offsets[:length] + place for place, length in enumerate(lengths)]
    packed = torch.full((1, 2, sum(lengths), 4 * weight.shape[3]), float("nan"))
    for at, own in zip(rows, gates, strict=True):
        packed[0, :, at, : own.shape[2]] = own
    out = cpu.run_steps(packed, weight, bias, offsets, torch.tensor([lengths]))
    return [out[0, at] for at in rows]


@pytest.mark.parametrize("threads", [1, 7], indirect=True)
def test_an_utterance_gets_the_same_bits_whatever_stands_beside_it(threads, instructions) -> None:
    lengths = [40, 40, 33, 30, 12, 12, 11, 9, 4, 3, 1]
    weight, bias = torch.randn(1, 2, 72, 24) * 0.2, torch.randn(1, 2, 96)
    gates = [torch.randn(2, length, 72) for length in lengths]
    together = steps(lengths, gates, weight, bias)
    for place, length in enumerate(lengths):
        (alone,) = steps([length], [gates[place]], weight, bias)
        assert torch.equal(together[place], alone)


def test_gates_that_are_full_stay_finite_and_what_is_no_number_stays_none(instructions) -> None:
    weight, bias = torch.randn(1, 2, 15, 5), torch.zeros(1, 2, 20)
    full = torch.full((2, 3, 15), 1e30)
    (states,) = steps([3], [full], weight, bias)
    assert torch.equal(states, torch.zeros(3, 10))  # an update gate of 1 keeps the first state
    full[:, :, 5:10] = -1e30
    (states,) = steps([3], [full], weight, bias)
    assert torch.equal(states, torch.ones(3, 10))
    full[0, 1, 0] = float("nan")
    (states,) = steps([3], [full], weight, bias)
    assert not states[0, :5].isnan().any()
    assert states[1, 0].isnan()
    assert states[2, :5].isnan().all()
    assert not states[:, 5:].isnan().any()


def test_steps_of_another_source_are_left_alone(tmp_path, monkeypatch) -> None:
    if cpu.library() is None:
        pytest.skip(NOT_COMPILED)
    for file in cpu.SOURCE.parent.glob("_cpu_*"):
        shutil.copy(file, tmp_path)
    source = shutil.copy(cpu.SOURCE, tmp_path)
    monkeypatch.setattr(cpu, "SOURCE", Path(source))
    assert cpu.library.__wrapped__() is not None
    cpu.SOURCE.write_text(cpu.SOURCE.read_text() + "\n// changed\n")
    assert cpu.library.__wrapped__() is None


def test_steps_that_do_not_load_are_left_alone(tmp_path, monkeypatch) -> None:
    source = shutil.copy(cpu.SOURCE, tmp_path)
    monkeypatch.setattr(cpu, "SOURCE", Path(source))
    assert cpu.library.__wrapped__() is None
    for instructions in cpu.INSTRUCTIONS:
        name = f"_cpu_{instructions}{cpu.sysconfig.get_config_var('EXT_SUFFIX')}"
        (tmp_path / name).write_bytes(b"\x7fELF")
    assert cpu.library.__wrapped__() is None


@pytest.mark.parametrize(
    ("dtype", "runs"), [(torch.float32, True), (torch.float64, True), (torch.bfloat16, False)]
)
def test_other_types_and_devices_are_left_to_torch(dtype, runs, instructions) -> None:
    assert cpu.applies(torch.device("cpu"), dtype) is runs
    assert not cpu.applies(torch.device("meta"), dtype)
