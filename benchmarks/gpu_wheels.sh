#!/usr/bin/env bash
# The packages that benchmarks/on_gpu.py needs beside torch, triton, numpy, scipy, pandas, pyarrow, safetensors and timm,
# for a machine that has just those and reaches no package index: unpacked into .gpu-wheels/site, which git ignores and
# on_gpu.py finds. Versions are those of requirements.lock; all are pure Python, so that one folder serves every Python.
# pyautoattack comes without its 45 MB of example weights. 4 MB in all.
#
#   benchmarks/gpu_wheels.sh [PYTHON]        # PYTHON: one that has pip; default .venv/bin/python, else python3
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
[ -n "${1:-}" ] || [ -x "$python" ] || python=python3
packages=(open_clip_torch pyautoattack torchattacks)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for package in "${packages[@]}"; do
  grep -m1 -E "^$package==" requirements.lock
done | sed 's/ *;.*//' > "$folder/wanted.txt"
"$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder/wheels" --requirement "$folder/wanted.txt"

rm -rf .gpu-wheels
mkdir -p .gpu-wheels/site
for wheel in "$folder"/wheels/*-none-any.whl; do
  "$python" -m zipfile -e "$wheel" .gpu-wheels/site
  printf '%6d kB  %s\n' "$(($(stat -c %s "$wheel") / 1024))" "$(basename "$wheel")"
done
rm -rf .gpu-wheels/site/pyautoattack/examples
printf '%6d kB  .gpu-wheels\n' "$(du -sk .gpu-wheels | cut -f1)"
