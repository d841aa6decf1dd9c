"""A registry across the network."""
