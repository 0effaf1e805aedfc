#!/usr/bin/env bash
# What a GPU does that is at hand for a few minutes: tools/device_run.sh [--help] [--minutes N] [--dry-run] [STEP ...]
# Where mmengine is missing and a folder of wheels is there (tools/device/wheels.sh), it is installed from them first.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
wheels=${WHEELS:-$root/.whl}
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}  # several processes share the cores
if [ -z "${MMKD_COMMIT:-}" ] && [ -f "$root/.dev/commit" ]; then
    MMKD_COMMIT=$(cat "$root/.dev/commit")
    export MMKD_COMMIT
fi

if ! "$python" -c 'import mmengine' 2>/dev/null; then
    ls "$wheels"/*.whl >/dev/null 2>&1 || {
        echo "error: mmengine is not installed, and $wheels holds no wheels; make them with tools/device/wheels.sh." >&2
        exit 1
    }
    site=${SITE:-/tmp/mmkd-site}
    "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$site" "$wheels"/*.whl
    # mmpretrain cannot be imported beside transformers 5, which nothing here needs: it is not to be found.
    mkdir -p "$site/transformers-0.0.dist-info"
    printf 'Metadata-Version: 2.1\nName: transformers\nVersion: 0.0\n' >"$site/transformers-0.0.dist-info/METADATA"
    echo "raise ImportError('hidden by tools/device_run.sh')" >"$site/transformers.py"
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
exec "$python" "$root/tools/device/run.py" "$@"
