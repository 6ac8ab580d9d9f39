"""Runs models in worker processes."""
