"""Settings: MLServer's texts, what is refused, and what the client library gets."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mlsrv import Kernel
from mlsrv.errors import ConfigurationError
from mlsrv_kafka.client_config import Thinned, consumer_config, is_encrypted, producer_config
from mlsrv_kafka.settings import KafkaSettings
from mlsrv_settings_kit.convert import structure_fields
from mlsrv_settings_kit.redaction import MASK, redacted


def test_the_texts_of_mlservers_manual_are_taken() -> None:
    made, problems = structure_fields(KafkaSettings, {"kafka_enabled": "true"})
    assert problems == []
    assert made.kafka_enabled is True
    assert (made.kafka_topic_input, made.kafka_topic_output) == ("mlserver-input", "mlserver-output")
    assert made.kafka_servers == "localhost:9092"


def test_it_is_off_by_default() -> None:
    assert Kernel(block=["workers"]).settings.of(KafkaSettings).kafka_enabled is False


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kafka_ordering": "keys"}, "expected one of 'key', 'partition', 'none'"),
        ({"kafka_concurrency": 0}, "expected at least 1"),
        ({"kafka_retries": -1}, "expected at least 0"),
        ({"kafka_topic_input": []}, "kafka_topic_input: expected a name"),
        ({"kafka_topic_input": 7}, "expected a text"),
        ({"kafka_topic_output": ""}, "kafka_topic_output: expected a name"),
        ({"kafka_group": " "}, "kafka_group: expected a name"),
        ({"kafka_client": "x"}, "expected an object"),
    ],
)
def test_wrong_values(values: dict[str, Any], problem: str) -> None:
    _, problems = structure_fields(KafkaSettings, values)
    assert problem in str(problems)


def test_at_least_once_does_not_depend_on_what_is_passed_through() -> None:
    given = {"enable.auto.commit": True, "enable.auto.offset.store": True, "auto.offset.reset": "latest"}
    config = consumer_config(KafkaSettings(kafka_consumer=given, kafka_client={"client.id": "me"}))
    assert config["enable.auto.commit"] is config["enable.auto.offset.store"] is False
    assert (config["auto.offset.reset"], config["client.id"]) == ("latest", "me")


def test_brokers_choose_the_assignment_in_the_newer_protocol() -> None:
    config = consumer_config(KafkaSettings(kafka_consumer={"group.protocol": "consumer"}))
    assert not {"partition.assignment.strategy", "session.timeout.ms"} & set(config)
    assert consumer_config(KafkaSettings())["partition.assignment.strategy"] == "cooperative-sticky"


def test_the_producer_is_idempotent_unless_told_otherwise() -> None:
    assert producer_config(KafkaSettings())["enable.idempotence"] is True
    given = KafkaSettings(kafka_producer={"enable.idempotence": False})
    assert producer_config(given)["enable.idempotence"] is False


@pytest.mark.parametrize(("protocol", "encrypted"), [("PLAINTEXT", False), ("ssl", True), ("SASL_SSL", True)])
def test_encryption(protocol: str, encrypted: bool) -> None:
    assert is_encrypted({"security.protocol": protocol}) is encrypted


def test_secrets_are_masked() -> None:
    given = {"sasl.password": "hush", "ssl.key.password": "hush", "sasl.username": "me"}
    assert redacted(KafkaSettings(kafka_client=given))["kafka_client"] == {
        "sasl.password": MASK,
        "ssl.key.password": MASK,
        "sasl.username": "me",
    }


async def test_unknown_keys_of_the_client_library(serving: Any) -> None:
    for settings, problem in (
        ({"kafka_client": {"no.such.key": 1}}, "no.such.key"),
        ({"kafka_client": {"security.protocol": "TLS"}}, "security.protocol"),
        ({"kafka_topic_output": "a b"}, "kafka_topic_output: 'a b'"),
        ({"kafka_topic_input": "x{y}"}, "kafka_topic_input: 'x{y}'"),
    ):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            async with serving({"kafka_enabled": True, **settings}):
                pass
        assert "\n" not in str(caught.value)


def test_lines_of_the_client_library_are_not_repeated() -> None:
    thinned = Thinned()

    def passes(message: str) -> bool:
        record = logging.LogRecord("x", logging.CRITICAL, "", 0, message, (), None)
        return thinned.filter(record) and record.levelno == logging.WARNING

    assert passes("FAIL [rdkafka#consumer-1] refused")
    assert not passes("FAIL [rdkafka#consumer-1] refused again")
    assert passes("CONFWARN something")


def test_order_does_not_depend_on_what_is_passed_through() -> None:
    given = {"message.timeout.ms": 10, "delivery.timeout.ms": 10, "linger.ms": 1}
    config = producer_config(KafkaSettings(kafka_producer=given, kafka_client=given))
    assert config["message.timeout.ms"] == 0
    assert "delivery.timeout.ms" not in config
    assert config["linger.ms"] == 1
