"""Data plane: the way of a request from a transport to the executor, compiled once for each load."""
