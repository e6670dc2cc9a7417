"""Kernels for a GPU, each beside plain torch that does the same."""

from sertoolkit.kernels.recurrence import applies as applies
from sertoolkit.kernels.recurrence import recurrence as recurrence
from sertoolkit.kernels.recurrence import run_steps as run_steps
from sertoolkit.kernels.recurrence import run_steps_back as run_steps_back
