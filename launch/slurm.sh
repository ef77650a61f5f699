#!/usr/bin/env bash
#SBATCH --job-name=gencnp
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.out
#
# The main job under SLURM, one process a GPU. In the root of the repository,
# which all nodes share, as they share the workdir:
#
#   sbatch launch/slurm.sh --config=configs/cifar.py --workdir=runs/cifar
#   sbatch --nodes=2 --gres=gpu:8 --ntasks-per-node=8 launch/slurm.sh ...
#   launch/slurm.sh --dry-run --config=... what would run; or DRY_RUN=1
#
# Two minutes before its time is up the job saves, ends with exit code 42 and is
# queued again under the same number, MAX_RESTARTS times (default 100); so does
# `scancel --signal=TERM JOB`. `scancel JOB` ends it: what it saves within
# KillWait (30 s by default) is there for the next sbatch. Any other exit code
# ends it too. PYTHON names the interpreter (default .venv/bin/python).
#
# JAX gives the task number SLURM_LOCALID of a node the GPU of that number, so
# every task must see all GPUs of its node: ask for them by --gres or
# --gpus-per-node, not by --gpus-per-task, which hides the others.

set -euo pipefail

# sbatch runs a copy of this file, in the folder where it was called.
[[ -n ${SLURM_JOB_ID:-} ]] || cd "$(dirname "$0")/.."
if [[ ! -f launch/dry_run.sh ]]; then
  echo 'slurm: call sbatch in the root of the repository.' >&2
  exit 2
fi
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
dry || [[ -n ${SLURM_JOB_ID:-} ]] || die "queue it: sbatch launch/slurm.sh $*"

# Since SLURM 22.05 srun does not ask for the job's CPUs a task by itself.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

# --signal (without B:) reaches the tasks alone, not this shell. scancel and
# preemption signal this shell as well: then SLURM decides what comes next.
ended=
trap 'ended=1' TERM

# Were the tasks of a failed one ended by --kill-on-bad-exit, by SIGTERM, then
# they would exit with 42, the highest code, and the failure be repeated for
# ever. --wait ends by SIGKILL what has not noticed that a task is gone.
code=0
run srun --kill-on-bad-exit=0 --wait=600 \
  "$(find_python)" -m gencnp_jax.main "$@" || code=$?

requeue=(scontrol requeue "${SLURM_JOB_ID:-JOB}")
if dry; then
  echo '# After exit code 42:'
  run "${requeue[@]}"
elif [[ $code == 42 && -z $ended ]]; then
  restarts=${SLURM_RESTART_COUNT:-0}
  if ((restarts < ${MAX_RESTARTS:-100})); then
    note 'saved; queued again'
    run "${requeue[@]}"
  else
    note "saved, but not queued again after $restarts restarts"
  fi
fi
exit "$code"
