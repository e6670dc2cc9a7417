#!/usr/bin/env bash
# Data dirs of small English: data/{train,valid,test_arctic,test_librispeech,test_vctk,test_fsdd}.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/english_small/asr/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh --corpus_dir DIR [options]: data dirs of small English.
DIR holds the folders CMU_ARCTIC LJSpeech-1.1 VCTK-Corpus LibriSpeech free-spoken-digit-dataset; data.sh refuses to go on if a
sentence of a held-out set is in train (the ten digits excepted)."
option corpus_dir:path "$RECIPE_DIR/downloads" "folder of the corpora"
option datadir:path "$RECIPE_DIR/data" "where the data dirs go"
option nj:count 2 "processes that speak the synthetic part"
option espeak_minutes:int 60 "minutes of synthetic voices (espeak-ng) in train; 0 for none"
option espeak_voices:count 40 "synthetic voices, 4 of them for validation, 4 for nothing but tests"
option seed:count 1 "of the synthetic voices"
parse_options "$@"

missing=0
for name in CMU_ARCTIC LJSpeech-1.1 VCTK-Corpus LibriSpeech free-spoken-digit-dataset; do
  if [ ! -d "$corpus_dir/$name" ]; then
    printf 'data.sh: error: %s: no such folder; local/download.sh fetches the corpora\n' "$corpus_dir/$name" >&2
    missing=1
  fi
done
[ "$missing" = 0 ] || exit 1

local_dir=$datadir/local
python "$here/arctic.py" --corpus_dir "$corpus_dir/CMU_ARCTIC" --out "$local_dir/arctic"
python "$here/ljspeech.py" --corpus_dir "$corpus_dir/LJSpeech-1.1" --out "$local_dir/ljspeech"
python "$here/vctk.py" --corpus_dir "$corpus_dir/VCTK-Corpus" --out "$local_dir/vctk"
python "$here/fsdd.py" --corpus_dir "$corpus_dir/free-spoken-digit-dataset" --out "$local_dir/fsdd"
librispeech=$MAIN_ROOT/egs/librispeech_tedlium_voxforge/asr/local/librispeech.py
python "$librispeech" --corpus_dir "$corpus_dir/LibriSpeech" --parts "test-clean dev-clean" --out "$local_dir/librispeech"

if [ "$espeak_minutes" -le 0 ]; then
  python "$here/sets.py" --local_dir "$local_dir" --out "$datadir"
  exit
fi
# Half of what the synthetic voices read is the text of the real training speech, which no held-out set shares.
python "$here/sets.py" --local_dir "$local_dir" --out "$local_dir/real" >"$local_dir/real.log"
cut -d ' ' -f 2- "$local_dir/real/train/text" | LC_ALL=C sort -u >"$local_dir/texts"
python "$MAIN_ROOT/egs/mini/local/read_speech.py" --out "$local_dir/espeak" --minutes "$espeak_minutes" --held_out_minutes 1 \
  --num_voices "$espeak_voices" --held_out_voices 4 --texts "$local_dir/texts" --seed "$seed" --nj "$nj"
python "$librispeech" --corpus_dir "$local_dir/espeak/LibriSpeech" --prefix espeak_ --out "$local_dir/espeak_data"
python "$here/sets.py" --local_dir "$local_dir" --espeak_dir "$local_dir/espeak_data" --out "$datadir"
