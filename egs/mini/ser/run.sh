#!/usr/bin/env bash
# All systems of Table 1, scaled down, on a synthetic acted corpus that is made on the spot, with the recogniser of
# egs/mini/asr frozen. Makes the environment and the recogniser where they are missing. Options: run.sh --help
set -euo pipefail
# shellcheck source=egs/mini/ser/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/mini/ser/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/ser/ser.sh" \
  --setup --train_cmd="$train_cmd" \
  --asr_recipe "$MAIN_ROOT/egs/mini/asr" --asr_exp "$MAIN_ROOT/egs/mini/asr/exp/asr" \
  --protocol "$MAIN_ROOT/conf/protocols/iemocap4-consensus.yaml" \
  --data_scripts "egs/mini/local egs/iemocap/ser/local/iemocap.py" \
  --extract_args --resample \
  --title "Synthetic acted speech, four classes" \
  -- "$@"
