"""A run of seconds, with a tiny net in the place of AlexNet."""

from tests import tiny


def get_config():
  return tiny.config(
    **{
      'target.epochs': 4.0,
      'gencnp.epochs': 4.0,
      'evaluate.methods': 'gencnp,random',
      'evaluate.limit': 50,
    }
  )
