#!/usr/bin/env bash
# The half of tpu_pod.sh that runs on each host of a slice (Linux).
#
#   tpu_worker.sh install     a virtual environment with the package in it
#   tpu_worker.sh start ...   the main job, detached; no-op while one runs
#   tpu_worker.sh follow [N]  its log (the last N lines and on) until it ends;
#                             exits with its exit code
#   tpu_worker.sh status      whether it runs, or its exit code

set -euo pipefail
cd "$(dirname "$0")/.."
worker=$(hostname)
worker=${worker##*-} # t1v-n-...-w-3 is worker 3.

running() { [[ -f run.pid ]] && kill -0 "$(cat run.pid)" 2>/dev/null; }

install() {
  # The images of the slices have Python 3.10; uv brings one that JAX takes.
  PATH=$HOME/.local/bin:$PATH
  command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
  [[ -x .venv/bin/python ]] || uv venv --python 3.12 .venv
  uv pip install --quiet --python .venv/bin/python -e '.[tpu,gcs]'
}

start() {
  if running; then
    echo "[$worker] a job is on already: left alone"
    return
  fi
  rm -f run.exit
  # This shell outlives SIGTERM, to write the exit code down.
  # shellcheck disable=SC2016
  local shell='trap : TERM; "$@" || code=$?; echo "${code:-0}" >run.exit'
  nohup setsid bash -c "$shell" \
    run "${PYTHON:-.venv/bin/python}" -m gencnp_jax.main "$@" \
    </dev/null >run.log 2>&1 &
  echo $! >run.pid
}

follow() {
  if [[ ! -f run.pid ]]; then
    echo "[$worker] nothing was started here" >&2
    return 1
  fi
  tail -n "${1:-+1}" -F --pid="$(cat run.pid)" run.log |
    sed -u "s/^/[$worker] /"
  if [[ ! -f run.exit ]]; then
    echo "[$worker] the job is gone without an exit code: a restart?" >&2
    return 255
  fi
  return "$(cat run.exit)"
}

status() {
  if running; then
    echo "[$worker] running"
  elif [[ -f run.exit ]]; then
    echo "[$worker] exit code $(cat run.exit)"
  else
    echo "[$worker] no job"
  fi
}

case ${1:-} in
  install | start | follow | status) "$@" ;;
  *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
esac
