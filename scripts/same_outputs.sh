#!/usr/bin/env bash
# Run two revisions over the same small jobs and compare every file that they write.
#
#   scripts/same_outputs.sh [--keep DIR] [--skip JOB,JOB] [--fresh] BEFORE AFTER
#
# BEFORE   a git revision; its outputs are kept in $ADAPTINF_SAME_OUTPUTS (a folder below $TMPDIR if unset) and used
#          again by the next call; --fresh makes them anew
# AFTER    a git revision, or the path of a working tree with a slash or dot in it: `.` tests what is not committed yet
# --keep   leave AFTER's outputs in DIR
# --skip   leave out jobs that no other job needs: compare, demo, export, extend, inspect, select, text
#
# Exit code: 0 the same values everywhere, 1 something differs, 2 a job failed.
# What may differ is listed in scripts/same_outputs/comparison.py.
set -euo pipefail

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }

keep="" skip="" fresh=""
while [ $# -gt 2 ] || [[ "${1-}" == -* ]]; do
  case "$1" in
    --keep) keep=$(realpath -m "$2"); shift 2 ;;
    --skip) skip=$2; shift 2 ;;
    --fresh) fresh=yes; shift ;;
    *) usage ;;
  esac
done
[ $# -eq 2 ] || usage

here=$(cd "$(dirname "$0")" && pwd)
root=$(git -C "$here" rev-parse --show-toplevel)
main=$(cd "$root" && cd "$(git rev-parse --git-common-dir)/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$main/.venv/bin/python
[ -x "$python" ] || { echo "no .venv in $root; make one, or set PYTHON" >&2; exit 2; }

parts() { PYTHONPATH=$root "$python" -P -m scripts.same_outputs "$@"; }

scratch=$(mktemp -d)
trees=()
clean_up() {
  for tree in "${trees[@]}"; do git -C "$root" worktree remove --force "$tree"; done
  rm -rf "$scratch"
}
trap clean_up EXIT

# check_out NAME REVISION: leave the revision in $scratch/NAME.
check_out() {
  git -C "$root" worktree add --quiet --detach "$scratch/$1" "$2"
  trees+=("$scratch/$1")
}

before=$(git -C "$root" rev-parse --verify --quiet "$1^{commit}") || { echo "no revision $1" >&2; exit 2; }
cache=${ADAPTINF_SAME_OUTPUTS:-${TMPDIR:-/tmp}/adaptinf-same-outputs}
# The jobs and the model folder that they all use decide what the outputs are.
key=$(cat "$here"/same_outputs/{inputs,jobs}.py "$root"/adaptinf/demo/language_model.py <(git -C "$root" rev-parse "$before:adaptinf/demo/base") | sha256sum | head -c 12)
inputs=$cache/$key/inputs
of_before=$cache/$key/$before
mkdir -p "$cache/$key"

# Several calls may want BEFORE's outputs at once; the first one makes them.
exec 9>"$cache/$key/lock"
flock 9
[ -z "$fresh" ] || rm -rf "$of_before"
if [ ! -d "$inputs" ] || [ ! -d "$of_before" ]; then
  check_out before "$before"
  [ -d "$inputs" ] || parts inputs "$scratch/before/adaptinf/demo/base" "$inputs"
  [ -d "$of_before" ] || parts run "$inputs" "$scratch/before" "$of_before"
fi
exec 9>&-

if [[ "$2" == */* || "$2" == .* ]] && [ -d "$2/adaptinf" ]; then
  tree=$(cd "$2" && pwd)
else
  check_out after "$2"
  tree=$scratch/after
fi
of_after=${keep:-$scratch/outputs}
parts --skip "$skip" run "$inputs" "$tree" "$of_after"
parts --skip "$skip" compare "$of_before" "$of_after"
