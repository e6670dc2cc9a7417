#!/usr/bin/env bash
# Makes the acted emotional corpus by espeak-ng and its data dir: data/all.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/mini/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh [options]: make the mini acted corpus, in the layout of IEMOCAP, and prepare it."
option corpus_dir:path "$RECIPE_DIR/downloads" "where the corpus is made, in acted_speech/"
option datadir:path "$RECIPE_DIR/data" "where the data dir goes"
option nj:count 2 "processes"
option utterances:count 480 "in all, of 10 speakers; rounded up to whole dialogs"
option seed:count 1 "same seed, same bytes"
parse_options "$@"

python "$MAIN_ROOT/egs/mini/local/acted_speech.py" --out "$corpus_dir/acted_speech" \
  --utterances "$utterances" --seed "$seed" --nj "$nj"
python "$MAIN_ROOT/egs/iemocap/ser/local/iemocap.py" \
  --corpus_dir "$corpus_dir/acted_speech/IEMOCAP_full_release" --out "$datadir/all"
