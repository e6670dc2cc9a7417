"""Recurrent networks on a GPU: the persistent kernel, cohorts of the baseline, the ds2 recogniser, and Table 1.

    bench/gpu.sh                                            # a GPU; under ten minutes
    python -m bench.gru_gpu --sections cohort               # a part of it
    python -m bench.gru_gpu --device cpu --tiny             # does it run? seconds, no results

Rivals are run as their users run them: a network of the cohort as torch.nn.GRU (cuDNN) on packed batches, one network
after another; the recogniser as deepspeech.pytorch builds it, packed torch.nn.GRU and batch norm, same sizes and batch.
Where ours is in bfloat16 they run under autocast to it, which runs cuDNN's GRU in float16. Data are synthetic: nothing here
depends on what the numbers are, and durations are drawn like IEMOCAP's.
"""

from __future__ import annotations

import argparse
import gc
import sys
import traceback
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench import common, ds2_gpu
from bench.iemocap import frames_like_iemocap
from bench.recurrence import recurrence
from sertoolkit import kernels
from sertoolkit.gru import BiGRU
from sertoolkit.kernels import steps
from sertoolkit.networks import masked_mean

UNITS, LAYERS, SIDE_DIM = 96, 2, 27  # baseline-96 on 13 MFCC, their deltas, and pitch
BATCH, FRAMES = 64, 280
# relative errors against float64 above which a kernel is wrong, not rounded
BOUNDS = {torch.float32: 5e-3, torch.bfloat16: 5e-2}
GRID_SYSTEMS = ("baseline-96", "mp-2", "rnn-2", "progressive-2")


class Bench:
    """What all sections need: the device, sizes, and the record."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.tiny: bool = arguments.tiny
        self.on_gpu = self.device.type == "cuda"
        self.floor = "" if self.tiny or not self.on_gpu else self._measure_floor()

    def time(self, contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, Any]]:
        """Seconds of each round and GB of memory at the peak; None for one that does not fit into memory."""
        found: dict[str, dict[str, Any]] = {}
        for name, run in contestants.items():
            gc.collect()
            if self.on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            try:
                run()
                found[name] = {"peak GB": torch.cuda.max_memory_allocated() / 1e9 if self.on_gpu else None}
            except torch.cuda.OutOfMemoryError:
                print(f"{name}: out of memory")
        fit = {name: contestants[name] for name in found}
        seconds = common.time_in_turns(fit, rounds=1 if self.tiny else rounds, synchronise=self.synchronise)
        for name, times in seconds.items():
            found[name]["seconds"] = times
        return found

    def synchronise(self) -> None:
        """Wait until the GPU is done."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def random(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal values on the device."""
        return torch.randn(shape, device=self.device, dtype=dtype)

    def report(self, name: str, rows: list[dict[str, Any]], note: str = "", **settings: Any) -> None:
        """As :func:`common.report`, with what this GPU can do at best."""
        note = " ".join(part for part in (note, self.floor) if part)
        common.report(name, rows, settings=settings, arguments=self.arguments, note=note)

    def _measure_floor(self) -> str:
        left, right = (self.random(8192, 8192, dtype=torch.bfloat16) for _ in range(2))
        source = self.random(2**29)
        target = torch.empty_like(source)
        runs = {"product": lambda: left @ right, "copy": lambda: target.copy_(source)}
        seconds = common.time_in_turns(runs, rounds=10, synchronise=torch.cuda.synchronize)
        tflops = 2 * 8192**3 / _median(seconds["product"]) / 1e12
        bandwidth = 2 * 4 * 2**29 / _median(seconds["copy"]) / 1e12
        return (
            f"This GPU: {tflops:.0f} TFLOP/s in an 8192 x 8192 bf16 product, copies at {bandwidth:.2f} TB/s."
        )


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


# -- the kernel alone


def reference(gates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """States by torch.nn.GRU, cuDNN on a GPU, whose input product passes the gates through."""
    size = weight.shape[2]
    gru = nn.GRU(3 * size, size, device=gates.device, dtype=gates.dtype)
    outs = []
    for group_gates, group_weight, group_bias in zip(gates, weight, bias, strict=True):
        values = {
            "weight_ih_l0": torch.eye(3 * size, device=gates.device, dtype=gates.dtype),
            "weight_hh_l0": group_weight,
            "bias_ih_l0": torch.zeros_like(group_bias),
            "bias_hh_l0": group_bias,
        }
        outs.append(torch.func.functional_call(gru, values, (group_gates,))[0])
    return torch.stack(outs)


def compare_kernel(bench: Bench) -> None:
    """Errors of the kernel and of cuDNN against torch.nn.GRU in float64; raises where the kernel is wrong."""
    rows, wrong = [], []
    dtypes = [torch.float32, torch.bfloat16] if bench.on_gpu else [torch.float32]  # no bfloat16 interpreted
    for dtype in dtypes:
        for size in (6,) if bench.tiny else (6, 64, 96, 128):
            if bench.on_gpu and not kernels.applies(bench.device, dtype, size):
                continue
            groups, frames, batch = (2, 3, 4) if bench.tiny else (6, FRAMES, 50)
            leaves = (
                bench.random(groups, frames, batch, 3 * size),
                bench.random(groups, 3 * size, size) * size**-0.5,
                bench.random(groups, 3 * size),
            )
            target = bench.random(groups, frames, batch, size)
            exact = _values_and_gradients(reference, leaves, target, torch.float64)
            own = _values_and_gradients(recurrence, leaves, target, dtype)
            theirs = _values_and_gradients(reference, leaves, target, dtype)
            names = ("states", "gradient of gates", "of weight", "of bias")
            for name, true, ours, cudnn in zip(names, exact, own, theirs, strict=True):
                error = _relative_error(ours, true)
                rows.append(
                    {
                        "type": str(dtype).removeprefix("torch."),
                        "units": size,
                        "value": name,
                        "kernel, relative error": error,
                        "torch.nn.GRU": _relative_error(cudnn, true),
                        "greatest difference of the two": float((ours - cudnn).abs().max()),
                    }
                )
                if not error <= BOUNDS[dtype]:  # NaN too
                    wrong.append(f"{dtype}, {size} units, {name}: {error}")
    bench.report(
        "gru_kernel_errors", rows, "Errors against torch.nn.GRU in float64; float32 multiplies as TF32."
    )
    if wrong:
        raise RuntimeError("the kernel is wrong: " + "; ".join(wrong))


def _values_and_gradients(
    function: Callable[..., Tensor], leaves: tuple[Tensor, ...], target: Tensor, dtype: torch.dtype
) -> list[Tensor]:
    leaves = tuple(leaf.to(dtype).requires_grad_() for leaf in leaves)
    out = function(*leaves)
    return [x.detach().double() for x in (out, *torch.autograd.grad((out * target.to(dtype)).sum(), leaves))]


def _relative_error(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm() / true.norm())


def sweep_launches(bench: Bench) -> None:
    """Forward and backward of one layer by utterances and warps of a program; the first row is the default."""
    groups_of = (2,) if bench.tiny else (2, 20, 200, 400)
    frames, batch, size = (3, 4, 6) if bench.tiny else (FRAMES, BATCH, UNITS)
    dtype = torch.bfloat16 if bench.on_gpu else torch.float32
    launches = [(steps.BLOCKS[0], steps.NUM_WARPS), (16, 4), (16, 8), (32, 4), (64, 8), (64, 16)]
    rows = []
    for groups in groups_of:
        leaves = tuple(
            bench.random(*shape, dtype=dtype).requires_grad_()
            for shape in ((groups, frames, batch, 3 * size), (groups, 3 * size, size), (groups, 3 * size))
        )
        target = bench.random(groups, frames, batch, size, dtype=dtype)
        flop = 3 * 2 * 3 * size * size * groups * frames * batch
        for block, warps in launches[: 2 if bench.tiny else None]:
            row: dict[str, Any] = {"groups": groups, "utterances a program": block, "warps": warps}
            with mock.patch.multiple(steps, BLOCKS=(block,), NUM_WARPS=warps):
                try:
                    run = {"layer": lambda leaves=leaves, target=target: _step(recurrence(*leaves), target)}
                    found = bench.time(run, 5)["layer"]
                    seconds = _median(found["seconds"])
                    row |= {
                        "ms": seconds * 1e3,
                        "TFLOP/s": flop / seconds / 1e12,
                        "peak GB": found["peak GB"],
                    }
                except Exception as error:  # the compiler and the driver have many ways to refuse a launch
                    row["refused"] = type(error).__name__
            rows.append(row)
    settings = {"frames": frames, "batch": batch, "units": size, "type": str(dtype)}
    bench.report("gru_kernel_launches", rows, "Forward and backward of one layer of steps.", **settings)


def _step(out: Tensor, target: Tensor) -> None:
    out.backward(target)


# -- cohorts


def time_cohorts(bench: Bench) -> None:
    """Forward and backward of baseline-96 for M members: side by side, and one after another."""
    batch = 3 if bench.tiny else BATCH
    for kind in ("equal", "ragged"):
        rows: list[dict[str, Any]] = []
        sizes = [(2, "bfloat16")] if bench.tiny else [(n, "bfloat16") for n in (1, 10, 50, 100, 200)]
        sizes += [] if bench.tiny else [(100, "float32")]
        for members, name in sizes:
            lengths = torch.from_numpy(frames_like_iemocap(members * batch)).view(members, batch)
            lengths = torch.full_like(lengths, FRAMES) if kind == "equal" else lengths
            if bench.tiny:
                lengths = (lengths // 60).clamp(max=7)
            dtype = getattr(torch, name) if bench.on_gpu else torch.float32
            rows += _time_cohort(bench, lengths.to(bench.device), dtype)
            gc.collect()
        note = (
            "A step is forward and backward of two bidirectional layers and the mean over time; no optimiser. "
            "In bfloat16 autocast runs torch.nn.GRU (cuDNN) in float16. "
            f"Kernel used: {'yes' if kernels.applies(bench.device, torch.bfloat16, UNITS) else 'no'}."
        )
        settings = {"batch": batch, "units": UNITS, "layers": LAYERS, "input": SIDE_DIM, "lengths": kind}
        bench.report(f"gru_cohort_{kind}", rows, note, **settings)


def _time_cohort(bench: Bench, lengths: Tensor, dtype: torch.dtype) -> list[dict[str, Any]]:
    members, batch = lengths.shape
    x = bench.random(members, batch, int(lengths.max()), SIDE_DIM, dtype=dtype)
    target = bench.random(members, batch, 2 * UNITS)
    network = BiGRU(SIDE_DIM, UNITS, LAYERS).to(bench.device)
    stacked = {
        name: torch.stack([value.detach()] * members).requires_grad_()
        for name, value in network.named_parameters()
    }
    rivals = [nn.GRU(SIDE_DIM, UNITS, LAYERS, batch_first=True, bidirectional=True) for _ in range(members)]
    rivals = [rival.to(bench.device) for rival in rivals]
    on_cpu = lengths.cpu()
    equal = bool((on_cpu == on_cpu.max()).all())

    def side_by_side() -> None:
        values = {name: value.to(dtype) for name, value in stacked.items()}
        mean = torch.func.functional_call(
            _Mean(network), {f"network.{k}": v for k, v in values.items()}, (x, lengths)
        )
        (mean.float() * target).sum().backward()

    def steps_of_torch() -> None:
        with mock.patch.object(kernels, "applies", lambda *_: False):
            side_by_side()

    def one_after_another() -> None:
        for member, rival in enumerate(rivals):
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                if equal:
                    mean = rival(x[member])[0].mean(1)
                else:
                    packed = pack_padded_sequence(
                        x[member], on_cpu[member], batch_first=True, enforce_sorted=False
                    )
                    out = pad_packed_sequence(rival(packed)[0], batch_first=True)[0]
                    mean = masked_mean(out, lengths[member])
            (mean.float() * target[member]).sum().backward()

    contestants = {
        "side by side": side_by_side,
        "side by side, steps of torch": steps_of_torch,
        "torch.nn.GRU, one after another": one_after_another,
    }
    # from 50 members on, one after another takes seconds: nothing that a median would steady
    found = bench.time(contestants, 3 if members < 50 else 1)
    flop = 3 * sum(2 * 2 * 3 * UNITS * (dim + UNITS) for dim in (SIDE_DIM, 2 * UNITS)) * int(on_cpu.sum())
    rival = found.get("torch.nn.GRU, one after another", {}).get("seconds")
    rows = []
    for name, values in found.items():
        seconds = _median(values["seconds"])
        rows.append(
            {
                "members": members,
                "type": str(dtype).removeprefix("torch."),
                "how": name,
                "ms a step": seconds * 1e3,
                "times faster": common.ratio(rival, values["seconds"]) if rival else None,
                "GFLOP/s": flop / seconds / 1e9,
                "peak GB": values["peak GB"],
            }
        )
    return rows


class _Mean(nn.Module):
    def __init__(self, network: BiGRU) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.network.mean(x, lengths)


# -- the grid


def time_grid(bench: Bench) -> None:
    """Steps of Table 1's trainings a second, a minute for a system of each kind; the hours of all are extrapolated."""
    from bench import table1

    options = ["--device", str(bench.device), "--minutes", "4", "--systems", *GRID_SYSTEMS]
    options += ["--results", str(bench.arguments.results), *["--tiny"] * bench.tiny]
    table1.main(options)


SECTIONS = {
    "errors": compare_kernel,
    "launches": sweep_launches,
    "cohort": time_cohorts,
    "ds2": ds2_gpu.time_recogniser,
    "table1": time_grid,
}


def main(argv: list[str] | None = None) -> int:
    """Run the sections; one that fails does not keep the others from running."""
    parser = common.parser(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --tiny (default: %(default)s)")
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all"
    )
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "no CUDA GPU that this PyTorch can use; --device cpu --tiny tries the benchmark without one"
        )
    if arguments.device == "cpu":
        from bench import interpreter

        interpreter.use()
    torch.set_float32_matmul_precision("high")  # TF32, which cuDNN's GRU takes by default
    torch.manual_seed(1)
    bench, failed = Bench(arguments), []
    for name in arguments.sections:
        print(f"\n== {name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}", flush=True)
        try:
            SECTIONS[name](bench)
        except Exception:  # an hour on a GPU is dear: the other sections still run
            traceback.print_exc()
            failed.append(name)
    if failed:
        print("failed: " + " ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
