"""Triton's interpreter: the kernels on a CPU, slow, for tests."""

from __future__ import annotations

import os
import sys
from typing import Any


def use() -> None:
    """Let Triton interpret the kernels in this process, on tensors of the CPU.

    Raises:
        RuntimeError: if Triton is imported already: it decides then

    """
    if "triton" in sys.modules:
        raise RuntimeError("Triton was imported before its interpreter was asked for; ask for it first")
    os.environ["TRITON_INTERPRET"] = "1"
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_index(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        # Triton 3.6 keeps a number as an array of one, which numpy 2.4 no longer takes as the end of a range
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_and_index
