"""Compiles the kernels for GPUs that need not be here and prints what they take, as JSON.

A program of its own: Triton compiles or interprets a whole process, and its tests interpret.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

SIZE = 96
CASES = {("bf16", 80): 166_912, ("bf16", 90): 232_448, ("fp32", 90): 232_448}  # bytes of shared memory there


def compiled(kernel, dtype: str, capability: int, block: int) -> dict[str, int]:
    import triton
    from triton.backends.compiler import GPUTarget

    from sertoolkit.kernels.steps import NUM_WARPS

    types = {"offsets": "*i32", "lengths": "*i32", "num_rows": "i32", "batch": "i32"}
    constants = {"SIZE": SIZE, "WIDTH": 128, "BLOCK": block, "KEEP": True}
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, f"*{dtype}") for name in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name][0] == "*"}
    constants = {name: value for name, value in constants.items() if name in names}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    binary = triton.compile(source, target=target, options={"num_warps": NUM_WARPS})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        command = [tool, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "shared_memory": binary.metadata.shared,
        "matrix_instructions": len(re.findall(r"mma\.sync|wgmma\.mma_async", binary.asm["ptx"])),
        "spilt_bytes": int(re.search(r"STACK:(\d+)", usage)[1]),
    }


if __name__ == "__main__":
    from sertoolkit.kernels import gru
    from sertoolkit.kernels.steps import block_of

    found = {}
    for name in ("forward_kernel", "backward_kernel"):
        for (dtype, capability), shared_memory in CASES.items():
            block = block_of(SIZE, 2 if dtype == "bf16" else 4, shared_memory)
            found[f"{name} {dtype} {capability}"] = compiled(getattr(gru, name), dtype, capability, block)
    print(json.dumps(found))
