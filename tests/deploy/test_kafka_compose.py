"""The compose file in the guide to Kafka, read by the program that it is for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from manifests import documents
from programs import run

from mlsrv.settings import environment_layers
from mlsrv_kafka.settings import KafkaSettings

README = Path(__file__).parents[2] / "plugins/transports/kafka/README.md"


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="installed by: nox -s deploy")
def test_the_compose_file_of_the_guide(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "compose.yaml"
    file.write_text(text, encoding="utf-8")
    done = run("docker-compose", "--file", str(file), "config")
    assert done.returncode == 0, done.stderr
    (found,) = documents(done.stdout)
    broker, topics, server = (found["services"][name] for name in ("kafka", "topics", "mlsrv"))
    # What the server reads and writes is made, and the broker tells it an address that it can reach.
    defaults, environment = KafkaSettings(), server["environment"]
    names = [defaults.kafka_topic_input, defaults.kafka_topic_output, environment["MLSRV_KAFKA_TOPIC_ERRORS"]]
    assert f"for topic in {' '.join(names)};" in topics["command"][0]
    assert (
        f"PLAINTEXT://{environment['MLSRV_KAFKA_SERVERS']}"
        in broker["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    )
    own, _ = environment_layers(environment)
    assert set(own.values) == {"kafka_enabled", "kafka_servers", "kafka_topic_errors"}
    assert set(own.values) <= set(KafkaSettings.__annotations__)
