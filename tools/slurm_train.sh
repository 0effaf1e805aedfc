#!/usr/bin/env bash
# One job on a SLURM cluster: tools/slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]
# GPUS is the whole number of processes; GPUS_PER_NODE=0 asks for none (CPU nodes: set TASKS_PER_NODE).
# --requeue submits a batch job that goes on after a time limit or a preemption, as often as it takes.
set -euo pipefail
USAGE='usage: tools/slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]'
REQUEUE=
if [[ ${1:-} == --requeue ]]; then
    REQUEUE=1
    shift
fi
PARTITION=${1:?$USAGE}
JOB_NAME=${2:?$USAGE}
CONFIG=${3:?$USAGE}
WORK_DIR=${4:?$USAGE}
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
TASKS_PER_NODE=${TASKS_PER_NODE:-$((GPUS_PER_NODE > 0 ? GPUS_PER_NODE : GPUS))}
RESOURCES=(
    --partition="$PARTITION" --job-name="$JOB_NAME"
    $( ((GPUS_PER_NODE == 0)) || echo "--gres=gpu:$GPUS_PER_NODE" )
    --ntasks="$GPUS" --ntasks-per-node="$TASKS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}"
)

if [[ $REQUEUE ]]; then
    # The batch job runs this script again. 138 is what train.py says after SIGUSR1: saved, and not yet done.
    mkdir -p "$WORK_DIR"
    COMMAND=$(printf '%q ' "$(realpath "$0")" "$@")
    # shellcheck disable=SC2086
    exec sbatch "${RESOURCES[@]}" --requeue --signal="USR1@${GRACE:-120}" \
        --open-mode=append --output="$WORK_DIR/slurm-%j.log" ${SRUN_ARGS:-} <<BATCH
#!/usr/bin/env bash
$COMMAND
code=\$?
((code == 138)) && scontrol requeue "\$SLURM_JOB_ID"
exit \$code
BATCH
fi

# SRUN_ARGS is split into words on purpose: it holds further options of srun.
# shellcheck disable=SC2086
exec srun "${RESOURCES[@]}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "${@:5}"
