"""mlsrv-telemetry-kit: metrics for any backend, and texts for a log; see its modules.

Authors of models and plugins find what they need in `mlsrv.metrics`.
"""
