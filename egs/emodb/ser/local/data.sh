#!/usr/bin/env bash
# Data dir of EmoDB: data/all.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/emodb/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: data dir of EmoDB.
DIR is the folder EmoDB (with wav/ in it) or a folder that holds it."
option corpus_dir:path "$RECIPE_DIR/downloads" "the corpus"
option datadir:path "$RECIPE_DIR/data" "where the data dir goes"
# shellcheck disable=SC2034 # the stages of the recipe give it to every data.sh
option nj:count 1 "processes; this needs one"
parse_options "$@"

if [ -d "$corpus_dir/EmoDB" ]; then corpus_dir=$corpus_dir/EmoDB; fi
if [ ! -d "$corpus_dir/wav" ]; then
  printf 'data.sh: error: %s: no EmoDB there (a folder wav or EmoDB/wav); name its folder by --corpus_dir, or fetch it: %s\n' \
    "$corpus_dir" "$RECIPE_DIR/run.sh --stage download --stop_stage download" >&2
  exit 1
fi
python "$here/emodb.py" --corpus_dir "$corpus_dir" --out "$datadir/all"
