"""Admit, run, inspect, send on: what a hospital runs."""
