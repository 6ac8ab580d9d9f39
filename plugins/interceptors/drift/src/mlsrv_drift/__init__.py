"""Drift: compares what models get and predict with a reference, beside the way of the answers."""
