"""Steps of GRUs for a GPU, in Triton, and in `cpu` for a CPU, in C++; plain torch does the same in `sertoolkit.gru`."""

from sertoolkit.kernels.steps import applies as applies
from sertoolkit.kernels.steps import run_steps as run_steps
from sertoolkit.kernels.steps import run_steps_back as run_steps_back
