#!/usr/bin/env bash
# Fetches EmoDB: 40.5 MB (535 recordings and label files). The publisher states no checksum and we know none, and the
# address is unencrypted, so what arrives cannot be verified; emodb.py checks all names.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/emodb/ser/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="download.sh [options]: fetch EmoDB (40.5 MB) into CORPUS_DIR/EmoDB."
option corpus_dir:path "$RECIPE_DIR/downloads" "where it goes"
parse_options "$@"

url=http://emodb.bilderbar.info/download/download.zip
code=0
sertoolkit download "$url" --out "$corpus_dir/emodb.zip" --extract "$corpus_dir/EmoDB" || code=$?
if [ "$code" = 1 ]; then
  cat >&2 <<END
download.sh: where the network does not let it through: fetch $url with a browser or on another
machine, save it as $corpus_dir/emodb.zip, and start the same command again, which unpacks it.
END
fi
exit "$code"
