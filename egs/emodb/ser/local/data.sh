#!/usr/bin/env bash
# Data dir of EmoDB: data/all.
# shellcheck disable=SC2034,SC2154  # options are declared by `option`
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/../path.sh"
# shellcheck source=../../../../tools/parse_options.sh
. "$here/../../../../tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: data dir of EmoDB.
DIR is the folder EmoDB (with wav/ in it) or a folder that holds it."
option corpus_dir:path "$here/../downloads" "the corpus"
option datadir:path "$here/../data" "where the data dir goes"
option nj:count 1 "taken for the sake of the recipe; this needs one process"
parse_options "$@"

if [ -d "$corpus_dir/EmoDB" ]; then corpus_dir=$corpus_dir/EmoDB; fi
python "$here/emodb.py" --corpus_dir "$corpus_dir" --out "$datadir/all"
