#!/usr/bin/env bash
# Makes the corpus of read English by espeak-ng and its data dirs: data/{train,valid,test}.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/mini/asr/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="data.sh [options]: make the mini corpus of read English and prepare it.
No voice and no sentence of one set is in another."
option corpus_dir:path "$RECIPE_DIR/downloads" "where the corpus is made, in read_speech/"
option datadir:path "$RECIPE_DIR/data" "where the data dirs go"
option nj:count 2 "processes"
option minutes 12 "of training speech, about; 1.5 is fine too"
option held_out_minutes 1 "in each of valid and test, about"
option num_voices:count 28 "in all, 4 of them in valid and 4 in test"
option seed:count 1 "same seed, same bytes"
parse_options "$@"

python "$MAIN_ROOT/egs/mini/local/read_speech.py" --out "$corpus_dir/read_speech" --minutes "$minutes" \
  --held_out_minutes "$held_out_minutes" --num_voices "$num_voices" --seed "$seed" --nj "$nj"
python "$MAIN_ROOT/egs/librispeech_tedlium_voxforge/asr/local/librispeech.py" --prefix espeak_ --out "$datadir" \
  --corpus_dir "$corpus_dir/read_speech/LibriSpeech" --parts "train-mini:train dev-mini:valid test-mini:test"
