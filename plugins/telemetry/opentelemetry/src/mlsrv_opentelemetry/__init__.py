"""Distributed tracing with OpenTelemetry."""
