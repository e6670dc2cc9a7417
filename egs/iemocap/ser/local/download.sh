#!/usr/bin/env bash
# IEMOCAP cannot be fetched by a script: says how to get it, unless it is there.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/iemocap/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="download.sh [options]: say how to get IEMOCAP, whose makers give it on request."
option corpus_dir:path "$RECIPE_DIR/downloads" "where it is expected"
parse_options "$@"

for folder in "$corpus_dir" "$corpus_dir/IEMOCAP_full_release"; do
  if [ -d "$folder/Session1" ]; then
    echo "$folder is there already"
    exit
  fi
done
cat >&2 <<END
download.sh: error: IEMOCAP is not at $corpus_dir, and no script may fetch it: its makers (SAIL, University of Southern
California) give it for research to those who sign their licence.
  1. Fill in the form on https://sail.usc.edu/iemocap/iemocap_release.htm; a link to the archive comes by mail.
  2. Unpack the archive (the one without videos is enough) into $corpus_dir, so that
     $corpus_dir/IEMOCAP_full_release/Session1 exists; or name its folder by --corpus_dir.
Meanwhile egs/mini/ser/run.sh runs the same systems on a synthetic corpus of the same layout, egs/emodb/ser/run.sh on
real acted speech that is free for research.
END
exit 1
