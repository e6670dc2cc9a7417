#!/usr/bin/env bash
# All benchmarks that need a GPU, in under ten minutes. Needs torch, triton, numpy, scipy, scikit-learn, safetensors, yaml
# and tqdm; nothing of this project need be installed. PYTHON names the interpreter. Arguments go to the
# benchmark (--tiny, --device cpu, --results DIR).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
if [ -z "${PYTHON:-}" ] && [ -x tools/venv/bin/python ]; then
  python=tools/venv/bin/python
fi
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 "$python" -m bench.gru_gpu "$@"
