"""A train: its manifest, journey and seals, and when they may be believed."""
