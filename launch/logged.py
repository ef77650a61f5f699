"""Commands that the scripts of this folder start, what they say in a file."""

import pathlib
import subprocess


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
