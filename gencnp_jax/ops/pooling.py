"""Max pooling over disjoint windows."""


def max_pool(x, window=2):
  """Maximum over disjoint windows; a ragged edge is dropped (VALID)."""
  n, h, w, c = x.shape
  rows, columns = h // window, w // window
  x = x[:, : rows * window, : columns * window]
  return x.reshape(n, rows, window, columns, window, c).max((2, 4))
