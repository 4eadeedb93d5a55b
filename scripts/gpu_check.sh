#!/usr/bin/env bash
# What one GPU does, in nine minutes at most: one table, the tests that need a GPU, two processes on one device.
#
#   scripts/gpu_check.sh [FOLDER] [OPTION ...]
#
# FOLDER   for rows and table (gpu-check); a second call measures what the first had no time for
# OPTION   of `python -m benchmarks.gpu_check`, such as --shape, --samples, --minutes
#
# Without a GPU the shape is tiny, and the tests that need one are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."

out=gpu-check
if [ $# -gt 0 ] && [[ "$1" != --* ]]; then out=$1; shift; fi
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"

failed=0
timeout 400 "$python" -m benchmarks.gpu_check --out "$out" "$@" || failed=1
timeout 140 "$python" -m pytest -q -m gpu tests/test_gpu.py -p no:cacheprovider 2>&1 | tail -25 | tee "$out/pytest.txt"
code=${PIPESTATUS[0]}
# 5: no test was selected; without a GPU all are skipped, which is no failure.
[ "$code" -eq 0 ] || [ "$code" -eq 5 ] || failed=1
[ "$code" -ne 124 ] || echo "the tests did not end in 140 s" | tee -a "$out/pytest.txt"
exit "$failed"
