# shellcheck shell=bash
# The stages of a recipe script: which run, which are up to date, what happens on failure and on signals. Sourced after
# parse_options.sh by egs/TEMPLATE/*/*.sh, which declare their stages, define a function stage_<name> for each, then call
# run_stages:
#
#   add_stage 1 features "compute features" "$dumpdir"   # number, name, title, folder of the stamp
#   stage_options frontend                               # variables whose value matters
#   stage_inputs "$datadir/train"                        # files or folders, compared by content
#   stage_trees "$corpus_dir"                            # folders compared by names and sizes (a corpus)
#   stage_outputs "$dumpdir/train"                       # what must be there afterwards, unchanged
#
# A finished stage leaves a stamp (`sertoolkit stage`) with hashes of all that; a stage whose stamp holds is skipped. Each
# stage runs in a process group of its own, which gets the signals that this script gets, and which ends if it is killed.
# Functions that a script may define: preflight (calls fault TEXT or check for what later stages would miss), before_stages
# (calls supervise for work of its own), after_stages (says what was made).
# shellcheck disable=SC2154 # dry_run and the like are assigned by option

option stage "" "first stage, number or name: it and all after it run again; default: 0, skipping what is up to date"
option stop_stage "" "last stage, number or name"
option skip_stages "" 'stages to leave out, e.g. "2 score"'
option list_stages:flag false "list the stages and end"
option status:flag false "say which stages are up to date and end"
option dry_run:flag false "show what would run and end"
option setup:flag false "make the environment tools/venv first where it is missing or out of date"

stage_order=() # names in the order of their numbers
declare -A stage_number=() stage_title=() stage_stamp=() stage_state=() stage_reason=()
stage_plan=() # for `sertoolkit stage`: name, kind, value, name, kind, value, ...
stage_faults=()

# Quotes only where needed, so that a command can be read and copied.
quoted() {
  local word text=""
  for word in "$@"; do
    case $word in
      "" | *[!A-Za-z0-9_./:=,@%+\ -]*) text+=" $(printf %q "$word")" ;;
      *" "*) text+=" '$word'" ;;
      *) text+=" $word" ;;
    esac
  done
  printf '%s' "${text# }"
}

log() { printf '%(%H:%M:%S)T %s: %s\n' -1 "$RECIPE" "$*" >&2; }
fail() {
  local code=$1
  shift
  printf '%s: error: %s\n' "$RECIPE" "$*" >&2
  exit "$code"
}
fault() { stage_faults+=("$*"); }
# check COMMAND...: where it ends with 2, each line that it prints is a fault; where it fails otherwise, it is broken.
check() {
  local line answer code=0
  answer=$("$@" 2>&1) || code=$?
  if [ "$code" = 0 ]; then return; fi
  if [ "$code" != 2 ]; then
    printf '%s\n' "$answer" >&2
    fail 1 "the settings could not be checked; the lines above say why"
  fi
  while IFS= read -r line; do fault "$line"; done <<<"$answer"
}
# A path as short as it can be from where the user stands.
from_here() { printf '%s' "${1#"$PWD/"}"; }
# suggest DATA_DIR UTT_ID WORDS...: a command of the toolkit on this recording of a data dir, else on its first, to be pasted.
suggest() {
  local recording=RECORDING.wav toolkit id path
  toolkit=$(from_here "$(command -v sertoolkit)")
  if [ -f "$1/wav.scp" ]; then
    read -r _ recording <"$1/wav.scp"
    while read -r id path; do if [ "$id" = "$2" ]; then recording=$path; fi; done <"$1/wav.scp"
  fi
  shift 2
  log "try: $(quoted "$toolkit" "$@" "$recording")"
}
duration() {
  if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}

add_stage() {
  stage_current=$2
  stage_order+=("$2")
  stage_number[$2]=$1
  stage_title[$2]=$3
  stage_stamp[$2]=$4/.stage_${RECIPE//\//_}_$2.json
  stage_plan+=("$2" stamp "${stage_stamp[$2]}")
}
stage_options() { for name in "$@"; do stage_plan+=("$stage_current" option "$name=${!name}"); done; }
stage_inputs() { for path in "$@"; do stage_plan+=("$stage_current" input "$path"); done; }
stage_trees() { for path in "$@"; do stage_plan+=("$stage_current" tree "$path"); done; }
stage_outputs() { for path in "$@"; do stage_plan+=("$stage_current" output "$path"); done; }

# In a stage: show a command, and run it unless this is a dry run.
run() {
  stage_command=$(quoted "$@")
  printf '  + %s\n' "$stage_command" >&2
  if [ "$dry_run" = false ]; then "$@"; fi
}

list_stages() {
  local name
  for name in "${stage_order[@]}"; do
    printf '%3d  %-10s %s\n' "${stage_number[$name]}" "$name" "${stage_title[$name]}"
  done
}

# stage_index OPTION VALUE: the number of a stage given by number or name.
stage_index() {
  local name
  for name in "${stage_order[@]}"; do
    if [ "$2" = "$name" ] || [ "$2" = "${stage_number[$name]}" ]; then
      printf '%s' "${stage_number[$name]}"
      return
    fi
  done
  name=$(printf '%s\n' "${stage_order[@]}" | nearest "$2")
  fail 2 "--$1 $(quoted "$2"): no such stage${name:+; did you mean $name?}; they are: $(stage_names)"
}
stage_names() {
  local name text=""
  for name in "${stage_order[@]}"; do text+=", ${stage_number[$name]} $name"; done
  printf '%s' "${text#, }"
}

choose_stages() {
  local word words name first last skipped=" "
  first=$(stage_index stage "${stage:-0}")
  last=$(stage_index stop_stage "${stop_stage:-${stage_order[-1]}}")
  [ "$first" -le "$last" ] || fail 2 "--stage $stage comes after --stop_stage $stop_stage"
  read -ra words <<<"$skip_stages"
  for word in "${words[@]}"; do skipped+="$(stage_index skip_stages "$word") "; done
  chosen_stages=()
  for name in "${stage_order[@]}"; do
    if [ "${stage_number[$name]}" -ge "$first" ] && [ "${stage_number[$name]}" -le "$last" ] &&
      [[ $skipped != *" ${stage_number[$name]} "* ]]; then chosen_stages+=("$name"); fi
  done
}

# stage_stamps ACTION [NAME]: asks `sertoolkit stage`; fills stage_state and stage_reason.
stage_stamps() {
  local answer name state reason
  answer=$(printf '%s\0' "${stage_plan[@]}" | sertoolkit stage "$@") || exit "$?"
  while IFS=$'\t' read -r name state reason; do
    if [ -n "$name" ]; then stage_state[$name]=$state stage_reason[$name]=$reason; fi
  done <<<"$answer"
}

# True where stage $1 was chosen and is not up to date, or was asked for by --stage.
will_run() {
  [[ " ${chosen_stages[*]} " == *" $1 "* ]] && { [ -n "$stage" ] || [ "${stage_state[$1]}" != "done" ]; }
}

show_status() {
  local name
  for name in "${stage_order[@]}"; do
    printf '%3d  %-10s %-8s %s\n' "${stage_number[$name]}" "$name" "${stage_state[$name]}" "${stage_reason[$name]}"
  done
}

# A process that ended but was not waited for still has its pid, in containers without an init for ever.
is_alive() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# Only one run at a time writes to an experiment folder. The kernel holds the lock as long as a process of that run lives.
take_lock() {
  local holder patience
  mkdir -p "$1" || fail 1 "cannot make $1; choose another folder by --expdir"
  exec 9>>"$1/.lock" || fail 1 "cannot write to $1; choose another folder by --expdir"
  for patience in {60..0}; do
    if flock --nonblock 9; then
      printf '%s\n' "$$" >"$1/.lock"
      return
    fi
    holder=$(head -n 1 "$1/.lock")
    # A run that was killed: its last child is just saving and ending.
    if [ -z "$holder" ] || is_alive "$holder" || [ "$patience" = 0 ]; then break; fi
    sleep 0.5
  done
  fail 2 "$1 is in use by pid ${holder:-unknown}; wait for it, stop it, or choose another --expdir"
}

# In the stage's shell: says which line and command failed.
report_failure() {
  local code=$1 place="" i
  trap - ERR
  for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
    if [ "${BASH_SOURCE[$i]##*/}" != stages.sh ]; then
      place=${BASH_SOURCE[$i]##*/}:${BASH_LINENO[$((i - 1))]}
      break
    fi
  done
  case $code in 130 | 143) ;; *) log "$place: exit code $code from: ${stage_command:-$2}" ;; esac
}

# Ends the group named last on stdin when this script vanishes (SIGKILL), so that no stage goes on alone.
watch_over_group() {
  local line group=""
  trap '' INT TERM HUP
  exec 9>&-
  while read -r line; do group=$line; done
  if [ -n "$group" ]; then kill -TERM -- "-$group" 2>/dev/null || true; fi
}

stop_signal=""
on_signal() {
  stop_signal=$1
  if [ -n "${stage_child:-}" ]; then
    log "stopping at signal $1: waiting for what runs to save its state"
    kill "-$1" -- "-$stage_child" 2>/dev/null || true
  else
    exit $((128 + $(kill -l "$1")))
  fi
}

# supervise FUNCTION|COMMAND ARGS...: in a process group of its own; leaves its exit code in supervised_code; ends this
# script on a signal. To be called bare: bash ignores `set -e` in all that is called from `if` or beside `||` and `&&`.
supervise() {
  local patience
  if [ -z "${WATCHER_PID:-}" ]; then
    set -m
    coproc WATCHER { watch_over_group; }
    set +m
    watcher=${WATCHER[1]}
  fi
  set -m # jobs get process groups of their own
  (
    set -eE +m
    trap 'exit 143' TERM
    trap 'exit 130' INT
    trap 'exit 129' HUP
    trap 'report_failure $? "$BASH_COMMAND"' ERR
    "$@"
  ) &
  stage_child=$!
  set +m
  printf '%s\n' "$stage_child" >&"$watcher"
  while :; do
    supervised_code=0
    wait "$stage_child" || supervised_code=$?
    # A trapped signal ends `wait` early.
    kill -0 "$stage_child" 2>/dev/null || break
  done
  if [ -n "$stop_signal" ]; then
    for patience in {600..0}; do
      kill -0 -- "-$stage_child" 2>/dev/null || break
      if [ "$patience" = 0 ]; then kill -KILL -- "-$stage_child" 2>/dev/null || true; else sleep 0.1; fi
    done
    log "stopped; start the same command again to go on"
    exit $((128 + $(kill -l "$stop_signal")))
  fi
  stage_child=""
  printf '\n' >&"$watcher"
}

run_stage() {
  local name=$1 start=$SECONDS label="Stage ${stage_number[$1]} $1"
  log "$label: ${stage_title[$name]}"
  if [ "$dry_run" = true ]; then
    "stage_$name"
    return
  fi
  stage_stamps start --name "$name"
  supervise "stage_$name"
  if [ "$supervised_code" != 0 ]; then
    log "$label: failed after $(duration $((SECONDS - start)))"
    case $supervised_code in 2 | 129 | 130 | 143) exit "$supervised_code" ;; *) exit 1 ;; esac
  fi
  stage_stamps finish --name "$name"
  log "$label: done in $(duration $((SECONDS - start)))"
}

check_before_start() {
  local text
  if ! declare -F preflight >/dev/null; then return; fi
  preflight
  if [ ${#stage_faults[@]} -gt 0 ]; then
    for text in "${stage_faults[@]}"; do printf '%s: error: %s\n' "$RECIPE" "$text" >&2; done
    exit 2
  fi
}

# For preflight: a corpus that stage data needs, that is not there, and that this run does not fetch.
check_corpus() {
  local fetch=("$(from_here "$RECIPE_DIR/run.sh")" --stage download --stop_stage download)
  if [ -d "$corpus_dir" ] || [ ! -e "$RECIPE_DIR/local/download.sh" ] || ! will_run data || will_run download; then
    return
  fi
  if [ "$corpus_dir" != "${option_default[corpus_dir]}" ]; then fetch+=(--corpus_dir "$corpus_dir"); fi
  fault "no corpus at $corpus_dir: name its folder by --corpus_dir, or fetch it: $(quoted "${fetch[@]}")"
}

# run_stages FOLDER: the chosen stages; FOLDER is the experiment folder, locked meanwhile.
run_stages() {
  local name start=$SECONDS ran=0
  if [ "$list_stages" = true ]; then
    list_stages
    exit 0
  fi
  choose_stages
  trap 'on_signal TERM' TERM
  trap 'on_signal INT' INT
  trap 'on_signal HUP' HUP
  if [ "$setup" = true ] && [ -z "${SERTOOLKIT_BIN:-}" ] && [ "$status$dry_run" = falsefalse ]; then
    supervise "$MAIN_ROOT/tools/setup.sh"
    [ "$supervised_code" = 0 ] || fail 1 "tools/setup.sh failed; the lines above say why"
    hash -r
  fi
  if ! command -v sertoolkit >/dev/null; then
    local hint=""
    if [ "$status$dry_run" != falsefalse ]; then hint=" (--dry_run and --status make none)"; fi
    fail 1 "no environment yet; make it by $MAIN_ROOT/tools/setup.sh$hint"
  fi
  stage_stamps status
  if [ "$status" = true ]; then
    show_status
    exit 0
  fi
  check_before_start
  if [ "$dry_run" = false ]; then take_lock "$1"; fi
  if declare -F before_stages >/dev/null; then before_stages; fi
  for name in "${chosen_stages[@]}"; do
    if will_run "$name"; then
      ran=$((ran + 1))
      run_stage "$name"
    else
      log "Stage ${stage_number[$name]} $name: up to date, skipped"
    fi
  done
  if [ "$dry_run" = true ]; then
    log "nothing was run: a dry run; $ran of ${#chosen_stages[@]} stages would"
    return
  fi
  log "done in $(duration $((SECONDS - start))): $ran of ${#chosen_stages[@]} stages ran"
  if declare -F after_stages >/dev/null; then after_stages; fi
}
