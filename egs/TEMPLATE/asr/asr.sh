#!/usr/bin/env bash
# The stages of a recipe that trains a speech recogniser, once for all corpora; a recipe's run.sh calls it.
# shellcheck disable=SC2154 # options are assigned by option
set -euo pipefail
: "${RECIPE_DIR:?is set by the path.sh of a recipe: start its run.sh}"
# shellcheck source=tools/parse_options.sh
. "$MAIN_ROOT/tools/parse_options.sh"
# shellcheck source=tools/stages.sh
. "$MAIN_ROOT/tools/stages.sh"

usage="run.sh [options]: train a speech recogniser (CTC), decode, score, pack it into one file.
Stages: -1 download | 0 data | 1 features | 2 tokens | 3 train | 4 decode | 5 score | 6 pack
A run with other settings than the recipe's own (the defaults below) is a variant: what it hears, its scores and RESULTS.md
go to EXPDIR/asr/variant; the recipe's own stay as they are. Other data or training need a folder of their own: --asr_tag."
option corpus_dir:path "$RECIPE_DIR/downloads" "folder of the corpus as its publisher ships it"
option datadir:path "$RECIPE_DIR/data" "data dirs"
option dumpdir:path "$RECIPE_DIR/dump" "features"
option expdir:path "$RECIPE_DIR/exp" "experiments"
option asr_tag:tag "" "name of this experiment: it goes to EXPDIR/asr_TAG; without it, to EXPDIR/asr"
option nj:count 2 "processes or threads that work side by side; the recogniser is the same to the bit for the same number"
option train_cmd "" 'put before the training command, e.g. "srun --mem 16G"'
option ngpu:int 0 "GPUs of a machine to train on, each by a process of its own (torchrun); 0: on the CPU. Not run on a GPU yet"
option num_nodes:count 1 "machines to train on, each with that many GPUs; they share this folder. Not run on GPUs yet"
option rendezvous "" "HOST:PORT of one of them, with --num_nodes above 1; --train_cmd starts the command on each, as srun does. Not run on GPUs yet"

option local_data_opts "" "more options of local/data.sh"
option data_scripts "" "scripts of other recipes that local/data.sh calls: files or folders, from the root of the project"
option drop:path "" "utterances to leave out of the data dirs: lines of id and reason, as extract lists what it refuses"
option train_set train "data dir of the training set"
option valid_set valid "data dir of the validation set, which selects the epoch"
option test_sets test "data dirs to decode and score"

option frontend power_spectrogram "features of the recogniser"
option feats ark "of the training set: ark (stored), or on_the_fly: from audio in every epoch, at a tempo and gain of its own"
option tempo "1.0" 'stored copies of the training set, e.g. "0.9 1.0 1.1"'
option extract_args "" 'more options of sertoolkit extract, e.g. --extract_args "--resample --max_dur 60"'
option token_type char "char, bpe or unigram"
option nbpe:count 500 "number of tokens, for bpe and unigram"
option asr_config:path "$RECIPE_DIR/conf/asr.yaml" "encoder and training"
option asr_args "" 'changes to it, e.g. "training.max_epochs=5 seed=2"'
option train_args "" "more options of sertoolkit train-asr, e.g. --train_args --drop_bad"
option decode_args "" 'more options of sertoolkit decode, e.g. --decode_args="--beam 16 --lm words.arpa"; makes a variant'
parse_options "$@"

asr_exp=$expdir/asr${asr_tag:+_$asr_tag}
summary=$asr_exp # texts, scores, RESULTS.md
variant=false
results=$RECIPE_DIR/RESULTS.md
if [ -n "$asr_tag" ]; then
  results=$asr_exp/RESULTS.md
elif differs local_data_opts drop train_set valid_set test_sets frontend feats tempo extract_args token_type nbpe \
  asr_config asr_args train_args; then
  variant=true
fi
if differs decode_args; then variant=true; fi
if [ "$variant" = true ]; then summary=$asr_exp/variant results=$asr_exp/variant/RESULTS.md; fi
dump=$dumpdir/$frontend
read -ra local_data_words <<<"$local_data_opts"
read -ra data_script_names <<<"$data_scripts"
read -ra extract_words <<<"$extract_args"
read -ra train_words <<<"$train_args"
read -ra train_cmd_words <<<"$train_cmd"
read -ra decode_words <<<"$decode_args"
read -ra test_names <<<"$test_sets"
read -ra settings <<<"$asr_args"
sets=("$train_set" "$valid_set" "${test_names[@]}")
stored=("${sets[@]}") # sets with stored features
if [ "$feats" = on_the_fly ]; then stored=("${sets[@]:1}"); fi
overrides=()
for setting in "${settings[@]}"; do overrides+=(--set "$setting"); done

add_stage -1 download "fetch the corpus" "$datadir"
add_stage 0 data "make data dirs" "$datadir"
stage_options local_data_opts
stage_inputs "$RECIPE_DIR/local" "${data_script_names[@]/#/$MAIN_ROOT/}"
if [ -n "$drop" ]; then stage_inputs "$drop"; fi
if [ -e "$RECIPE_DIR/local/download.sh" ]; then stage_trees "$corpus_dir"; fi # else stage data makes the corpus
stage_outputs "${sets[@]/#/$datadir/}"
add_stage 1 features "compute features" "$dumpdir"
stage_options frontend tempo extract_args
if [ -e "$RECIPE_DIR/local/download.sh" ]; then stage_trees "$corpus_dir"; fi # audio may change where no list does
stage_inputs "${stored[@]/#/$datadir/}"
stage_outputs "${stored[@]/#/$dump/}"
add_stage 2 tokens "make the token list from training transcripts" "$asr_exp"
stage_options token_type
if [ "$token_type" != char ]; then stage_options nbpe; fi
stage_inputs "$datadir/$train_set/text"
stage_outputs "$asr_exp/tokens"
add_stage 3 train "train the recogniser" "$asr_exp"
stage_options asr_args train_args
stage_inputs "$asr_config" "$asr_exp/tokens"
if [ "$feats" = ark ]; then
  stage_inputs "$datadir/$train_set/text" "$dump/$train_set"
else
  stage_options feats
  stage_inputs "$datadir/$train_set"
  if [ -e "$RECIPE_DIR/local/download.sh" ]; then stage_trees "$corpus_dir"; fi
fi
stage_inputs "$datadir/$valid_set/text" "$dump/$valid_set"
stage_outputs "$asr_exp/model.safetensors" "$asr_exp/config.yaml" "$asr_exp/training.yaml"
add_stage 4 decode "write what it hears" "$summary"
stage_options decode_args
stage_inputs "$asr_exp/model.safetensors" "${test_names[@]/#/$dump/}"
for word in "${decode_words[@]}"; do
  if [ -f "${word#*=}" ]; then stage_inputs "${word#*=}"; fi # a language model
done
for name in "${test_names[@]}"; do stage_outputs "$summary/decode_$name/text" "$summary/decode_$name/decode.yaml"; done
add_stage 5 score "character and word error rates, RESULTS.md" "$summary"
for name in "${test_names[@]}"; do
  stage_inputs "$datadir/$name/text" "$summary/decode_$name/text" "$summary/decode_$name/decode.yaml"
  stage_outputs "$summary/decode_$name/scores.json"
done
stage_inputs "$asr_exp/model.safetensors" "$asr_exp/config.yaml" "$asr_exp/training.yaml"
stage_outputs "$results"
add_stage 6 pack "put the recogniser into one file" "$asr_exp"
stage_inputs "$asr_exp/model.safetensors"
stage_outputs "$asr_exp/asr.safetensors"

preflight() {
  if [ -n "$drop" ] && [ ! -f "$drop" ]; then fault "--drop $drop: no such file"; fi
  local checked=()
  check_corpus
  if will_run features || will_run train; then checked+=(--asr_frontend "$frontend"); fi
  if will_run tokens; then checked+=(--token_type "$token_type"); fi
  if will_run train; then checked+=(--asr_config "$asr_config" "${overrides[@]}" --feats "$feats"); fi
  # Where --train_cmd starts the training elsewhere, the GPUs there count.
  if will_run train && [ "$ngpu" -gt 0 ] && [ ${#train_cmd_words[@]} = 0 ]; then checked+=(--ngpu "$ngpu"); fi
  if [ ${#checked[@]} -gt 0 ]; then check sertoolkit check-recipe "${checked[@]}"; fi
  case $feats in
    ark) ;;
    on_the_fly)
      if [ "$tempo" != 1.0 ]; then
        fault "--tempo $tempo makes stored copies; with --feats on_the_fly the configuration says it (augment:)"
      fi
      ;;
    *) fault "--feats $feats: expected ark or on_the_fly" ;;
  esac
  if [ "$ngpu" -lt 0 ]; then fault "--ngpu $ngpu: expected 0 or more"; fi
  if [ "$num_nodes" -gt 1 ]; then
    if [ "$ngpu" -lt 1 ]; then fault "--num_nodes $num_nodes: expected --ngpu, the GPUs of each machine"; fi
    if [ -z "$rendezvous" ] || [ -z "$train_cmd" ]; then
      fault "--num_nodes $num_nodes: expected --rendezvous HOST:PORT and a --train_cmd that starts the command on each machine"
    fi
  elif [ -n "$rendezvous" ]; then
    fault "--rendezvous $rendezvous: expected --num_nodes, the number of machines, above 1"
  fi
}
before_stages() {
  if [ "$variant" = true ]; then log "a variant: other settings; scores and RESULTS.md go to $(from_here "$summary")"; fi
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
  for name in "${sets[@]}"; do
    run sertoolkit validate-data --data_dir "$datadir/$name" --needs text
  done
  if [ -n "$drop" ]; then run sertoolkit fix-data --data_dir "${sets[@]/#/$datadir/}" --drop "$drop"; fi
}
stage_features() {
  for name in "${stored[@]}"; do
    copies=()
    if [ "$name" = "$train_set" ] && [ "$tempo" != 1.0 ]; then copies=(--tempo "$tempo"); fi
    run sertoolkit extract --data_dir "$datadir/$name" --frontend "$frontend" --out "$dump/$name" --nj "$nj" \
      "${copies[@]}" "${extract_words[@]}"
  done
}
stage_tokens() {
  size=()
  if [ "$token_type" != char ]; then size=(--size "$nbpe"); fi
  run sertoolkit tokens --text "$datadir/$train_set/text" --kind "$token_type" "${size[@]}" --out "$asr_exp/tokens"
}
stage_train() {
  local trained_on=(--train_feats "$dump/$train_set") launch=(sertoolkit) workers=$nj on_gpu=0
  if [ "$ngpu" -gt 0 ]; then on_gpu=1; fi
  if [ $((ngpu * num_nodes)) -gt 1 ]; then
    workers=$(((nj + ngpu - 1) / ngpu)) # of each process
    launch=(torchrun --nproc_per_node "$ngpu")
    if [ "$num_nodes" -gt 1 ]; then
      launch+=(--nnodes "$num_nodes" --rdzv_backend c10d --rdzv_endpoint "$rendezvous")
    else
      launch+=(--standalone)
    fi
    launch+=(-m sertoolkit)
  fi
  if [ "$feats" = on_the_fly ]; then trained_on=(--num_workers "$workers"); fi
  run "${train_cmd_words[@]}" "${launch[@]}" train-asr --config "$asr_config" "${overrides[@]}" \
    --train_data "$datadir/$train_set" "${trained_on[@]}" \
    --valid_data "$datadir/$valid_set" --valid_feats "$dump/$valid_set" \
    --tokens "$asr_exp/tokens" --out "$asr_exp" --nj "$workers" --ngpu "$on_gpu" "${train_words[@]}"
}
stage_decode() {
  for name in "${test_names[@]}"; do
    run sertoolkit decode --asr_exp "$asr_exp" --feats "$dump/$name" "${decode_words[@]}" --out "$summary/decode_$name"
  done
}
stage_score() {
  for name in "${test_names[@]}"; do
    run sertoolkit score-asr --ref "$datadir/$name/text" --hyp "$summary/decode_$name/text" --out "$summary/decode_$name"
  done
  run sertoolkit report-asr --asr_exp "$asr_exp" --decoded "${test_names[@]/#/$summary/decode_}" --out "$results" \
    --title "$RECIPE" --command "${SERTOOLKIT_COMMAND//"$corpus_dir"/CORPUS_DIR}"
}
stage_pack() { run sertoolkit pack --asr_exp "$asr_exp" --out "$asr_exp/asr.safetensors"; }
after_stages() {
  local bundle=$asr_exp/asr.safetensors
  if [ -e "$results" ]; then log "results: $(from_here "$results")"; fi
  if [ "$variant" = true ]; then log "a variant: other settings; the recipe's own RESULTS.md is as it was"; fi
  if [ -e "$bundle" ]; then
    log "recogniser: $(from_here "$bundle")"
    suggest "$datadir/${test_names[0]}" "" transcribe --asr_exp "$(from_here "$bundle")"
  fi
}
run_stages "$expdir"
