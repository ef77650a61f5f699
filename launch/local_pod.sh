#!/usr/bin/env bash
# A rehearsal of a pod: N processes on this machine's CPU, as N hosts.
#
#   launch/local_pod.sh 4
#   launch/local_pod.sh N [OPTIONS] -- --config=configs/cifar.py --workdir=...
#
#   --devices=K  simulated devices a process (default 2)
#   --grace=S    when one process fails the others are killed S seconds later,
#                unless they ended (default 30)
#   --port=P     of the coordinator (default: a free one)
#   --dry-run    print the N commands; or DRY_RUN=1
#
# Without a command: configs/digits.py:smoke in runs/local_pod. Lines begin with
# the number of their process. SIGTERM and SIGINT reach all of them. The exit
# code is 0 if all ended with 0, 42 if all saved and ended with 42, else that of
# the process that failed first. PYTHON names the interpreter.

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/dry_run.sh
. launch/dry_run.sh

case ${1:-} in
  '' | -h | --help)
    usage
    exit
    ;;
  *[!0-9]* | 0) die "how many processes? not $1" ;;
esac
count=$1 devices=2 grace=30 port=''
shift
while (($#)); do
  case $1 in
    --devices=*) devices=${1#*=} ;;
    --grace=*) grace=${1#*=} ;;
    --port=*) port=${1#*=} ;;
    --dry-run) export DRY_RUN=1 ;;
    --) shift && break ;;
    *) die "what is $1? flags of the main job come after --" ;;
  esac
  shift
done
(($#)) || set -- --config=configs/digits.py:smoke --workdir=runs/local_pod

# Below the ports that systems hand out by themselves; a taken one answers.
while [[ -z $port ]]; do
  port=$((20000 + RANDOM % 12000))
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then port=''; fi
done

force=--xla_force_host_platform_device_count=$devices
python=$(find_python)
command_of() { # Sets `command`, of one process.
  command=(env JAX_PLATFORMS=cpu "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }$force"
    "$python" -m gencnp_jax.main "${main[@]}" --coordinator="127.0.0.1:$port"
    --num_processes="$count" --process_id="$1")
}
main=("$@")

if dry; then
  for ((i = 0; i < count; i++)); do
    command_of "$i"
    run "${command[@]}"
  done
  exit
fi

prefix() { # To the end: Ctrl-C is for the processes.
  local line
  trap '' INT TERM
  while IFS= read -r line || [[ -n $line ]]; do
    printf '[%s] %s\n' "$1" "$line"
  done
}
# shellcheck disable=SC2329 # Traps call it.
forward() {
  local pid
  for pid in "${pids[@]}"; do kill -"$1" "$pid" 2>/dev/null || true; done
}
kill_all() { # With the helpers that they started.
  local pid
  for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
}

pids=() readers=() codes=()
pipes=$(mktemp -d)
trap 'rm -rf "$pipes"; [[ ${#pids[@]} == 0 ]] || kill_all' EXIT
for ((i = 0; i < count; i++)); do
  command_of "$i"
  mkfifo "$pipes/$i"
  prefix "$i" <"$pipes/$i" &
  readers[i]=$!
  # A job of its own (-m) has its own process group and hears SIGINT, which
  # other background commands ignore.
  set -m
  "${command[@]}" </dev/null >"$pipes/$i" 2>&1 &
  pids[i]=$!
  set +m
done
trap 'forward TERM' TERM
trap 'forward INT' INT

first=0 left=$count deadline=''
while ((left)); do
  sleep 0.1 || true
  for ((i = 0; i < count; i++)); do
    if [[ -n ${codes[i]:-} ]] || kill -0 "${pids[i]}" 2>/dev/null; then
      continue
    fi
    codes[i]=0
    { wait "${pids[i]}" || codes[i]=$?; } 2>/dev/null
    left=$((left - 1))
    ((codes[i])) || continue
    note "process $i ended with exit code ${codes[i]}"
    [[ $first != 0 && $first != 42 ]] || first=${codes[i]}
    [[ -n $deadline ]] || deadline=$((SECONDS + grace))
  done
  if ((left)) && [[ -n $deadline ]] && ((SECONDS >= deadline)); then
    note "$left still there $grace s later: killed"
    kill_all
    deadline=''
  fi
done
kill_all
for pid in "${readers[@]}"; do wait "$pid" || true; done
exit "$first"
