#!/usr/bin/env bash
# Fetches the corpora of small English. The recipe uses little of them, but their publishers ship whole archives:
#
#   CMU ARCTIC bdl, slt        size not known here            sha256 as in torchaudio 2.11
#   LJ Speech 1.1              2,748,572,632 bytes            sha256 as in torchaudio 2.11
#   VCTK 0.92                  about 11.7 GB                  sha256 as in torchaudio 2.11
#   LibriSpeech test-clean     346 MB, dev-clean 337 MB       sha256 as in torchaudio 2.11
#   FSDD 1.0.9                 size not known here            sha256 not known
#
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/english_small/asr/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="download.sh [options]: fetch CMU ARCTIC, LJ Speech, VCTK, LibriSpeech test-clean and dev-clean, and FSDD (about 16 GB).
Interrupted downloads go on; what is there already is left alone."
option corpus_dir:path "$RECIPE_DIR/downloads" "where they go, a folder each"
parse_options "$@"

# fetch URL FOLDER [SHA256]
fetch() {
  sertoolkit download "$1" --out "$corpus_dir/archives/$(basename "$1")" --extract "$corpus_dir/$2" ${3:+--sha256 "$3"}
}

fetch http://festvox.org/cmu_arctic/packed/cmu_us_bdl_arctic.tar.bz2 CMU_ARCTIC/cmu_us_bdl_arctic \
  26b91aaf48b2799b2956792b4632c2f926cd0542f402b5452d5adecb60942904
fetch http://festvox.org/cmu_arctic/packed/cmu_us_slt_arctic.tar.bz2 CMU_ARCTIC/cmu_us_slt_arctic \
  7c173297916acf3cc7fcab2713be4c60b27312316765a90934651d367226b4ea
fetch https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2 LJSpeech-1.1 \
  be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5
fetch https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip VCTK-Corpus \
  f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c
fetch https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz free-spoken-digit-dataset

# Both archives hold a folder LibriSpeech; the second part moves into the first one's.
fetch https://www.openslr.org/resources/12/test-clean.tar.gz LibriSpeech \
  39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23
if [ ! -d "$corpus_dir/LibriSpeech/dev-clean" ]; then
  fetch https://www.openslr.org/resources/12/dev-clean.tar.gz archives/LibriSpeech-dev-clean \
    76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3
  mv "$corpus_dir/archives/LibriSpeech-dev-clean/dev-clean" "$corpus_dir/LibriSpeech/dev-clean"
  rm -r "$corpus_dir/archives/LibriSpeech-dev-clean"
fi
