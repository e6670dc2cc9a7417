#!/usr/bin/env bash
# Makes the environment tools/venv: the toolkit itself (editable), its dependencies, and what tests and demos need.
# Does nothing where that environment is already up to date.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'END'
Usage: tools/setup.sh [--cpu] [--force]

  --cpu     PyTorch built without CUDA, from PyTorch's own CPU index (smaller; needs that index to be reachable)
  --force   make the environment anew even if it is up to date

Environment: PYTHON names the interpreter to use (3.10 to 3.13); without it the first that fits on PATH is taken.
The index, proxy and certificates of your pip configuration are used.
END
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/tools/venv

log() { printf 'setup: %s\n' "$*" >&2; }
fail() {
  local code=$1
  shift
  printf 'setup: error: %s\n' "$@" >&2
  exit "$code"
}

# A Python that is new enough, not too new for PyTorch's wheels, and able to make environments.
fits='import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
find_python() {
  local name seen="" about
  for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$name" >/dev/null && "$name" -c "$fits" >/dev/null 2>&1; then
      "$name" -c 'import os, sys; print(os.path.realpath(sys._base_executable))' # of an environment: what it stands on
      return
    fi
    about=$("$name" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    "$name" -c 'import venv, ensurepip' >/dev/null 2>&1 || about+=" without its venv module"
    seen+="${seen:+, }$name is $about"
    if [ "$name" = "${PYTHON:-}" ]; then break; fi # named by the user: take it or say why not
  done
  fail 1 "no usable Python: need 3.10, 3.11, 3.12 or 3.13 with its venv module; found ${seen:-none}." \
    "Install one (Debian: apt install python3-venv) or name it: PYTHON=/path/to/python3.12 tools/setup.sh"
}

# What the environment must agree with; a difference makes it anew.
requirements() {
  printf 'python %s\nroot %s\ncpu %s\n' "$("$python" -c 'import sys; print(sys.base_prefix, sys.version)')" "$root" "$cpu"
  cat "$root/setup.py" "$root/tools/setup.sh"
}

# uv installs in a third of pip's time but does not read pip's configuration: hand it over.
pip_option() {
  "$venv/bin/pip" config list 2>/dev/null |
    sed -n -E "s/^[^=]*\.$1='(.*)'\$/\1/p" | sed 's/\\n/ /g' | tail -n 1 | xargs
}
# default_to VARIABLE VALUE: unless the user has set it.
default_to() { if [ -n "$2" ] && [ -z "${!1:-}" ]; then export "$1=$2"; fi; }
hand_pip_options_to_uv() {
  default_to UV_DEFAULT_INDEX "$(pip_option index-url)"
  default_to SSL_CERT_FILE "$(pip_option cert)"
  default_to ALL_PROXY "$(pip_option proxy)"
  default_to UV_INSECURE_HOST "$(pip_option trusted-host)"
  default_to UV_HTTP_TIMEOUT 180
}
hand_more_indexes_to_uv() {
  local extra links
  extra=$(pip_option extra-index-url) links=$(pip_option find-links)
  [ -n "$extra$links" ] || return 1
  default_to UV_INDEX "$extra"
  default_to UV_FIND_LINKS "${links// /,}"
  default_to UV_INDEX_STRATEGY unsafe-best-match # the best version of all indexes, as pip does it
}

wanted=("torch==2.11.0" "torchaudio==2.11.0" -e "${root}[demo,dev]") # torchaudio's extension loads with this torch only
works() {
  log "checking that it works"
  "$venv/bin/python" -c 'import torch, torchaudio, soundfile, opensmile, sklearn, sentencepiece, sertoolkit'
}
make_venv() {
  rm -rf "$venv"
  "$python" -m venv "$venv"
}
get_uv() { "$venv/bin/pip" install --quiet --no-compile --disable-pip-version-check uv; }
with_uv() { "$venv/bin/uv" pip install --python "$venv/bin/python" "$@" "${wanted[@]}"; }
with_pip() {
  "$venv/bin/pip" install --quiet --no-compile --upgrade pip ||
    log "keeping $("$venv/bin/pip" --version | cut -d' ' -f1-2): no newer pip to be had"
  "$venv/bin/pip" install --no-compile --progress-bar on "${wanted[@]}"
}

install_cpu() {
  get_uv || fail 1 "--cpu needs the package uv, and your package index does not serve it"
  hand_pip_options_to_uv
  if with_uv --torch-backend cpu && works; then return; fi
  fail 1 "PyTorch's CPU index did not serve ${wanted[*]:0:2}; is it reachable from here? Without --cpu the usual index is asked."
}
# The main index first: where several serve one version, uv takes the first and pip the file that suits the machine best.
install_packages() {
  if get_uv; then
    hand_pip_options_to_uv
    if with_uv && works; then return; fi
    if hand_more_indexes_to_uv; then
      log "the main index alone does not do; trying all that pip is configured for"
      make_venv && get_uv
      if with_uv && works; then return; fi
    fi
    log "uv could not do it; trying pip, which takes two or three times as long"
    make_venv
  fi
  if with_pip && works; then return; fi
  fail 1 "packages could not be installed or imported; the lines above say which. Check the network and your pip configuration, then run tools/setup.sh again"
}

cpu=false force=false
while [ $# -gt 0 ]; do
  case $1 in
    --cpu) cpu=true ;;
    --force) force=true ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail 2 "unknown option '$1'; known are --cpu --force --help" ;;
  esac
  shift
done

python=$(find_python)
stamp=$(requirements | cksum)
source=$(cat "$root"/sertoolkit/kernels/*.[ch]pp | cksum)
up_to_date() { [ "$force" = false ] && [ "$(cat "$venv/.setup-done" 2>/dev/null)" = "$stamp" ]; }
compiled() { [ "$(cat "$venv/.compiled" 2>/dev/null)" = "$source" ]; }
end_where_done() {
  if up_to_date && compiled; then
    log "tools/venv is up to date"
    exit 0
  fi
}
end_where_done

# A second setup.sh started meanwhile waits for this one and then finds its work done.
exec 9>"$root/tools/.setup.lock"
if command -v flock >/dev/null && ! flock --nonblock 9; then
  log "waiting for another tools/setup.sh"
  flock 9
  end_where_done
fi

start=$SECONDS
if up_to_date; then
  log "compiling sertoolkit/kernels anew"
  "$venv/bin/pip" install --quiet --no-deps --disable-pip-version-check -e "$root"
else
  log "making tools/venv with $("$python" --version) ($python); 1 to 3 minutes, about 6 GB"
  make_venv
  if [ "$cpu" = true ]; then install_cpu; else install_packages; fi
  printf '%s\n' "$stamp" >"$venv/.setup-done"
fi
printf '%s\n' "$source" >"$venv/.compiled"
log "done in $((SECONDS - start)) s: $venv"
