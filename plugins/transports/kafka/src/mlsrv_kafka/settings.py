"""Settings: keys of the Kafka transport. The first five are MLServer's."""

from __future__ import annotations

from typing import Any, Literal

from mlsrv.settings import setting, settings_class


@settings_class
class KafkaSettings:
    """Requests from Kafka topics."""

    kafka_enabled: bool = setting(False, help="Take requests from Kafka topics.")
    kafka_servers: str = setting(
        "localhost:9092", help="Brokers to begin with, as HOST:PORT, separated by commas."
    )
    kafka_topic_input: str | list[str] = setting(
        "mlserver-input",
        help="Topics with requests: one or a list. {model} and {version} in a name stand for any model and "
        "version, which its records are then addressed to.",
    )
    kafka_topic_output: str = setting(
        "mlserver-output", help="Topic for answers; {model} and {version} are filled in."
    )
    kafka_topic_errors: str | None = setting(
        None,
        help="Topic for records that cannot be answered. Without one they are logged and skipped.",
    )
    kafka_group: str = setting(
        "mlsrv", help="Consumer group; servers of one group share the partitions of the topics."
    )
    kafka_ordering: Literal["key", "partition", "none"] = setting(
        "key",
        help="Records that are answered one after the other: those with the same key, those of a partition, "
        "or none.",
    )
    kafka_concurrency: int = setting(
        64, help="Records that are answered at the same time, all partitions together.", at_least=1
    )
    kafka_retries: int = setting(
        3, help="Further attempts for a record whose model fails with an internal error.", at_least=0
    )
    kafka_not_ready_timeout: float | None = setting(
        300.0,
        help="Seconds for which a record waits for a model that is not ready, before it counts as one that "
        "cannot be answered. null: no limit.",
        at_least=0,
    )
    kafka_unready_after: float | None = setting(
        60.0,
        help="Seconds without any partition that can be read, or answer that can be written, after which the "
        "server is not ready. null: never.",
        at_least=0,
    )
    kafka_copy_headers: list[str] = setting(
        factory=list, help="Headers of a request that its answer has, too, beside those that it always has."
    )
    kafka_client: dict[str, Any] = setting(
        factory=dict,
        help='Keys of librdkafka for consumer and producer, such as {"security.protocol": "SASL_SSL"}.',
    )
    kafka_consumer: dict[str, Any] = setting(factory=dict, help="Keys of librdkafka for the consumer alone.")
    kafka_producer: dict[str, Any] = setting(factory=dict, help="Keys of librdkafka for the producer alone.")

    def __attrs_post_init__(self) -> None:
        given = self.kafka_topic_input
        topics = [given] if isinstance(given, str) else given
        for name, values in (
            ("kafka_topic_input", topics),
            ("kafka_topic_output", [self.kafka_topic_output]),
            ("kafka_group", [self.kafka_group]),
            ("kafka_servers", [self.kafka_servers]),
        ):
            if not values or not all(value.strip() for value in values):
                raise ValueError(f"{name}: expected a name, got {values if values else 'none'}")
