"""Hints: the sentence about an unknown key, with the nearest known key or the plugin to install."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

# Keys that users of this kind of server have in their files, by the distribution that would understand them.
OWNERS: dict[str, tuple[str, ...]] = {
    "mlsrv-rest": (
        "cors_settings",
        "gzip_enabled",
        "http_keep_alive",
        "http_max_body_size",
        "http_max_decompressed_size",
        "http_max_total_body_size",
        "http_port",
        "http_receive_timeout",
        "http_server",
        "http_tls_ca",
        "http_tls_cert",
        "http_tls_key",
        "root_path",
    ),
    "mlsrv-grpc": (
        "grpc_max_concurrent_calls",
        "grpc_max_message_length",
        "grpc_options",
        "grpc_port",
        "grpc_tls_ca",
        "grpc_tls_cert",
        "grpc_tls_key",
    ),
    "mlsrv-kafka": ("kafka_enabled", "kafka_servers", "kafka_topic_input", "kafka_topic_output"),
    "mlsrv-workers": (
        "environments_dir",
        "on_deadline",
        "parallel_workers",
        "parallel_workers_timeout",
        "pool",
        "warm_workers",
        "worker_arena_bytes",
        "worker_concurrency",
        "worker_threads",
    ),
    "mlsrv-batching": (
        "latency_slo",
        "max_batch_size",
        "max_batch_time",
    ),
    "mlsrv-cache": (
        "cache_enabled",
        "cache_max_bytes",
        "cache_size",
    ),
    "mlsrv-prometheus": (
        "metrics_dir",
        "metrics_endpoint",
        "metrics_port",
        "metrics_rest_server_prefix",
    ),
    "mlsrv-opentelemetry": (
        "tracing_global_provider",
        "tracing_protocol",
        "tracing_queue_size",
        "tracing_sample_rate",
        "tracing_server",
        "tracing_service_name",
    ),
}

RUNTIMES = (
    "alibi-detect",
    "alibi-explain",
    "catboost",
    "huggingface",
    "lightgbm",
    "mlflow",
    "mllib",
    "onnx",
    "sklearn",
    "xgboost",
)
"""Runtimes that have a plugin, the distribution ``mlsrv-NAME``."""


def explain_unknown(
    key: str, known: Iterable[str], distributions: Iterable[str] = (), failed: Mapping[str, str] | None = None
) -> str:
    """Return one sentence about an unknown key: the missing or broken plugin, or the nearest known key.

    Args:
        key: what was written.
        known: the keys that exist.
        distributions: those that are loaded; a loaded one does not own the key, even if it did in other
            versions.
        failed: plugins that are installed and did not load, with the reason.
    """
    loaded = set(distributions)
    for distribution, keys in OWNERS.items():
        if key not in keys or distribution in loaded:
            continue
        if failed and distribution in failed:
            return (
                f'unknown key "{key}": the plugin {distribution} is installed but did not load: '
                f"{failed[distribution]}"
            )
        return (
            f'unknown key "{key}": it belongs to the plugin {distribution}, '
            f"which is not installed (pip install {distribution})"
        )
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    if near:
        return f'unknown key "{key}"; did you mean "{near[0]}"?'
    if failed:
        listed = ", ".join(f"{name} ({reason})" for name, reason in failed.items())
        return f'unknown key "{key}"; it may belong to a plugin that did not load: {listed}'
    return f'unknown key "{key}"'


def explain_runtime(wanted: str) -> str:
    """Return what to install for an unknown ``implementation``, as the end of a sentence.

    The text is empty when no plugin is known to have it.

    Names of runtimes are known, and dotted paths into packages of runtimes, MLServer's included.
    """
    package = wanted.replace(":", ".").partition(".")[0]
    for prefix in ("mlsrv_", "mlserver_"):
        package = package.removeprefix(prefix)
    name = package.replace("_", "-")
    return (
        f" The runtime is in the plugin mlsrv-{name} (pip install mlsrv-{name})." if name in RUNTIMES else ""
    )
