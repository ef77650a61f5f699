# Sourced by tpu_pod.sh: its settings, and the slice: its state, up and down.
# shellcheck shell=bash
# shellcheck source=launch/dry_run.sh
. launch/dry_run.sh
exec 3>&1
export DRY_RUN_FD=3 # Dry runs print there from within $(...) too.

NAME=${NAME:-gencnp} TYPE=${TYPE:-v4-32} ZONE=${ZONE:-us-central2-b}
PROJECT=${PROJECT:-} WORKDIR=${WORKDIR:-} SPOT=${SPOT:-1} QUEUED=${QUEUED:-1}
ATTEMPTS=${ATTEMPTS:-20} POLL=${POLL:-30} CREATE_FLAGS=${CREATE_FLAGS:-}
# https://cloud.google.com/tpu/docs/runtimes
case $TYPE in
  v6e-*) version=v2-alpha-tpuv6e ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v5litepod-*) version=v2-alpha-tpuv5-lite ;;
  *) version=tpu-ubuntu2204-base ;;
esac
VERSION=${VERSION:-$version}

where=(--zone="$ZONE")
[[ -z $PROJECT ]] || where+=(--project="$PROJECT")
vm() { run gcloud compute tpus tpu-vm "$@" "${where[@]}"; }
queue() { run gcloud compute tpus queued-resources "$@" "${where[@]}"; }

# on_hosts WHICH COMMAND. A connection that fell silent ends in two minutes.
on_hosts() {
  vm ssh "$NAME" --worker="$1" --ssh-flag=-oServerAliveInterval=30 \
    --ssh-flag=-oServerAliveCountMax=4 --command="$2"
}

# state ASSUMED COMMAND...: what the command says; ABSENT if there is no such
# thing; NONE without an answer; in a dry run what is assumed.
state() {
  local assumed=$1 answer
  shift
  if dry; then
    "$@"
    echo "$assumed"
  elif answer=$("$@" 2>&1); then
    printf '%s\n' "${answer##*$'\n'}"
  elif [[ $answer == *NOT_FOUND* ]]; then
    echo ABSENT
  else
    printf '%s\n' "$answer" >&2
    echo NONE
  fi
}
slice=ABSENT # In a dry run.
slice_state() { state "$slice" vm describe "$NAME" --format='value(state)'; }
queue_state() {
  [[ $QUEUED == 1 ]] || { echo ABSENT && return; }
  state ABSENT queue describe "$NAME" --format='value(state.state)'
}

new='' # Set while nothing is installed on the slice.
create() {
  local how=(--accelerator-type="$TYPE")
  [[ $SPOT != 1 ]] || how+=(--spot)
  # shellcheck disable=SC2206 # Several flags in one variable.
  how+=($CREATE_FLAGS)
  if [[ $QUEUED == 1 ]]; then
    queue create "$NAME" --node-id="$NAME" --runtime-version="$VERSION" \
      "${how[@]}" || return
  else
    vm create "$NAME" --version="$VERSION" "${how[@]}" || return
  fi
  slice=READY
}

down() {
  if [[ $QUEUED == 1 ]]; then
    queue delete "$NAME" --force --quiet
  else
    vm delete "$NAME" --quiet
  fi
}

up() {
  local now queued
  now=$(slice_state)
  [[ $now != READY ]] || return 0
  queued=$(queue_state)
  [[ $now != NONE && $queued != NONE ]] || return 1
  # shellcheck disable=SC2034 # tpu_pod.sh reads it.
  new=1
  case $now/$queued in
    ABSENT/ABSENT) create || return ;;
    PREEMPTED/* | TERMINATED/* | */SUSPEND* | */FAILED)
      note "the slice is gone ($now, request $queued): a new one"
      down && create || return
      ;;
  esac
  while now=$(slice_state) && [[ $now != READY ]]; do
    queued=$(queue_state)
    note "waiting for the slice: $now, request $queued"
    case $now/$queued in
      STOP* | */SUSPEND* | */FAILED | ABSENT/ABSENT) return 1 ;;
    esac
    sleep "$POLL"
  done
}
