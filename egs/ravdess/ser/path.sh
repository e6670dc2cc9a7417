# shellcheck shell=bash
# Where things are; sourced by run.sh and local/*.sh. SERTOOLKIT_BIN names the bin folder of an environment of your own.
RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MAIN_ROOT=$(cd "$RECIPE_DIR/../../.." && pwd)
RECIPE=${RECIPE_DIR#"$MAIN_ROOT/egs/"}
export RECIPE_DIR MAIN_ROOT RECIPE
export PATH=${SERTOOLKIT_BIN:-$MAIN_ROOT/tools/venv/bin}:$PATH
export LC_ALL=C PYTHONUTF8=1 # lists are sorted by bytes, text is UTF-8
