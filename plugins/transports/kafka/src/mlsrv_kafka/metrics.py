"""Metrics: records, partitions and the connection to the brokers."""

from __future__ import annotations

from mlsrv.metrics import SECONDS, Metric

_PARTITION = ("topic", "partition")

RECORDS = Metric(
    "mlsrv_kafka_records",
    "Records that are done with, by what became of them: answered, failed (sent to the error topic), "
    "skipped (there is none).",
    "counter",
    ("topic", "outcome"),
)
RECORD_SECONDS = Metric(
    "mlsrv_kafka_record_seconds",
    "Seconds from when a record was read to when its answer was handed to the producer.",
    "histogram",
    ("topic",),
    SECONDS,
)
RETRIES = Metric(
    "mlsrv_kafka_retries",
    "Further attempts to answer records, by the code of the error before them.",
    "counter",
    ("topic", "code"),
)
FAILURES = Metric(
    "mlsrv_kafka_errors",
    "Records that could not be answered, by the code of their error.",
    "counter",
    ("topic", "code"),
)
RENEWALS = Metric(
    "mlsrv_kafka_producer_renewals",
    "Times that a new producer sent again what brokers had not confirmed.",
    "counter",
)
LAG = Metric(
    "mlsrv_kafka_lag",
    "Records of a partition that are not committed yet, as far as known.",
    "gauge",
    _PARTITION,
)
IN_FLIGHT = Metric(
    "mlsrv_kafka_in_flight",
    "Records of a partition that were read and are not done with.",
    "gauge",
    _PARTITION,
)
OLDEST = Metric(
    "mlsrv_kafka_oldest_seconds",
    "Seconds since the oldest record of a partition was read that is not done with; 0 without one.",
    "gauge",
    _PARTITION,
)
CONNECTED = Metric(
    "mlsrv_kafka_connected", "1 while records can be read and answers written, else 0.", "gauge"
)

METRICS = (RECORDS, RECORD_SECONDS, RETRIES, FAILURES, RENEWALS, LAG, IN_FLIGHT, OLDEST, CONNECTED)
