"""Every metric of the kernel and of the plugins that are developed with it.

They stand here together, so that a dashboard or an alert can be made for a backend without a look into the
plugins that record them. Names and labels that MLServer has are its own.
"""

from __future__ import annotations

from mlsrv.metrics import Metric

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BYTES = tuple(float(4**power) for power in range(3, 16))
COUNTS = tuple(float(2**power) for power in range(13))

_INFER = ("model", "version")
_MODEL = ("model_name", "model_version")
_POOL = ("pool",)
_REST = ("method", "path", "status_code", "app_name")
_GRPC = ("grpc_type", "grpc_service", "grpc_method")

# --- requests to models -------------------------------------------------------------------------------------

SUCCESS = Metric("model_infer_request_success", "Inference requests that succeeded.", "counter", _INFER)
FAILURE = Metric("model_infer_request_failure", "Inference requests that failed.", "counter", _INFER)
DURATION = Metric(
    "model_infer_request_duration",
    "Seconds from the arrival of an inference request at its model to its answer.",
    "histogram",
    _INFER,
    SECONDS,
)
PHASE = Metric(
    "mlsrv_phase_seconds",
    "Seconds that inference requests spent in a phase: queue, batch (waiting), decode, predict, encode.",
    "histogram",
    (*_MODEL, "phase"),
    SECONDS,
)
REQUEST_BYTES = Metric(
    "mlsrv_request_payload_bytes", "Bytes of the tensors of inference requests.", "histogram", _MODEL, BYTES
)
RESPONSE_BYTES = Metric(
    "mlsrv_response_payload_bytes", "Bytes of the tensors of inference responses.", "histogram", _MODEL, BYTES
)
REJECTED = Metric(
    "mlsrv_requests_rejected",
    "Inference requests that got an error, by its code; those for unknown models have no name.",
    "counter",
    (*_MODEL, "reason"),
)
IN_FLIGHT = Metric(
    "mlsrv_requests_in_flight", "Requests that a model has waiting or running now.", "gauge", _MODEL
)
MODEL_READY = Metric(
    "mlsrv_model_ready", "1 for a model that answers, 0 for one that should and does not.", "gauge", _MODEL
)
MODEL_STATE = Metric(
    "mlsrv_model_state", "1 for the state that a model is in, 0 for the others.", "gauge", (*_MODEL, "state")
)

# --- batches, workers, caches -------------------------------------------------------------------------------

BATCH_QUEUE = Metric(
    "batch_request_queue",
    "Requests that waited to be batched when one more came.",
    "histogram",
    _MODEL,
    COUNTS,
)
BATCH_WAITING = Metric("mlsrv_batch_queue", "Requests that wait to be batched now.", "gauge", _MODEL)
BATCH_ROWS = Metric("mlsrv_batch_rows", "Rows of the batches that models ran.", "histogram", _MODEL, COUNTS)
BATCH_REQUESTS = Metric(
    "mlsrv_batch_requests", "Requests in the batches that models ran.", "histogram", _MODEL, COUNTS
)
PARALLEL_QUEUE = Metric(
    "parallel_request_queue",
    "Requests that waited for a worker process when one more came.",
    "histogram",
    (),
    COUNTS,
)
WORKER_WAITING = Metric("mlsrv_worker_queue", "Requests that wait for a worker process now.", "gauge", _POOL)
WORKERS = Metric(
    "mlsrv_workers", "Worker processes that are alive, and that are missing.", "gauge", (*_POOL, "state")
)
WORKER_MEMORY = Metric(
    "mlsrv_worker_memory_bytes",
    "Bytes that the worker processes of a pool have in memory now, shared ones counted in each; on Linux.",
    "gauge",
    _POOL,
)
WORKER_ENDS = Metric(
    "mlsrv_worker_unexpected_ends", "Worker processes that ended and were replaced.", "counter", _POOL
)
CACHE_HITS = Metric("mlsrv_cache_hits", "Requests that were answered from the cache.", "counter", _MODEL)
CACHE_MISSES = Metric("mlsrv_cache_misses", "Requests that the model had to answer.", "counter", _MODEL)

# --- servers ------------------------------------------------------------------------------------------------

REST_REQUESTS = Metric("rest_server_requests", "HTTP requests that were answered.", "counter", _REST)
REST_SECONDS = Metric(
    "rest_server_request_duration_seconds",
    "Seconds from the head of an HTTP request to the end of its answer.",
    "histogram",
    _REST,
    SECONDS,
)
REST_IN_PROGRESS = Metric(
    "rest_server_requests_in_progress", "HTTP requests in progress now.", "gauge", ("method", "app_name")
)
GRPC_STARTED = Metric("grpc_server_started", "gRPC calls that were started.", "counter", _GRPC)
GRPC_HANDLED = Metric(
    "grpc_server_handled", "gRPC calls that ended, with whatever code.", "counter", (*_GRPC, "grpc_code")
)
GRPC_SECONDS = Metric(
    "grpc_server_handling_seconds",
    "Seconds from the start of gRPC calls to their end.",
    "histogram",
    _GRPC,
    SECONDS,
)
GRPC_RECEIVED = Metric("grpc_server_msg_received", "Messages of streams received.", "counter", _GRPC)
GRPC_SENT = Metric("grpc_server_msg_sent", "Messages of streams sent.", "counter", _GRPC)

METRICS = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All of them, in this order."""
