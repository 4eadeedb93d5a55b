#!/usr/bin/env bash
# Methods compared on a real pre-trained model, on one GPU, in nine minutes a call at most: prints one table.
#
#   scripts/gpu_proof.sh TASKS [FOLDER] [OPTION ...]
#
# TASKS    folder with tasks (docs/real-text.md says where from)
# FOLDER   for data, runs and records (gpu-proof); the same call goes on where the last one was stopped
# OPTION   of `python -m benchmarks.real_text run`, such as --model, --package, --rows, --seeds
#
# Without a GPU the stream is tiny, which shows that everything runs and says nothing about methods.
set -uo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] && [[ "$1" != --* ]] || { echo "usage: scripts/gpu_proof.sh TASKS [FOLDER] [OPTION ...]" >&2; exit 2; }
tasks=$1; shift
out=gpu-proof
if [ $# -gt 0 ] && [[ "$1" != --* ]]; then out=$1; shift; fi
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"

size=full
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || size=tiny
# Every finished stage stays, so the next call goes on from there.
timeout -k 15 "${SECONDS_PER_CALL:-480}" "$python" -m benchmarks.real_text run "$size" --tasks "$tasks" --out "$out" --results "$out" "$@"
code=$?
[ "$code" -ne 124 ] && [ "$code" -ne 137 ] || { echo "stopped after ${SECONDS_PER_CALL:-480} s; the same call goes on"; code=0; }
[ "$code" -eq 0 ] || exit "$code"
[ -f "$out/real-text-$size.json" ] || { echo "no run has finished yet"; exit 0; }
"$python" -m benchmarks.real_text table "$size" --results "$out" | tee "$out/table.txt"
exit "${PIPESTATUS[0]}"
