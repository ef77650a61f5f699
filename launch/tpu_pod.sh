#!/usr/bin/env bash
# The main job on a Cloud TPU slice, one process a host.
#
#   launch/tpu_pod.sh [--dry-run] VERB [FLAGS OF THE MAIN JOB]
#
#   WORKDIR=gs://my-bucket/cifar launch/tpu_pod.sh all --config=configs/cifar.py
#
#   up       asks for the slice and waits until it is ready; reuses one
#   install  copies the last commit to all hosts and installs it
#   run      starts the job on all hosts, follows it, and goes on after exit
#            code 42 and on a new slice after a preemption; a job that is on
#            already is followed
#   logs     follows the log of host 0
#   status   of the slice, and of the job on each host
#   fetch    copies WORKDIR into runs/
#   down     deletes the slice
#   all      up, install, run, fetch, down
#
#   NAME=gencnp  TYPE=v4-32  ZONE=us-central2-b  PROJECT=(gcloud's)
#   VERSION=     of the hosts' software (default: the one for TYPE)
#   WORKDIR=     or --workdir=; gs://bucket/path if the slice has several hosts
#   SPOT=1       0: not preemptible
#   QUEUED=1     0: without the queue, now or not at all
#   CREATE_FLAGS= more flags to create the slice with, as '--network=mine'
#   ATTEMPTS=20  starts of the job in all     POLL=30  seconds between looks
#
# The job outlives this script: a lost connection or Ctrl-C does not end it.
# --dry-run (or DRY_RUN=1) prints the commands, as if all went well. gcloud
# reaches several hosts only if its key is known: ssh-add
# ~/.ssh/google_compute_engine (made by the first gcloud compute ssh).

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/tpu_slice.sh
. launch/tpu_slice.sh

if [[ ${1:-} == --dry-run ]]; then
  export DRY_RUN=1
  shift
fi
verb=${1:-help}
(($# == 0)) || shift
flags=()
for flag in "$@"; do
  case $flag in
    --dry-run) export DRY_RUN=1 ;;
    --workdir=*) WORKDIR=${flag#*=} ;;
    *) flags+=("$flag") ;;
  esac
done

worker=(bash gencnp_jax/launch/tpu_worker.sh)

install() {
  local archive=${TMPDIR:-/tmp}/$NAME.tar.gz
  local unpack='mkdir -p gencnp_jax && tar -xzf gencnp_jax.tar.gz -C gencnp_jax'
  run git archive --format=tar.gz --output="$archive" HEAD &&
    vm scp "$archive" "$NAME:gencnp_jax.tar.gz" --worker=all &&
    on_hosts all "$unpack && ${worker[*]} install" &&
    new=''
}

attempt() {
  local start
  start=$(quote "${worker[@]}" start "${flags[@]}" --workdir="$WORKDIR")
  up || return 255
  [[ -z $new ]] || install || return
  on_hosts all "$start" && on_hosts all "${worker[*]} follow"
}

# gcloud's exit code is that of the first host that failed, or 255 where it got
# no connection.
job() {
  local i code now
  for ((i = 1; i <= ATTEMPTS; i++)); do
    code=0
    attempt || code=$?
    [[ $code != 0 ]] || return 0
    now=$(slice_state)
    note "attempt $i of $ATTEMPTS: exit code $code, slice $now"
    [[ $i/$now != 1/ABSENT ]] || return "$code" # It was refused.
    case $now/$code in
      READY/42) ;;
      ABSENT/* | READY/255 | NONE/*) sleep "$POLL" ;;
      READY/*) return "$code" ;;
    esac
  done
  return "$code"
}

fetch() {
  run mkdir -p runs || return
  case $WORKDIR in
    gs://*) run gcloud storage cp "$WORKDIR" runs/ --recursive ;;
    /*) vm scp "$NAME:$WORKDIR" runs/ --recurse --worker=0 ;;
    *) vm scp "$NAME:gencnp_jax/$WORKDIR" runs/ --recurse --worker=0 ;;
  esac
}

case $verb in
  up | install | logs | status | down) ;;
  run | all | fetch)
    [[ -n $WORKDIR ]] || die "$verb needs WORKDIR=gs://bucket/path"
    if [[ $WORKDIR != gs://* ]] && ((${TYPE##*-} > 8)); then
      die "$TYPE has several hosts, which share no disk:" \
        "WORKDIR=gs://bucket/path, not $WORKDIR"
    fi
    [[ $verb == fetch ]] || ((${#flags[@]})) ||
      die "$verb needs flags of the main job: --config=configs/cifar.py"
    ;;
  help | -h | --help)
    usage
    exit
    ;;
  *) die "no verb $verb; launch/tpu_pod.sh --help" ;;
esac
dry || command -v gcloud >/dev/null ||
  die 'no gcloud: https://cloud.google.com/sdk/docs/install'
goes_on='a job that was started goes on: run follows it, down ends it'
trap 'note "$goes_on"; exit 130' INT

case $verb in
  logs) on_hosts 0 "${worker[*]} follow 100" ;;
  status)
    [[ $QUEUED != 1 ]] || queue describe "$NAME" --format='value(state.state)'
    vm describe "$NAME" --format='value(state,health)'
    on_hosts all "${worker[*]} status"
    ;;
  run)
    slice=READY
    job
    ;;
  all)
    new=1 code=0
    job || code=$?
    if ! fetch && [[ $WORKDIR != gs://* ]]; then
      die "the results are on the slice still: fetch, then down"
    fi
    down || code=$((code ? code : 1))
    exit "$code"
    ;;
  *) "$verb" ;;
esac
