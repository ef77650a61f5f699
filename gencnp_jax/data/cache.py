"""One process prepares, and nobody reads what is half written.

A file is made under a lock, with a temporary name, and renamed when it is
complete; readers need no lock. The checksums are those of the .npz format:
a CRC-32 a member, which reading verifies. A damaged cache is made again.
"""

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import logging

from gencnp_jax import npz_files
from gencnp_jax.data.paths import expanded
from gencnp_jax.npz_files import Arrays


def data_dir(config_dir: str) -> Path:
  """The TFDS directory: data.dir, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
  folder = (
    config_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  )
  if '://' in folder:
    raise ValueError(
      f'data.dir is {folder!r}; it must be a local folder: copy or mount the '
      'bucket and name the local path'
    )
  return expanded(folder, 'data.dir')


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
  """Holds `folder` for this process; waits while another one holds it.

  The operating system drops the lock when its holder ends, however it ends.

  Args:
    folder: made when missing; the lock is its file `.lock`.

  Raises:
    ValueError: the folder cannot be written.
  """
  import fcntl  # Not on Windows, where everything else here works.

  with contextlib.ExitStack() as stack:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      handle = stack.enter_context(open(folder / '.lock', 'a+'))
    except OSError as error:
      raise ValueError(
        f'data.dir {folder} cannot be written ({error.strerror}); name a '
        'writable folder'
      ) from error
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      handle.seek(0)
      holder = handle.read() or 'another process'
      logging.warning('Waiting for %s to prepare data in %s', holder, folder)
      fcntl.flock(handle, fcntl.LOCK_EX)
    handle.truncate(0)
    handle.write(f'process {os.getpid()} on {socket.gethostname()}')
    handle.flush()
    yield


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
  """Gives a temporary path; renames it to `path` when the block succeeds."""
  handle, name = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
  os.close(handle)
  # mkstemp makes files private; a data directory is often shared.
  os.chmod(name, 0o644)
  try:
    yield Path(name)
    os.replace(name, path)
  except BaseException:
    os.unlink(name)
    raise


def cached(path: Path, make: Callable[[], Arrays]) -> Arrays:
  """The arrays in `path`, which the first caller makes.

  Args:
    path: an .npz file, there or not.
    make: called at most once, under the lock of the file's folder.

  Returns:
    The arrays by name.

  Raises:
    ValueError: the folder is missing and cannot be made.
  """
  with contextlib.suppress(FileNotFoundError, ValueError):
    return npz_files.read(path, remedy='')
  if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
    logging.warning('%s is read-only: nothing is cached there', path.parent)
    return make()
  with lock(path.parent):
    # Once more: another process may have made it while this one waited.
    try:
      return npz_files.read(path, remedy='it is made again')
    except FileNotFoundError:
      pass
    except ValueError as error:
      logging.warning('%s', error)
    arrays = make()
    with replacing(path) as temporary, open(temporary, 'wb') as handle:
      np.savez(handle, **arrays)
      handle.flush()
      os.fsync(handle.fileno())
    return arrays
