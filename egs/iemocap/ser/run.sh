#!/usr/bin/env bash
# The paper's experiment: IEMOCAP, four classes, ten speakers, 12 systems on the frozen recogniser of
# egs/librispeech_tedlium_voxforge/asr, ten runs of each fold. Options: run.sh --help
#   leave one session out:       run.sh --ser_tag session5 --protocol ../../../conf/protocols/iemocap4-consensus-session5.yaml
#   label by the evaluators:     run.sh --ser_tag majority --protocol ../../../conf/protocols/iemocap4-majority.yaml
set -euo pipefail
# shellcheck source=egs/iemocap/ser/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
# shellcheck source=egs/iemocap/ser/cmd.sh
. "$RECIPE_DIR/cmd.sh"
SERTOOLKIT_COMMAND="egs/$RECIPE/run.sh${*:+$(printf ' %q' "$@")}"
export SERTOOLKIT_COMMAND

exec bash "$MAIN_ROOT/egs/TEMPLATE/ser/ser.sh" \
  --setup --train_cmd="$train_cmd" --corpus_dir "${SERTOOLKIT_CORPORA:-$RECIPE_DIR/downloads}" \
  --asr_exp "$MAIN_ROOT/egs/librispeech_tedlium_voxforge/asr/exp/asr" \
  --protocol "$MAIN_ROOT/conf/protocols/iemocap4-consensus.yaml" \
  --extract_args "--copies 4" --analyse_args "--num_utts 2000" --seeds "1 2 3 4 5 6 7 8 9 10" \
  --title "IEMOCAP, four classes" \
  -- "$@"
