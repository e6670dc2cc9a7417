#!/usr/bin/env bash
# Fetches RAVDESS, speech, audio only: about 200 MB (1,440 recordings). The publisher states the MD5,
# size and sha256 are not known here. ravdess.py checks all names.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/ravdess/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="download.sh [options]: fetch RAVDESS (about 200 MB) into CORPUS_DIR/RAVDESS."
option corpus_dir:path "$RECIPE_DIR/downloads" "where it goes"
parse_options "$@"

archive=$corpus_dir/Audio_Speech_Actors_01-24.zip
folder=$corpus_dir/RAVDESS/Audio_Speech_Actors_01-24
fetch=(sertoolkit download "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1" --out "$archive")
if [ ! -d "$folder" ]; then
  "${fetch[@]}"
  if ! md5sum --check --quiet <<<"bc696df654c87fed845eb13823edef8a  $archive"; then
    echo "$archive: not what the publisher has; remove it to fetch it anew" >&2
    exit 1
  fi
fi
"${fetch[@]}" --extract "$folder"
