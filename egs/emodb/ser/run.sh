#!/usr/bin/env bash
# EmoDB, four classes, ten speakers, with the recogniser of egs/english_small/asr frozen. Options: run.sh --help
#   control, the same systems on an untrained encoder: run.sh --random_encoder
set -euo pipefail
# shellcheck source=egs/emodb/ser/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/emodb/ser/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/ser/ser.sh" \
  --setup --train_cmd="$train_cmd" --corpus_dir "${SERTOOLKIT_CORPORA:-$RECIPE_DIR/downloads}" \
  --asr_exp "$MAIN_ROOT/egs/english_small/asr/exp/asr" \
  --protocol "$MAIN_ROOT/conf/protocols/emodb4.yaml" \
  --seeds "1 2 3" \
  --title "EmoDB, four classes" \
  -- "$@"
