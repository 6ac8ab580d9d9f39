"""Processes: several kernels on the same ports, and the supervisor that makes one server of them."""
