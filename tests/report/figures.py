"""What tests ask of any figure."""

import matplotlib


def texts(figure):
  """All words on a figure."""
  found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
  return [text for text in found if text]


def check_inside(figure):
  """Nothing is cut off, and no two axes overlap."""
  tight = figure.get_tightbbox().extents
  assert (tight[:2] >= 0).all()
  assert (tight[2:] <= figure.get_size_inches()).all()
  boxes = [axes.get_window_extent().shrunk(0.99, 0.99) for axes in figure.axes]
  for i, box in enumerate(boxes):
    assert not box.count_overlaps(boxes[:i])
