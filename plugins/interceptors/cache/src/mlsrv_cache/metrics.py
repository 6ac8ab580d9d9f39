"""Metrics: response caches."""

from __future__ import annotations

from mlsrv.metrics import Metric

_MODEL = ("model_name", "model_version")

CACHE_HITS = Metric("mlsrv_cache_hits", "Requests that were answered from the cache.", "counter", _MODEL)
CACHE_MISSES = Metric("mlsrv_cache_misses", "Requests that the model had to answer.", "counter", _MODEL)

METRICS = (CACHE_HITS, CACHE_MISSES)
