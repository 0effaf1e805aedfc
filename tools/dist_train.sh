#!/usr/bin/env bash
# Several processes on this machine, or on NNODES machines: tools/dist_train.sh CONFIG PROCESSES [flags of train.py]
set -euo pipefail
CONFIG=${1:?usage: tools/dist_train.sh CONFIG PROCESSES [flags of train.py]}
PROCESSES=${2:?usage: tools/dist_train.sh CONFIG PROCESSES [flags of train.py]}

# What torchrun hands on to the processes: with SIGUSR1, at which a run saves and leaves.
export TORCHELASTIC_SIGNALS_TO_HANDLE=${TORCHELASTIC_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$PROCESSES" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
