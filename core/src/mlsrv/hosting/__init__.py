"""Hosting: a model and its code, in the process where it runs (the server, a worker, a cluster)."""
