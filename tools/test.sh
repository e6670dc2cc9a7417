#!/usr/bin/env bash
# Makes the environment if needed and runs all tests on all cores, a file of tests on one; arguments go to pytest
# (tools/test.sh tests/storage -k ark; -n 0 for one process).
# SERTOOLKIT_CORPORA names a folder of real corpora; tests that need one are skipped without it, and say so.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh"
cd "$root"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # tiny tensors: more threads only wait for each other
exec tools/venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder "$@"
