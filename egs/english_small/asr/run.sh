#!/usr/bin/env bash
# A recogniser on an hour of real English (CMU ARCTIC, LJSpeech, VCTK, LibriSpeech and FSDD pieces) and an hour of
# synthetic voices; scored on speakers and sentences that it never heard. Options: run.sh --help
set -euo pipefail
# shellcheck source=egs/english_small/asr/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/english_small/asr/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/asr/asr.sh" \
  --setup --train_cmd="$train_cmd" --corpus_dir "${SERTOOLKIT_CORPORA:-$RECIPE_DIR/downloads}" \
  --train_set train --valid_set valid --test_sets "test_arctic test_librispeech test_vctk test_fsdd" \
  --data_scripts "egs/mini/local egs/librispeech_tedlium_voxforge/asr/local/librispeech.py" \
  --tempo "0.9 1.0 1.1" --extract_args="--resample" \
  -- "$@"
