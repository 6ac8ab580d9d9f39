"""Pools of worker processes, as the server sees them."""
