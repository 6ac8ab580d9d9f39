"""Adaptive batching: an interceptor that joins concurrent requests to a model."""
