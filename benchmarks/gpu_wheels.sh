#!/usr/bin/env bash
# Unpacks the packages that benchmarks/on_gpu.py needs beside torch, triton, numpy, scipy, pandas, pyarrow, safetensors
# and timm into .gpu-wheels/, for a machine with only those and without a package index. git ignores the folder, and
# on_gpu.py finds it. Versions are those of requirements.lock. All are pure Python, so one folder serves every Python;
# pyautoattack comes without its 45 MB of example weights.
#
#   benchmarks/gpu_wheels.sh [PYTHON]        # PYTHON: one that has pip; default .venv/bin/python, else python3
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
[ -n "${1:-}" ] || [ -x "$python" ] || python=python3
declare -A modules=([open_clip_torch]=open_clip [pyautoattack]=pyautoattack [torchattacks]=torchattacks)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
rm -rf .gpu-wheels
for package in "${!modules[@]}"; do
  wanted=$(grep -m1 -E "^$package==" requirements.lock | sed 's/ *;.*//')
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" "$wanted"
  wheel=$(ls "$folder/$package"-*-none-any.whl)
  mkdir -p ".gpu-wheels/${modules[$package]}"
  "$python" -m zipfile -e "$wheel" ".gpu-wheels/${modules[$package]}"
  printf '%6d kB  %s\n' "$(($(stat -c %s "$wheel") / 1024))" "$(basename "$wheel")"
done
rm -rf .gpu-wheels/pyautoattack/pyautoattack/examples
printf '%6d kB  .gpu-wheels\n' "$(du -sk .gpu-wheels | cut -f1)"
