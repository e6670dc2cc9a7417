#!/usr/bin/env bash
# Data dir of RAVDESS: data/all.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/ravdess/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: data dir of RAVDESS.
DIR is the folder RAVDESS (with Audio_Speech_Actors_01-24/ in it) or a folder that holds it."
option corpus_dir:path "$RECIPE_DIR/downloads" "the corpus"
option datadir:path "$RECIPE_DIR/data" "where the data dir goes"
# shellcheck disable=SC2034 # the stages of the recipe give it to every data.sh
option nj:count 1 "processes; this needs one"
parse_options "$@"

if [ -d "$corpus_dir/RAVDESS" ]; then corpus_dir=$corpus_dir/RAVDESS; fi
python "$here/ravdess.py" --corpus_dir "$corpus_dir" --out "$datadir/all"
