"""Outputs as classes: the classification extension of the protocol."""
