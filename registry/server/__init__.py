"""The program of a registry, started for an operator."""
