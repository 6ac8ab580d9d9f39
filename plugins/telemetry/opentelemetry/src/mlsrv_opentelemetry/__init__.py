"""OpenTelemetry: distributed tracing of servers and models."""
