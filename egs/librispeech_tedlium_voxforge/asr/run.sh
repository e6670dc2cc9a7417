#!/usr/bin/env bash
# The paper's recogniser: LibriSpeech, TED-LIUM 2 and VoxForge, 1,300 h. What it takes: README.md. Options: run.sh --help
set -euo pipefail
# shellcheck source=egs/librispeech_tedlium_voxforge/asr/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/librispeech_tedlium_voxforge/asr/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/asr/asr.sh" \
  --setup --train_cmd="$train_cmd" --corpus_dir "${SERTOOLKIT_CORPORA:-$RECIPE_DIR/downloads}" \
  --feats on_the_fly --extract_args="--resample" --train_set train --valid_set valid --test_sets "test_clean test_other test_tedlium test_voxforge" \
  -- "$@"
