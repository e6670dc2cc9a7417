# shellcheck shell=bash
# How the training is started: directly, or by your cluster, e.g. train_cmd="srun --cpus-per-task 8 --mem 16G".
export train_cmd=""
