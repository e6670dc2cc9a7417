#!/usr/bin/env bash
# Fetches the three corpora:
#
#   LibriSpeech       61.4 GB in 7 archives     sizes and sha256 as in torchaudio 2.11 and TensorFlow Datasets
#   TED-LIUM 2        36.8 GB                   size and sha256 as in torchaudio 2.11 and TensorFlow Datasets
#   VoxForge          thousands of archives     neither sizes nor sums are known; unencrypted
#
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/librispeech_tedlium_voxforge/asr/path.sh
. "$here/../path.sh"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"

usage="download.sh [options]: fetch LibriSpeech, TED-LIUM 2 and VoxForge (about 110 GB, and as much again unpacked).
Interrupted downloads go on; what is there already is left alone. Archives may be removed afterwards."
option corpus_dir:path "$RECIPE_DIR/downloads" "where they go, a folder each"
option corpora "librispeech tedlium voxforge" "which of them"
option voxforge_url "http://www.repository.voxforge1.org/downloads/SpeechCorpus/Trunk/Audio/Main/16kHz_16bit/" \
  "page that lists the archives of VoxForge"
parse_options "$@"

# librispeech PART SIZE SHA256: each archive holds a folder LibriSpeech with one part and the same tables.
librispeech() {
  local top=$corpus_dir/LibriSpeech whole=$corpus_dir/archives/LibriSpeech-$1 name
  if [ -d "$top/$1" ]; then
    echo "$top/$1 is there already"
    return
  fi
  sertoolkit download "https://www.openslr.org/resources/12/$1.tar.gz" --out "$corpus_dir/archives/$1.tar.gz" \
    --size "$2" --sha256 "$3" --extract "$whole"
  mkdir -p "$top"
  for name in "$whole"/*.TXT; do
    if [ -e "$name" ]; then mv "$name" "$top/"; fi # not where an earlier run ended just behind this
  done
  mv "$whole/$1" "$top/$1"
  rmdir "$whole"
}

case " $corpora " in *" librispeech "*)
  librispeech dev-clean 337926286 76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3
  librispeech dev-other 314305928 12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365
  librispeech test-clean 346663984 39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23
  librispeech test-other 328757843 d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29
  librispeech train-clean-100 6387309499 d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2
  librispeech train-clean-360 23049477885 146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf
  librispeech train-other-500 30593501606 ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2
  ;;
esac
case " $corpora " in *" tedlium "*)
  sertoolkit download https://www.openslr.org/resources/19/TEDLIUM_release2.tar.gz --size 36791529840 \
    --sha256 93281b5fcaaae5c88671c9d000b443cb3c7ea3499ad12010b3934ca41a7b9c58 \
    --out "$corpus_dir/archives/TEDLIUM_release2.tar.gz" --extract "$corpus_dir/TEDLIUM_release2"
  ;;
esac
case " $corpora " in *" voxforge "*)
  python "$here/fetch_voxforge.py" --url "$voxforge_url" --out "$corpus_dir/VoxForge"
  ;;
esac
