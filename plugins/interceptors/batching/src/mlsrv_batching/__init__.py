"""Adaptive batching."""
