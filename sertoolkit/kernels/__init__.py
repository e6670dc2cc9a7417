"""Kernels for a GPU, each beside plain torch that does the same."""

from sertoolkit.kernels.steps import applies as applies
from sertoolkit.kernels.steps import run_steps as run_steps
from sertoolkit.kernels.steps import run_steps_back as run_steps_back
