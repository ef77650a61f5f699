"""The two losses against their formulas, and what must not get a gradient."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gencnp_jax.runtime import devices
from gencnp_jax.training import distillation
from tests.reference import losses
from tests.training import tiny

_DATA = tiny.splits().train
# What the target says of the rows. Two a device: partners of another class are
# 0, 2, 1 and 1 on the devices, one of them across the border.
_CLASSES = (0, 0, 0, 1, 0, 1, 1, 0)


@functools.cache
def _target():
  """Returns one target: to `jit`, another of equal weights is another."""
  return tiny.target()


def _choose():
  """Returns training examples of which the target says `_CLASSES`."""
  said = np.argmax(_target()(_DATA.images), -1)
  left = {c: list(np.flatnonzero(said == c)) for c in set(_CLASSES)}
  rows = [left[c].pop(0) for c in _CLASSES]
  return _DATA.images[rows], _DATA.labels[rows]


_IMAGES, _LABELS = _choose()


@functools.cache
def _variables(kind):
  if kind == 'target':
    task, frozen = tiny.classification(), None
  else:
    task, frozen = tiny.distillation(), (_target(), None)
  init = jax.jit(task.init)
  return init(jax.random.key(0), frozen, jnp.asarray(_IMAGES[:1]))


def _on_all_devices(task, frozen, variables):
  """Returns (loss, new statistics, sums) of the batch over four devices."""

  def fn(variables, frozen, images, labels):
    loss, (stats, sums) = task.loss(
      variables['params'], variables['batch_stats'], frozen, (images, labels)
    )
    loss = jax.lax.pmean(loss, devices.AXIS)
    return loss, stats, jax.lax.psum(sums, devices.AXIS)

  run = devices.data_parallel(fn, (None, None, 0, 0), (None, None, None))
  return run(
    *devices.replicate((variables, frozen)),
    devices.split_rows(_IMAGES),
    devices.split_rows(_LABELS),
  )


def _assert_means(sums, expected, counts=()):
  assert sums.keys() == expected.keys()
  cut = sum(count > 0 for count in counts)
  of_all = ('loss', 'accuracy', 'swap_leakage')
  for key, (value, count) in sums.items():
    rows = len(_IMAGES) - (0 if key in of_all else cut)
    assert float(count) == (cut if key == 'agreement_of_cuts' else rows), key
    np.testing.assert_allclose(
      float(value) / float(count),
      expected[key],
      rtol=2e-5,
      atol=1e-30,
      err_msg=key,
    )


def test_classification_is_cross_entropy_with_the_labels():
  variables = _variables('target')
  loss, stats, sums = _on_all_devices(tiny.classification(), None, variables)
  # One device sees the whole batch, so the statistics are the same.
  logits, new = tiny.Net().apply(
    variables,
    tiny.PREPROCESS(_IMAGES),
    train=True,
    mutable=['batch_stats'],
  )
  rows, correct = losses.classification(logits, _LABELS)
  _assert_means(sums, {'loss': rows.mean(), 'accuracy': correct.mean()})
  np.testing.assert_allclose(float(loss), rows.mean(), rtol=2e-5)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    devices.to_host(stats),
    new['batch_stats'],
  )


def test_classification_rows_use_the_running_statistics():
  variables = _variables('target')
  rows = tiny.classification().rows((variables, None), _IMAGES, _LABELS)
  logits = tiny.Net().apply(variables, tiny.PREPROCESS(_IMAGES))
  loss, correct = losses.classification(logits, _LABELS)
  np.testing.assert_allclose(rows['loss'], loss, rtol=1e-5)
  np.testing.assert_array_equal(rows['accuracy'], correct)


@pytest.mark.parametrize('reduction', distillation.REDUCTIONS)
def test_penalty(reduction):
  rng = np.random.default_rng(0)
  # Layers of other sizes and rates, a flat one, and values between 0 and 1.
  masks = (
    (rng.random((3, 4, 4, 2)) < 0.7).astype(np.float32),
    (rng.random((3, 2, 2, 5)) < 0.2).astype(np.float32),
    rng.random((3, 6)).astype(np.float32),
  )
  task = tiny.distillation(penalty_reduction=reduction)
  expected = [
    losses.penalty(tuple(m[i] for m in masks), reduction) for i in range(3)
  ]
  np.testing.assert_allclose(task.penalty(masks), expected, rtol=1e-5)


@functools.partial(jax.jit, static_argnames='model')
def _found(model, variables, target, off, images, kept):
  """Returns the three kinds of logits of a batch, and the masks."""
  logits, activations = target.record(images)
  generated, _ = model.apply(
    variables, activations, train=True, kept=kept, mutable=['batch_stats']
  )
  others = jnp.concatenate([images[1:], images[:1]])
  return (
    logits,
    target.masked(images, generated.masks, off),
    target.masked(others, generated.masks, off),
    generated.masks,
  )


def _reference(task, target, off, counts=None):
  """The formula on what one device computes for the whole batch."""
  model, kept = task.model.clone(axis_name=None), counts and jnp.array(counts)
  found = _found(model, _variables('gencnp'), target, off, _IMAGES, kept)
  *logits, masks = jax.tree.map(np.asarray, found)
  return losses.distillation(*logits, masks, task, counts)


def test_distillation_with_the_swap_term_over_four_devices():
  """The partner of a row is the next of the GLOBAL batch; equal classes are 0.

  The mean is over all pairs, though a device has none to two of them.
  """
  target = _target()
  np.testing.assert_array_equal(np.argmax(target(_IMAGES), -1), _CLASSES)
  task = tiny.distillation(alpha=0.7, beta=0.2, gamma=1.5)
  found, _, sums = _on_all_devices(task, (target, None), _variables('gencnp'))
  loss, means = _reference(task, target, None)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)


@pytest.mark.parametrize('swap', distillation.SWAPS)
def test_cuts_of_a_share_of_the_images_over_four_devices(swap):
  """Which rows are cut, and where, depends on the row of the GLOBAL batch."""
  target = _target()
  sparsities = (0.3, 0.9)
  task = tiny.distillation(
    alpha=0.7, beta=0.2, gamma=1.5, cut=0.5, cut_range=sparsities, swap=swap
  )
  shapes = target.activation_shapes((8, 8, 3))
  neurons = sum(math.prod(shape) for shape in shapes)
  counts = losses.kept(len(_IMAGES), neurons, 0.5, sparsities)
  chosen = [count for count in counts if count]
  assert len(chosen) == 4
  assert 0.1 * neurons <= min(chosen) < max(chosen) <= 0.7 * neurons
  found, _, sums = _on_all_devices(task, (target, None), _variables('gencnp'))
  loss, means = _reference(task, target, None, counts)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means, counts)


@pytest.mark.parametrize(
  'charged, gamma, cut',
  [('kept', 0, 0), ('kept', 1.5, 0.5), ('surer', 0, 0.5), ('surer', 1.5, 0)],
)
def test_a_pathway_that_fails_pays_no_price(charged, gamma, cut):
  target = _target()
  fields = {'gamma': gamma, 'cut': cut, 'cut_range': (0.3, 0.9)}
  task = tiny.distillation(beta=3.0, charged=charged, **fields)
  neurons = sum(math.prod(s) for s in target.activation_shapes((8, 8, 3)))
  counts = losses.kept(len(_IMAGES), neurons, cut, (0.3, 0.9)) if cut else None
  found, _, sums = _on_all_devices(task, (target, None), _variables('gencnp'))
  loss, means = _reference(task, target, None, counts)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means, counts or ())
  everyone, _ = _reference(
    dataclasses.replace(task, charged='all'), target, None, counts
  )
  nobody, _ = _reference(
    dataclasses.replace(task, beta=0.0), target, None, counts
  )
  # Cut, four rows are left that might all pay.
  assert nobody < loss < everyone or cut


@pytest.mark.parametrize('charged', ['all', 'kept'])
def test_a_pathway_that_is_sparser_than_the_goal_is_paid(charged):
  target = _target()
  task = tiny.distillation(beta=3.0, gamma=1.5, charged=charged)
  priced, means = _reference(task, target, None)
  task = dataclasses.replace(task, sparsity_goal=means['firing_sparsity'])
  found, _, sums = _on_all_devices(task, (target, None), _variables('gencnp'))
  loss, means = _reference(task, target, None)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)
  assert loss < priced


def test_no_pair_of_different_classes_is_no_error():
  target = tiny.target()
  bias = target.variables['params']['Dense_0']['bias']
  target.variables['params']['Dense_0']['bias'] = bias + jnp.array([99.0, 0, 0])
  task = tiny.distillation(alpha=0.7, beta=0.2, gamma=1.5)
  found, _, sums = _on_all_devices(task, (target, None), _variables('gencnp'))
  loss, means = _reference(task, target, None)
  assert means['swap_leakage'] == 0
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)


@functools.cache
def _differentiated(task):
  """Returns a function to the loss and its gradients, compiled once a task."""

  @jax.jit
  def run(variables, frozen, batch):
    def loss(params, frozen):
      value, (_, sums) = task.loss(
        params, variables['batch_stats'], frozen, batch
      )
      return value, sums

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
      variables['params'], frozen
    )

  return run


def _gradients(task, off, variables=None):
  """Returns loss, sums, and gradients of GEN-CNP, the target and `off`."""
  frozen = (_target(), off)
  variables = variables or _variables('gencnp')
  return _differentiated(task)(variables, frozen, (_IMAGES, _LABELS))


def test_mean_ablation_and_the_papers_sum_and_a_frozen_target():
  """Nothing flows to the target, nor to what stands in for off neurons."""
  shapes = _target().activation_shapes((8, 8, 3))
  rng = np.random.default_rng(0)
  off = tuple(rng.random((1, *s)).astype(np.float32) for s in shapes)
  task = tiny.distillation(
    axis_name=None, alpha=0.5, beta=0.01, penalty_reduction='sum'
  )
  (found, sums), (own, frozen) = _gradients(task, off)
  loss, means = _reference(task, _target(), off)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)
  assert all(not np.any(g) for g in jax.tree.leaves(frozen))
  # And to every part of GEN-CNP.
  assert all(np.any(g) for g in jax.tree.leaves(own))


def test_a_low_temperature_asks_for_the_class_alone():
  task = tiny.distillation(axis_name=None, distil_temperature=0.3)
  (found, sums), _ = _gradients(task, None)
  loss, means = _reference(task, _target(), None)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)
  logits, pathway_logits = np.random.default_rng(0).normal(size=(2, 6, 4))
  cold = tiny.distillation(distil_temperature=1e-3)
  hard = optax.losses.softmax_cross_entropy_with_integer_labels(
    pathway_logits, logits.argmax(-1)
  )
  np.testing.assert_allclose(
    cold.distance(pathway_logits, logits), hard, rtol=1e-5
  )


def test_better_odds_than_the_target():
  task = tiny.distillation(axis_name=None, answer='odds', beta=0.1)
  (found, sums), (own, _) = _gradients(task, None)
  loss, means = _reference(task, _target(), None)
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)
  assert all(np.any(g) for g in jax.tree.leaves(own))


def test_odds_of_a_sure_answer_are_finite_and_still_pull():
  task = tiny.distillation(answer='odds')
  sure = jnp.array([[200.0, 0.0, -50.0]])
  for logits in sure, sure - 100, sure[:, ::-1]:
    distance = functools.partial(task.distance, logits=logits)
    (value,), back = jax.vjp(distance, logits)
    (slope,) = back(jnp.ones(1))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope.min(), -0.5, rtol=1e-6)
    np.testing.assert_allclose(slope.sum(), 0.0, atol=1e-6)


@pytest.mark.parametrize(
  'progress, share', [(0.0, 0.0), (0.1, 0.4), (0.25, 1.0), (0.9, 1.0)]
)
def test_beta_rises_from_zero(progress, share):
  variables, frozen = _variables('gencnp'), (_target(), None)

  def loss(task, *more):
    value, _ = task.loss(
      variables['params'],
      variables['batch_stats'],
      frozen,
      (_IMAGES, _LABELS),
      *more,
    )
    return float(value)

  task = tiny.distillation(axis_name=None, beta=0.8, beta_warmup=0.25)
  now = tiny.distillation(axis_name=None, beta=0.8 * share)
  np.testing.assert_allclose(loss(task, progress), loss(now), rtol=1e-5)


def test_distillation_rows_are_those_of_evaluation():
  """Running statistics, each image by itself, no loss that depends on others."""
  target = _target()
  task = tiny.distillation()
  variables = _variables('gencnp')

  @jax.jit
  def run(variables, target):
    logits, activations = target.record(_IMAGES)
    masks = task.model.apply(variables, activations).masks
    rows = task.rows((variables, (target, None)), _IMAGES, _LABELS)
    return rows, logits, target.masked(_IMAGES, masks), masks

  found = run(variables, target)
  rows, logits, pathway_logits, masks = jax.tree.map(np.asarray, found)
  _, means = losses.distillation(logits, pathway_logits, logits, masks, task)
  assert {k: v.shape for k, v in rows.items()} == dict.fromkeys(
    ('loss', 'distillation', 'agreement', 'firing_sparsity', 'empty_layer'),
    (8,),
  )
  weighed = task.alpha * means['distillation'] + task.beta * means['penalty']
  np.testing.assert_allclose(rows['loss'].mean(), weighed, rtol=1e-4)
  for key in ('distillation', 'agreement', 'firing_sparsity'):
    np.testing.assert_allclose(rows[key].mean(), means[key], rtol=1e-4)
  empty = [any(not m[i].any() for m in masks) for i in range(8)]
  np.testing.assert_array_equal(rows['empty_layer'], empty)


def _sigmoid(**weights):
  """A task of soft masks, for the variables of the hard ones."""
  task = tiny.distillation(axis_name=None, **weights)
  model = task.model.clone(quantiser='sigmoid')
  return dataclasses.replace(task, model=model)


def test_the_losses_of_soft_masks_are_of_the_masks_as_they_are():
  """The reported sparsity is that of the masks cut at one half."""
  task = _sigmoid(alpha=0.7, beta=0.2)
  (found, sums), (own, frozen) = jax.device_get(_gradients(task, None))
  loss, means = _reference(task, _target(), None)
  assert 0.1 < means['firing_sparsity'] < 0.9
  np.testing.assert_allclose(float(found), loss, rtol=2e-5)
  _assert_means(sums, means)
  assert all(not np.any(g) for g in jax.tree.leaves(frozen))
  assert all(np.any(g) for g in jax.tree.leaves(own))
  # The masks have no step in them: a small one downhill lowers the loss.
  variables = _variables('gencnp')
  params = jax.device_get(variables['params'])
  params = jax.tree.map(lambda p, g: p - np.float32(1e-3) * g, params, own)
  (lower, _), _ = _gradients(task, None, variables | {'params': params})
  assert lower < found


def test_rows_of_soft_masks_count_the_hard_pathways():
  task = _sigmoid()
  variables = _variables('gencnp')
  # All of the last layer is off where it is cut, and almost half on where not.
  params = jax.device_get(variables['params'])
  bias = params['rpd_1']['bias'] * 0 - 0.1
  decoder = params['rpd_1'] | {'scale': bias * 0, 'bias': bias}
  variables = variables | {'params': params | {'rpd_1': decoder}}

  @jax.jit
  def run(variables, target):
    logits, activations = target.record(_IMAGES)
    masks = task.model.apply(variables, activations).masks
    rows = task.rows((variables, (target, None)), _IMAGES, _LABELS)
    return rows, logits, target.masked(_IMAGES, masks), masks

  found = run(variables, _target())
  rows, logits, pathway_logits, masks = jax.tree.map(np.asarray, found)
  assert masks[1].min() > 0.45
  _, means = losses.distillation(logits, pathway_logits, logits, masks, task)
  weighed = task.alpha * means['distillation'] + task.beta * means['penalty']
  np.testing.assert_allclose(rows['loss'].mean(), weighed, rtol=1e-4)
  for key in ('distillation', 'agreement', 'firing_sparsity'):
    np.testing.assert_allclose(rows[key].mean(), means[key], rtol=1e-4)
  np.testing.assert_array_equal(rows['empty_layer'], 1.0)
  assert (rows['firing_sparsity'] < 1).all()


@pytest.mark.parametrize(
  'fields',
  [
    {'shared_pdn': False, 'kernel_sizes': (5, 1)},
    {'shared_pdn': False, 'embedders': 'none'},
  ],
  ids=['layerwise', 'no embedders'],
)
def test_other_forms_learn(fields):
  """A few steps move every parameter and lower the loss."""
  task = tiny.distillation(axis_name=None, beta=0.3)
  task = dataclasses.replace(task, model=task.model.clone(**fields))
  frozen = (_target(), None)
  start = jax.jit(task.init)(jax.random.key(0), frozen, _IMAGES[:1])
  optimiser = optax.adam(0.01)

  @jax.jit
  def step(variables, state):
    def loss(params):
      batch = (_IMAGES, _LABELS)
      return task.loss(params, variables['batch_stats'], frozen, batch)

    grad = jax.value_and_grad(loss, has_aux=True)
    (value, (stats, _)), grads = grad(variables['params'])
    updates, state = optimiser.update(grads, state)
    params = optax.apply_updates(variables['params'], updates)
    return {'params': params, 'batch_stats': stats}, state, (value, grads)

  state = jax.jit(optimiser.init)(start['params'])
  variables, values = start, []
  for _ in range(8):
    variables, state, (value, grads) = step(variables, state)
    values.append(float(value))
    grads = jax.tree.leaves(jax.device_get(grads))
    assert all(np.abs(g).max() > 1e-6 for g in grads)
  assert np.isfinite(values).all() and min(values[-2:]) < values[0]
  start, end = map(jax.tree.leaves, jax.device_get((start, variables)))
  for a, b in zip(start, end):
    assert np.isfinite(b).all() and np.any(a != b)


def test_tasks_of_equal_fields_share_what_is_compiled():
  assert tiny.classification() == tiny.classification()
  assert hash(tiny.distillation()) == hash(tiny.distillation())
  assert tiny.distillation() != tiny.distillation(beta=7.0)
