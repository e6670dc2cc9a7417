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
# torchaudio's extension loads with this torch only.
torch=(torch==2.11.0 torchaudio==2.11.0)

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
      "$name" -c 'import sys; print(sys.executable)'
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
  printf 'python %s\nroot %s\ncpu %s\n' "$("$python" -c 'import sys; print(sys.executable, sys.version)')" "$root" "$cpu"
  cat "$root/setup.py" "$root/tools/setup.sh"
}

# uv installs in a third of pip's time but does not read pip's configuration: hand it over.
pip_option() {
  "$venv/bin/pip" config list 2>/dev/null |
    sed -n -E "s/^[^=]*\.$1='(.*)'\$/\1/p" | sed 's/\\n/ /g' | tail -n 1 | xargs
}
hand_pip_options_to_uv() {
  local index extra links cert proxy host
  index=$(pip_option index-url) extra=$(pip_option extra-index-url) links=$(pip_option find-links)
  cert=$(pip_option cert) proxy=$(pip_option proxy) host=$(pip_option trusted-host)
  [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
  [ -z "$extra" ] || export UV_INDEX=${UV_INDEX:-$extra}
  [ -z "$links" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-${links// /,}}
  [ -z "$cert" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$cert}
  [ -z "$proxy" ] || export ALL_PROXY=${ALL_PROXY:-$proxy}
  [ -z "$host" ] || export UV_INSECURE_HOST=${UV_INSECURE_HOST:-$host}
  # As pip does it: the best version of all indexes.
  export UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match} UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180}
}

install_packages() {
  local wanted=("${torch[@]}" -e "${root}[demo,dev]")
  if "$venv/bin/pip" install --quiet --no-compile --disable-pip-version-check uv; then
    hand_pip_options_to_uv
    local uv=("$venv/bin/uv" pip install --python "$venv/bin/python")
    if [ "$cpu" = true ]; then
      "${uv[@]}" --torch-backend cpu "${wanted[@]}" ||
        fail 1 "PyTorch's CPU index did not serve ${torch[*]}; is it reachable from here? Without --cpu the usual index is asked."
      return
    fi
    if "${uv[@]}" "${wanted[@]}"; then return; fi
    log "uv could not install; trying pip, which takes about twice as long"
  elif [ "$cpu" = true ]; then
    fail 1 "--cpu needs the package uv, and your package index does not serve it"
  fi
  "$venv/bin/pip" install --quiet --no-compile --upgrade pip ||
    log "keeping $("$venv/bin/pip" --version | cut -d' ' -f1-2): no newer pip to be had"
  "$venv/bin/pip" install --no-compile --progress-bar on "${wanted[@]}" ||
    fail 1 "packages could not be installed; the lines above say which. Check the network and your pip configuration, then run tools/setup.sh again"
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
up_to_date() { [ "$force" = false ] && [ "$(cat "$venv/.setup-done" 2>/dev/null)" = "$stamp" ]; }
if up_to_date; then
  log "tools/venv is up to date"
  exit 0
fi

# A second setup.sh started meanwhile waits for this one and then finds its work done.
exec 9>"$root/tools/.setup.lock"
if command -v flock >/dev/null && ! flock --nonblock 9; then
  log "waiting for another tools/setup.sh"
  flock 9
  if up_to_date; then exit 0; fi
fi

start=$SECONDS
log "making tools/venv with $("$python" --version) ($python); 1 to 3 minutes, about 6 GB"
rm -rf "$venv"
"$python" -m venv "$venv"
install_packages
log "checking that it works"
"$venv/bin/python" -c 'import torch, torchaudio, sertoolkit' ||
  fail 1 "the packages were installed but cannot be imported; the lines above say why. Try tools/setup.sh --force"
printf '%s\n' "$stamp" >"$venv/.setup-done"
log "done in $((SECONDS - start)) s: $venv"
