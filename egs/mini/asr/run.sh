#!/usr/bin/env bash
# A small recogniser on synthetic read English that is made on the spot. Options: run.sh --help
set -euo pipefail
# shellcheck source=egs/mini/asr/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/mini/asr/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/asr/asr.sh" \
  --setup --train_cmd="$train_cmd" \
  --train_set train --valid_set valid --test_sets test \
  --data_scripts "egs/mini/local egs/librispeech_tedlium_voxforge/asr/local/librispeech.py" \
  --extract_args --resample \
  -- "$@"
