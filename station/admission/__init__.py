"""Which trains a hospital admits."""
