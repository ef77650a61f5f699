# Sourced by the scripts beside it: `run` executes a command, or prints it.
# shellcheck shell=bash

dry() { [[ ${DRY_RUN:-0} != 0 ]]; }

note() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

die() {
  note "$@"
  exit 2
}

# The comment at the top of the script, without #SBATCH lines.
usage() { sed -n -e 1d -e '/^#SBATCH/d' -e '/^$/q' -e 's/^# \{0,1\}//p' "$0"; }

# A command as one line that can be pasted into a shell.
quote() {
  local word single="'" escaped="'\\''" line=''
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//$single/$escaped}'" ;;
    esac
    line="$line $word"
  done
  printf '%s\n' "${line# }"
}

run() { if dry; then quote "$@" >&"${DRY_RUN_FD:-1}"; else "$@"; fi; }

# The interpreter: $PYTHON, or the repository's virtual environment.
find_python() {
  local venv=.venv/bin/python
  if [[ -n ${PYTHON:-} ]]; then
    printf '%s\n' "$PYTHON"
  elif [[ -x $venv ]]; then
    printf '%s\n' "$venv"
  else
    printf 'python3\n'
  fi
}
