#!/usr/bin/env bash
# Several processes on this machine, or on NNODES machines: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of test.py]
set -euo pipefail
CONFIG=${1:?usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of test.py]}
CHECKPOINT=${2:?usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of test.py]}
PROCESSES=${3:?usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of test.py]}

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$PROCESSES" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
