#!/usr/bin/env bash
# Data dirs of LibriSpeech, TED-LIUM 2 and VoxForge together: data/{train,valid,valid_*,test_*}; see sets.py.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/librispeech_tedlium_voxforge/asr/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: one training set of LibriSpeech, TED-LIUM 2 and VoxForge, and held-out sets of each.
DIR holds the folders LibriSpeech TEDLIUM_release2 VoxForge. No speaker is in two of training, validation and test."
option corpus_dir:path "$RECIPE_DIR/downloads" "folder of the corpora"
option datadir:path "$RECIPE_DIR/data" "where the data dirs go"
option nj:count 2 "audio files that are looked at side by side"
option corpora "librispeech tedlium voxforge" "which of them; without one, its test sets are not made"
option librispeech_train "train-clean-100 train-clean-360 train-other-500" "parts of LibriSpeech to train on"
option max_dur 15 "longest utterance of training, in seconds"
parse_options "$@"

declare -A folders=([librispeech]=LibriSpeech [tedlium]=TEDLIUM_release2 [voxforge]=VoxForge)
missing=0
for corpus in $corpora; do
  folder=$corpus_dir/${folders[$corpus]:-}
  if [ ! -d "$folder" ]; then
    printf 'data.sh: error: %s: no such folder; local/download.sh fetches the corpora\n' "$folder" >&2
    missing=1
  fi
done
[ "$missing" = 0 ] || exit 1

local_dir=$datadir/local
rm -rf "$local_dir" # of other options
for corpus in $corpora; do
  case $corpus in
    librispeech)
      python "$here/librispeech.py" --corpus_dir "$corpus_dir/LibriSpeech" --out "$local_dir/librispeech" \
        --parts "$librispeech_train dev-clean dev-other test-clean test-other"
      ;;
    tedlium)
      python "$here/tedlium.py" --corpus_dir "$corpus_dir/TEDLIUM_release2" --nj "$nj" --out "$local_dir/tedlium"
      ;;
    voxforge)
      python "$here/voxforge.py" --corpus_dir "$corpus_dir/VoxForge" --nj "$nj" --out "$local_dir/voxforge/all"
      ;;
  esac
done
python "$here/sets.py" --local_dir "$local_dir" --corpora "$corpora" --max_dur "$max_dur" --nj "$nj" --out "$datadir"
