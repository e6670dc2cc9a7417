#!/usr/bin/env bash
# The stages of a recipe that trains emotion systems on a frozen recogniser, once for all corpora; a recipe's run.sh
# calls it.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
: "${RECIPE_DIR:?is set by the path.sh of a recipe: start its run.sh}"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"
# shellcheck source=tools/stages.sh
. "$MAIN_ROOT/tools/stages.sh"

usage="run.sh [options]: train emotion systems on the layers of a frozen recogniser, and print their table.
Stages: -1 download | 0 data | 1 protocol | 2 features | 3 encode | 4 train | 5 score | 6 analyse | 7 report | 8 pack
A run with other settings than the recipe's own (the defaults below), or with fewer systems, folds or seeds, is a variant:
its trainings stand in the same folder, but table, figures, RESULTS.md and packed model go to EXPDIR/ser/variant; the
recipe's own stay as they are. --analyse_args and --report_args change what is drawn and shown, and make no variant."
option corpus_dir:path "$RECIPE_DIR/downloads" "folder of the corpus as its publisher ships it"
option datadir:path "$RECIPE_DIR/data" "data dirs"
option dumpdir:path "$RECIPE_DIR/dump" "features and layers"
option expdir:path "$RECIPE_DIR/exp" "experiments"
option ser_tag:tag "" "name of this experiment: it goes to EXPDIR/ser_TAG; without it, to EXPDIR/ser"
option nj:count "$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)" \
  "processes that work side by side, by default one a core; changes no result (--asr_recipe has its own)"
option ngpu:int 0 "1: encode and train on a GPU, in one process, recurrent products in bfloat16; not run on one yet"
option cohort auto "trainings of a system stepped together: auto, a number, or off; results agree but for rounding"
option train_cmd "" 'put before the training command, e.g. "srun --mem 16G"'

option asr_exp:path "" "the frozen recogniser: an experiment folder of an asr recipe, or a bundle"
option asr_recipe:path "" "recipe that makes it where it is missing or out of date"
option random_encoder:flag false "freeze that recogniser with fresh random weights instead: the control; tag random"

option local_data_opts "" "more options of local/data.sh"
option data_scripts "" "scripts of other recipes that local/data.sh calls: files or folders, from the root of the project"
option drop:path "" "utterances to leave out of the data dirs: lines of id and reason, as extract lists what it refuses"
option data_set all "data dir with all speakers"
option protocol:path "$MAIN_ROOT/conf/protocols/iemocap4-consensus.yaml" "classes, folds, validation rule"
option side_frontend mfcc_pitch "features of the systems with a branch of their own"
option asr_frontend power_spectrogram "features of the recogniser"
option extract_args "" 'more options of sertoolkit extract, e.g. --extract_args "--resample --max_dur 60"'

option ser_config:path "$RECIPE_DIR/conf/ser.yaml" "systems and training"
option ser_args "" 'changes to it, e.g. "training.max_epochs=5"'
option systems "baseline-64 baseline-96 baseline-128 mp-1 mp-2 mp-3 rnn-1 rnn-2 rnn-3 progressive-1 progressive-2 progressive-3" \
  "systems to train"
option folds all 'all, or e.g. "fold-01 fold-02"'
option seeds 1 'runs of each fold, e.g. "1 2 3"'
option plugin:path "" "file of your own heads"
option score_args "" 'more options of sertoolkit score, for the report too, e.g. --score_args "--predictions svm=svm.tsv"'
option analyse_args "" 'more options of sertoolkit analyse, e.g. --analyse_args "--num_utts 500"'
option report_args "" 'more options of sertoolkit report, e.g. --report_args --players: mistakes to listen to, on this machine'
option title "" "first line of RESULTS.md"
option results:path "$RECIPE_DIR/RESULTS.md" "where the report goes; by default of tagged runs and variants: their folder"
option pack_system "" "system to pack; default: the last of --systems"
parse_options "$@"

if [ "$random_encoder" = true ]; then ser_tag=${ser_tag:-random}; fi
ser_exp=$expdir/ser${ser_tag:+_$ser_tag}
# True where a word of option $1 in the recipe's own run is missing from this one.
lacks() {
  local word words
  read -ra words <<<"${option_default[$1]}"
  for word in "${words[@]}"; do
    [[ " ${!1} " == *" $word "* ]] || return 0
  done
  return 1
}
# True where a run would not give the recipe's own results.
is_variant() {
  differs asr_exp local_data_opts drop data_set protocol side_frontend asr_frontend extract_args ser_config ser_args plugin \
    score_args ||
    lacks systems || lacks seeds || { [ "$folds" != all ] && lacks folds; }
}
summary=$ser_exp # table, figures, packed model
variant=false
if [ -z "$ser_tag" ] && is_variant; then variant=true summary=$ser_exp/variant; fi
if [ "$results" = "${option_default[results]}" ] && { [ -n "$ser_tag" ] || [ "$variant" = true ]; }; then
  results=$summary/RESULTS.md
fi
bundle=$summary/ser.safetensors
encoder=$asr_exp # its file
case $encoder in "" | *.safetensors) ;; *) encoder+=/model.safetensors ;; esac
if [[ $asr_exp != "$asr_recipe"/* ]]; then asr_recipe=""; fi # the user's own recogniser
with_recogniser=true                                         # systems on side features alone do without; preflight refuses others
if [ -z "$asr_exp" ] || { [ -z "$asr_recipe" ] && [ ! -e "$encoder" ]; }; then with_recogniser=false; fi
frozen=$asr_exp # what is encoded with
if [ "$random_encoder" = true ]; then frozen=$ser_exp/random_encoder.safetensors; fi
data=$datadir/$data_set
side=$dumpdir/$side_frontend/$data_set
asr_feats=$dumpdir/$asr_frontend/$data_set
layers=$dumpdir/encoded${ser_tag:+_$ser_tag}/$data_set
protocol_dir=$ser_exp/protocol
read -ra local_data_words <<<"$local_data_opts"
read -ra data_script_names <<<"$data_scripts"
read -ra extract_words <<<"$extract_args"
read -ra train_cmd_words <<<"$train_cmd"
read -ra score_words <<<"$score_args"
read -ra analyse_words <<<"$analyse_args"
read -ra report_words <<<"$report_args"
read -ra system_names <<<"$systems"
read -ra settings <<<"$ser_args"
if [ ${#system_names[@]} -gt 0 ]; then pack_system=${pack_system:-${system_names[-1]}}; fi
changes=()
for setting in "${settings[@]}"; do changes+=(--set "$setting"); done
if [ -n "$plugin" ]; then changes+=(--plugin "$plugin"); fi
scored=(--exp "$summary" --protocol_dir "$protocol_dir" --systems "$systems" --folds "$folds" --seeds "$seeds")
foreign=() # files of predictions
for word in "${score_words[@]}"; do
  if [ -f "${word##*=}" ]; then foreign+=("${word##*=}"); fi
done
plugins=(--ser_config "$ser_config" "${changes[@]}") # those of the YAML and that of --plugin

add_stage -1 download "fetch the corpus" "$datadir"
add_stage 0 data "make the data dir" "$datadir"
stage_options local_data_opts
stage_inputs "$RECIPE_DIR/local" "${data_script_names[@]/#/$MAIN_ROOT/}"
if [ -n "$drop" ]; then stage_inputs "$drop"; fi
if [ -e "$RECIPE_DIR/local/download.sh" ]; then stage_trees "$corpus_dir"; fi # else stage data makes the corpus
stage_outputs "$data"
add_stage 1 protocol "fix classes and folds, look for leaks" "$ser_exp"
stage_inputs "$protocol" "$data"
stage_outputs "$protocol_dir"
add_stage 2 features "compute features" "$dumpdir"
stage_options extract_args
stage_inputs "$data"
if [ -e "$RECIPE_DIR/local/download.sh" ]; then stage_trees "$corpus_dir"; fi # audio may change where no list does
stage_outputs "$side"
if [ "$with_recogniser" = true ]; then stage_outputs "$asr_feats"; fi
add_stage 3 encode "run the frozen recogniser once over the corpus" "$ser_exp"
stage_options systems ser_args random_encoder
stage_inputs "$ser_config"
if [ -n "$plugin" ]; then stage_inputs "$plugin"; fi # its heads say what they need
if [ "$with_recogniser" = true ]; then
  stage_inputs "$encoder" "$asr_feats"
  stage_outputs "$layers"
fi
add_stage 4 train "train ${#system_names[@]} systems over the folds" "$ser_exp"
stage_options systems folds seeds ser_args
stage_inputs "$ser_config" "$protocol_dir" "$side" "$data/text"                           # texts: for heads that transcribe
if [ "$with_recogniser" = true ]; then stage_inputs "$layers" "$encoder" "$asr_feats"; fi # the latter: heads that train it
if [ -n "$plugin" ]; then stage_inputs "$plugin"; fi
stage_outputs "${system_names[@]/#/$ser_exp/}"
add_stage 5 score "print the table" "$summary"
stage_options systems folds seeds score_args
stage_inputs "$protocol_dir" "$data/text" "${system_names[@]/#/$ser_exp/}" "${foreign[@]}"
stage_outputs "$summary/table.tsv" "$summary/scores.json"
add_stage 6 analyse "draw what heads hear, what they confuse and whom they fail" "$summary"
stage_options systems folds seeds analyse_args
stage_inputs "$protocol_dir" "$data" "${system_names[@]/#/$ser_exp/}"
if [ "$with_recogniser" = true ]; then stage_inputs "$layers"; fi
if [ -n "$plugin" ]; then stage_inputs "$plugin"; fi
stage_outputs "$summary/analysis"
add_stage 7 report "write RESULTS.md and report.html" "$summary"
stage_options systems folds seeds title score_args report_args
stage_inputs "$protocol_dir" "$data/text" "${system_names[@]/#/$ser_exp/}" "$summary/analysis" "${foreign[@]}"
if [[ " $report_args " == *" --players "* ]]; then stage_inputs "$data"; fi # where recordings lie
if [ -n "$plugin" ]; then stage_inputs "$plugin"; fi                        # its heads say what they need
stage_outputs "$results" "$summary/report.html"
add_stage 8 pack "put one system into one file" "$summary"
stage_options pack_system folds seeds
stage_inputs "$ser_exp/$pack_system"
stage_outputs "$bundle"

preflight() {
  if [ -n "$drop" ] && [ ! -f "$drop" ]; then fault "--drop $drop: no such file"; fi
  local checked=(--side_frontend "$side_frontend" --asr_frontend "$asr_frontend")
  check_corpus
  if will_run protocol; then checked+=(--protocol "$protocol"); else checked+=(--protocol_dir "$protocol_dir"); fi
  if will_run encode || will_run train; then
    checked+=(--ser_config "$ser_config" "${changes[@]}" --systems "$systems" --folds "$folds" --seeds "$seeds")
    if [ -n "$asr_exp" ]; then checked+=(--asr_exp "$asr_exp"); fi
    if [ -n "$asr_recipe" ]; then checked+=(--asr_recipe "$asr_recipe"); fi
  fi
  # Stage encode runs here; where --train_cmd starts the training elsewhere, the GPU there counts.
  if [ "$ngpu" = 1 ] && { { will_run encode && [ "$with_recogniser" = true ]; } ||
    { will_run train && [ ${#train_cmd_words[@]} = 0 ]; }; }; then checked+=(--ngpu 1); fi
  local handed=()
  if [ -n "$score_args" ] && { will_run score || will_run report; }; then handed+=(--score_args="$score_args"); fi
  if [ -n "$analyse_args" ] && will_run analyse; then handed+=(--analyse_args="$analyse_args"); fi
  if [ -n "$report_args" ] && will_run report; then handed+=(--report_args="$report_args"); fi
  if [ ${#handed[@]} -gt 0 ] || will_run protocol || will_run features || will_run encode || will_run train; then
    check sertoolkit check-recipe "${checked[@]}" "${handed[@]}"
  fi
  case $ngpu in 0 | 1) ;; *) fault "--ngpu $ngpu: expected 0 or 1; several GPUs are for asr recipes" ;; esac
  if ! [[ $cohort =~ ^(auto|off|[1-9][0-9]*)$ ]]; then fault "--cohort $cohort: expected auto, off, or a number from 1"; fi
  if [[ " $systems " != *" $pack_system "* ]]; then fault "--pack_system $pack_system: not among --systems"; fi
}
before_stages() {
  if [ "$variant" = true ]; then
    log "a variant: other settings, or fewer systems, folds or seeds; table and model go to $(from_here "$summary")," \
      "the report to $(from_here "$results")"
  fi
  if [ -z "$asr_recipe" ] || [[ " ${chosen_stages[*]} " != *" encode "* ]]; then return; fi
  log "recogniser: $asr_recipe/run.sh"
  if [ "$dry_run" = true ]; then return; fi
  # without --nj: the number of threads would change its weights
  supervise "$asr_recipe/run.sh" --ngpu "$ngpu"
  [ "$supervised_code" = 0 ] || fail 1 "the recogniser could not be made; the lines above say why"
  stage_stamps status # encode may be stale now
}

stage_download() {
  if [ -e "$RECIPE_DIR/local/download.sh" ]; then
    run bash "$RECIPE_DIR/local/download.sh" --corpus_dir "$corpus_dir"
  else
    log "nothing to fetch: stage data makes this corpus"
  fi
}
stage_data() {
  run bash "$RECIPE_DIR/local/data.sh" --corpus_dir "$corpus_dir" --datadir "$datadir" --nj "$nj" "${local_data_words[@]}"
  run sertoolkit validate-data --data_dir "$data" --needs "text utt2emo"
  if [ -n "$drop" ]; then run sertoolkit fix-data --data_dir "$data" --drop "$drop"; fi
}
stage_protocol() { run sertoolkit protocol --protocol "$protocol" --data_dir "$data" --out "$protocol_dir"; }
stage_features() {
  run sertoolkit extract --data_dir "$data" --frontend "$side_frontend" --out "$side" --nj "$nj" "${extract_words[@]}"
  if [ "$with_recogniser" = true ] && [ "$asr_feats" != "$side" ]; then
    run sertoolkit extract --data_dir "$data" --frontend "$asr_frontend" --out "$asr_feats" --nj "$nj" "${extract_words[@]}"
  fi
}
stage_encode() {
  if [ "$with_recogniser" = false ]; then
    log "no recogniser, and no chosen system needs one"
    return
  fi
  run mkdir -p "$layers" # also where no chosen system needs one
  if [ "$random_encoder" = true ]; then run sertoolkit random-encoder --asr_exp "$asr_exp" --out "$frozen"; fi
  run sertoolkit encode --asr_exp "$frozen" --feats "$asr_feats" --ser_config "$ser_config" "${changes[@]}" \
    --systems "$systems" --out "$layers" --ngpu "$ngpu"
}
stage_train() {
  local encoded=()
  if [ "$with_recogniser" = true ]; then encoded=(--layers "$layers" --asr_exp "$frozen" --asr_feats "$asr_feats"); fi
  run "${train_cmd_words[@]}" sertoolkit train-ser --ser_config "$ser_config" "${changes[@]}" --systems "$systems" \
    --folds "$folds" --seeds "$seeds" --protocol_dir "$protocol_dir" --side "$side" "${encoded[@]}" \
    --text "$data/text" --out "$ser_exp" --nj "$nj" --ngpu "$ngpu" --cohort "$cohort"
}
stage_score() {
  local name
  if [ "$variant" = true ]; then # the commands see a folder with the chosen systems alone
    run mkdir -p "$summary"
    for name in "${system_names[@]}" config.yaml environment.yaml; do run ln -sfnT "../$name" "$summary/$name"; done
  fi
  run sertoolkit score "${score_words[@]}" "${scored[@]}" --text "$data/text"
}
stage_analyse() {
  local more=(--data_dir "$data" "${plugins[@]}")
  if [ "$with_recogniser" = true ]; then more+=(--layers "$layers" --asr_exp "$frozen"); fi
  run sertoolkit analyse "${scored[@]}" "${more[@]}" "${analyse_words[@]}"
}
stage_report() {
  run sertoolkit report "${score_words[@]}" "${scored[@]}" --text "$data/text" --data_dir "$data" --out "$results" \
    --html "$summary/report.html" "${plugins[@]}" --title "${title:-$RECIPE}" \
    --command "${SERTOOLKIT_COMMAND//"$corpus_dir"/CORPUS_DIR}" "${report_words[@]}"
}
stage_pack() {
  local recogniser=()
  if [ "$with_recogniser" = true ]; then recogniser=(--asr_exp "$frozen"); fi
  run sertoolkit pack --ser_exp "$ser_exp" --system "$pack_system" --folds "$folds" --seeds "$seeds" "${plugins[@]}" \
    "${recogniser[@]}" --out "$bundle"
}
after_stages() {
  if [ -e "$results" ]; then log "results: $(from_here "$results")"; fi
  if [ -e "$summary/report.html" ]; then log "to look at in a browser: $(from_here "$summary/report.html")"; fi
  if [ "$variant" = true ]; then
    log "a variant: other settings, or fewer systems, folds or seeds; the recipe's own RESULTS.md and model are as they were"
  fi
  if [ -e "$bundle" ]; then
    log "model: $(from_here "$bundle")"
    # one with a class of the protocol, which others may lack
    suggest "$data" "$(sed -n '2s/\t.*//p' "$protocol_dir"/folds/*.tsv 2>/dev/null)" predict --model "$(from_here "$bundle")" ${plugin:+--plugin "$(from_here "$plugin")"}
  fi
}
run_stages "$expdir"
