"""The command line of a scientist."""
