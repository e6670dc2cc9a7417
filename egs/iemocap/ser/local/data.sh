#!/usr/bin/env bash
# Data dir of IEMOCAP: data/all.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/iemocap/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: data dir of IEMOCAP.
DIR is the folder IEMOCAP_full_release (with Session1 ... Session5 in it) or a folder that holds it."
option corpus_dir:path "$RECIPE_DIR/downloads" "the corpus"
option datadir:path "$RECIPE_DIR/data" "where the data dir goes"
# shellcheck disable=SC2034 # the stages of the recipe give it to every data.sh
option nj:count 1 "processes; this needs one"
parse_options "$@"

if [ -d "$corpus_dir/IEMOCAP_full_release" ]; then corpus_dir=$corpus_dir/IEMOCAP_full_release; fi
python "$here/iemocap.py" --corpus_dir "$corpus_dir" --num_turns 10039 --out "$datadir/all"
