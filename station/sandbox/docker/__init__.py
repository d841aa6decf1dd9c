"""Runs on an engine that speaks the Docker Engine API."""
