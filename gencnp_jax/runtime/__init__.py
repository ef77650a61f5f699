"""Devices and pmap, checkpoints, the workdir's lock, the run log, progress."""
