"""Metrics of captions, a file each; `panoglot.metrics` has their names."""
