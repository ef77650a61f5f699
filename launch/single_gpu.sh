#!/usr/bin/env bash
# The main job on one machine with a GPU; goes on after exit code 42.
#
#   launch/single_gpu.sh --config=configs/cifar.py
#   launch/single_gpu.sh --dry-run --config=... what would run; or DRY_RUN=1
#
# Makes .venv with CUDA's JAX if it has none; PYTHON names another interpreter.
# All GPUs of the machine share the batch, in one process. SIGTERM to this
# script saves and ends it with exit code 42: the same command goes on.

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/dry_run.sh
. launch/dry_run.sh

if [[ ${1:-} == --dry-run ]]; then
  export DRY_RUN=1
  shift
fi
case ${1:-} in
  '' | -h | --help)
    usage
    exit
    ;;
esac

if [[ -z ${PYTHON:-} ]]; then
  PYTHON=.venv/bin/python
  if ! compgen -G '.venv/lib/python*/site-packages/jax_cuda*' >/dev/null; then
    run python3 -m venv .venv
    run .venv/bin/pip install -e '.[cuda12]'
  fi
fi
command=("$PYTHON" -m gencnp_jax.main "$@")
if dry; then
  run "${command[@]}"
  exit
fi

# A shell answers signals only while it waits for background commands, and those
# ignore SIGINT unless each is a job of its own (-m).
stop() {
  stopped=1 interrupted=1
  kill -"$1" "$child" 2>/dev/null || true
}
stopped='' child=''
trap 'stop TERM' TERM
trap 'stop INT' INT

while true; do
  set -m
  "${command[@]}" </dev/null &
  child=$!
  set +m
  interrupted=1
  while [[ -n $interrupted ]]; do
    interrupted='' code=0
    wait "$child" || code=$?
  done
  [[ $code == 42 && -z $stopped ]] || exit "$code"
  note 'saved; going on'
done
