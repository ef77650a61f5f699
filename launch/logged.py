"""Commands that the scripts of this folder start, what they say in a file."""

import json
import pathlib
import subprocess
import sys
from typing import Any


def run(
  command: list[str], log: pathlib.Path, cwd: pathlib.Path | None = None
) -> None:
  """Runs a command.

  Args:
    command: with its arguments.
    log: file that takes what it says.
    cwd: where it runs; None for here.

  Raises:
    SystemExit: it failed.
  """
  print(' '.join(command), flush=True)
  with log.open('w') as file:
    code = subprocess.run(
      command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, check=False
    ).returncode
  if code:
    raise SystemExit(f'exit code {code}; see the end of {log}.')


def evaluated(
  config: str, workdir: pathlib.Path, flags: list[str]
) -> list[dict[str, Any]]:
  """Runs the main job up to the stage evaluate; stages that are done are skipped.

  Args:
    config: its `--config`.
    workdir: what the job says is in a file beside it, of its name and `.log`.
    flags: its other flags.

  Returns:
    The rows of the evaluation, one a method.

  Raises:
    SystemExit: it failed.
  """
  command = [
    *(sys.executable, '-m', 'gencnp_jax.main'),
    *(f'--config={config}', f'--workdir={workdir}'),
    '--config.stages=target,gencnp,evaluate',
    *flags,
  ]
  run(command, pathlib.Path(f'{workdir}.log'))
  return rows_of(workdir)


def rows_of(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of a workdir's evaluation."""
  return json.loads((workdir / 'evaluate' / 'results.json').read_text())['rows']
