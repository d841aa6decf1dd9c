"""Data sets a run may read."""
