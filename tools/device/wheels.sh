#!/usr/bin/env bash
# Wheels for a GPU machine that has torch but no network: what mmkd needs besides, pinned as in requirements/lock.txt.
#   tools/device/wheels.sh [FOLDER]         fills FOLDER [.whl]; needs pip and a package index
# There: python3 -m pip install --no-index --no-deps --target SITE FOLDER/*.whl, and SITE on PYTHONPATH.
# PYTHON_VERSION [3.12] is that machine's; other pip flags (an index, say) by PIP_ARGS.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-.whl}
python=${PYTHON:-python3}
version=${PYTHON_VERSION:-3.12}
compiled='pycocotools shapely'
pure='onedl-mmengine onedl-mmdetection onedl-mmpretrain addict yapf platformdirs termcolor terminaltables mat4py
modelindex model-index ordered-set imaug'
rival=$(sed -n "s/^PACKAGE = '\(.*\)'/\1/p" "$root/tools/benchmark/speed/torchdistill_process.py")  # with its version
source_only='onedl-mmcv'  # built here, without its compiled ops: mmkd stands in for them

pinned() {  # NAME -> NAME==VERSION; of a package with a pin for each Python, the last
    for name in "$@"; do
        grep -i "^$name==" "$root/requirements/lock.txt" | tail -n 1 | sed 's/ *;.*//' | grep . ||
            { echo "error: requirements/lock.txt has no $name; run make lock." >&2; return 1; }
    done
}

mkdir -p "$folder"
rm -f "$folder"/*.whl
common="--disable-pip-version-check -q --no-deps"
pins=$(pinned $pure)
"$python" -m pip wheel $common ${PIP_ARGS:-} -w "$folder" $pins "${rival:?torchdistill_process.py names no PACKAGE}"
platforms=
for glibc in 17 24 26 27 28 31 34 35; do platforms="$platforms --platform manylinux_2_${glibc}_x86_64"; done
pins=$(pinned $compiled)
"$python" -m pip download $common ${PIP_ARGS:-} --only-binary=:all: --implementation cp --python-version "$version" \
    $platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d "$folder" $pins
pins=$(pinned $source_only)
MMCV_WITH_OPS=0 "$python" -m pip wheel $common ${PIP_ARGS:-} -w "$folder" $pins
for wheel in "$folder"/*.whl; do
    case $wheel in *-none-any.whl | *-cp3*-manylinux*.whl) ;; *) echo "error: $wheel fits no other machine" >&2; exit 1 ;; esac
done
du -shc "$folder"/*.whl | tail -n 1
