"""Telemetry: meters, the metrics of the kernel, and the log records of requests."""
