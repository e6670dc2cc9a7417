#!/usr/bin/env bash
# RAVDESS, four classes, as many folds as actors, with the recogniser of egs/english_small/asr frozen. Options:
# run.sh --help
#   control, the same systems on an untrained encoder: run.sh --random_encoder
#   all eight emotions: run.sh --ser_tag eight --protocol ../../../conf/protocols/ravdess8.yaml
set -euo pipefail
# shellcheck source=egs/ravdess/ser/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/ravdess/ser/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/ser/ser.sh" \
  --setup --train_cmd="$train_cmd" --corpus_dir "${SERTOOLKIT_CORPORA:-$RECIPE_DIR/downloads}" \
  --asr_exp "$MAIN_ROOT/egs/english_small/asr/exp/asr" \
  --protocol "$MAIN_ROOT/conf/protocols/ravdess4.yaml" \
  --extract_args "--resample --channel mix" \
  --seeds "1 2 3" \
  --title "RAVDESS, four classes" \
  -- "$@"
