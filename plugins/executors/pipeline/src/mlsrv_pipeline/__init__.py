"""Pipelines: models that ask other models of the same server."""
