# shellcheck shell=bash
# Options of a recipe script, declared once; sourced, safe under `set -euo pipefail`.
#
#   usage="asr.sh [options]: train a recogniser and score it."
#   option nj:count 4 "processes that work side by side"
#   option asr_config:path "$RECIPE_DIR/conf/asr.yaml" "configuration of the recogniser"
#   parse_options --nj 8 -- "$@"   # afterwards $nj and $asr_config hold the values
#
# What stands before -- are the recipe's own settings: option_default and --help know them as defaults.
#
# On the command line: --foo-bar v, --foo_bar v, --foo_bar=v; a flag also without value. Types: text (the default),
# path (made absolute; relative ones are taken from where the user stands), count (1, 2, ...), int, flag (true or
# false), tag (a name that is safe as part of a folder's name). Values are taken literally, never evaluated. Wrong ones,
# unknown options and stray words are all named at once; exit code 2.

option_names=()
declare -A option_type=() option_default=() option_help=()
usage=""

# option NAME[:TYPE] DEFAULT HELP
option() {
  local name=${1%%:*} type=text
  case $1 in *:*) type=${1#*:} ;; esac
  option_names+=("$name")
  option_type[$name]=$type
  option_default[$name]=$2
  option_help[$name]=$3
  declare -g "$name=$2"
}

# The nearest of the words on stdin to $1 by edit distance, if it is near.
nearest() {
  awk -v word="$1" '
    function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
    {
      n = length(word); m = length($1)
      for (j = 0; j <= m; j++) row[j] = j
      for (i = 1; i <= n; i++) {
        diagonal = row[0]; row[0] = i
        for (j = 1; j <= m; j++) {
          above = row[j]
          row[j] = least(above + 1, row[j - 1] + 1, diagonal + (substr(word, i, 1) != substr($1, j, 1)))
          diagonal = above
        }
      }
      if (best == "" || row[m] < distance) { best = $1; distance = row[m] }
    }
    END { if (best != "" && distance * 2 <= length(word)) print best }'
}

show_help() {
  local name default
  printf '%s\n\nOptions:\n' "$usage"
  for name in "${option_names[@]}"; do
    default=${option_default[$name]}
    if [ "${option_type[$name]}" = flag ]; then
      printf '  --%-34s %s\n' "$name" "${option_help[$name]}"
    else
      printf '  --%-34s %s\n' "$name <${option_type[$name]}>" "${option_help[$name]}${default:+ [$default]}"
    fi
  done
}

# True where one of these options has another value than the recipe's own; two paths to one file are the same.
differs() {
  local name own
  for name in "$@"; do
    own=${option_default[$name]}
    if [ "${!name}" != "$own" ] && ! [ "${!name}" -ef "$own" ]; then return 0; fi
  done
  return 1
}

# True where word $1 is one of the declared options, with or without its value.
is_option() {
  local name=${1%%=*}
  name=${name#--}
  name=${name//-/_}
  # The pattern first: an associative array's subscript must never see more than a name.
  [[ $1 == --?* && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ && -n ${option_type[$name]:-} ]]
}

# Prints what is wrong with value $2 of option $1; nothing where it is right.
option_fault() {
  local name=$1 value=$2 expected=""
  case ${option_type[$name]} in
    count) [[ $value =~ ^[1-9][0-9]{0,8}$ ]] || expected="a whole number from 1" ;;
    int) [[ $value =~ ^-?(0|[1-9][0-9]{0,8})$ ]] || expected="a whole number" ;;
    flag) [[ $value =~ ^(true|false)$ ]] || expected="true or false" ;;
    tag) [[ -z $value || $value =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$ ]] ||
      expected="a name of at most 100 letters, digits, '.', '_' and '-' that starts with a letter or digit" ;;
    path) [ -n "$value" ] || expected="a path" ;;
  esac
  case $value in *$'\n'* | *$'\t'*) expected="no line break or tab in it" ;; esac
  if [ -n "$expected" ]; then printf -- '--%s %q: expected %s\n' "$name" "$value" "$expected"; fi
}

parse_options() {
  local word name value near fault faults=() of_recipe=true
  local -A given=()
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      -h | --help)
        show_help
        exit 0
        ;;
      --?*) ;;
      --)
        if [ "$of_recipe" = true ]; then # the first one
          of_recipe=false
          for name in "${!given[@]}"; do option_default[$name]=${given[$name]}; done
          continue
        fi
        ;;&
      *)
        faults+=("stray word $(printf %q "$word"): every setting is an option, --name value")
        continue
        ;;
    esac
    name=${word%%=*}
    name=${name#--}
    name=${name//-/_}
    if ! is_option "$word"; then
      near=$(printf '%s\n' "${option_names[@]}" | nearest "$name")
      faults+=("unknown option $(printf %q "${word%%=*}")${near:+; did you mean --$near?}")
      # Its value, if it has one, is no second fault.
      if [[ $word != *=* && $# -gt 0 && $1 != --* ]]; then shift; fi
      continue
    fi
    case $word in
      *=*) value=${word#*=} ;;
      *)
        if [ "${option_type[$name]}" = flag ] && ! [[ ${1:-} =~ ^(true|false)$ ]]; then
          value=true
        elif [ $# -eq 0 ] || is_option "$1"; then
          faults+=("--$name needs a value (one that looks like an option is written --$name=--...)")
          continue
        else
          value=$1
          shift
        fi
        ;;
    esac
    fault=$(option_fault "$name" "$value")
    if [ -n "$fault" ]; then
      faults+=("$fault")
    else
      if [[ ${option_type[$name]} == path && $value != /* ]]; then value=$PWD/$value; fi
      declare -g "$name=$value" # -g: an option may be called as one of the variables here
      given[$name]=$value
    fi
  done
  if [ ${#faults[@]} -gt 0 ]; then
    for fault in "${faults[@]}"; do printf '%s: error: %s\n' "${RECIPE:-${0##*/}}" "$fault" >&2; done
    printf 'Options are: %s; --help explains them.\n' "${option_names[*]/#/--}" >&2
    exit 2
  fi
}
