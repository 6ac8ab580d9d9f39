"""Topics and the models in their names."""

from __future__ import annotations

import re

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv_kafka.topics import InputTopics, check, filled


def test_a_plain_topic_names_no_model() -> None:
    topics = InputTopics(["a", "b.c"])
    assert topics.subscription == ["a", "b.c"]
    assert topics.model_of("a") == (None, None)


def test_a_pattern_names_the_model_and_the_version() -> None:
    topics = InputTopics(["plain", "seldon.ns.model.{model}.inputs", "v2.{model}.{version}"])
    assert topics.subscription[0] == "plain"
    assert re.search(topics.subscription[1], "seldon.ns.model.iris.inputs")
    assert not re.search(topics.subscription[1], "seldonXns.model.iris.inputs")
    assert topics.model_of("seldon.ns.model.iris.inputs") == ("iris", None)
    assert topics.model_of("v2.iris.v1.3") == ("iris", "v1.3")
    assert topics.model_of("plain") == (None, None)


@pytest.mark.parametrize("name", ["", "a b", "{other}", "{model}{model}", "{", "x" * 250, "é"])
def test_what_is_no_topic(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^kafka_topic_input: .* is not the name of a topic"):
        check([name], "kafka_topic_input")


def test_names_are_filled_in() -> None:
    assert filled("out", "m", "1") == "out"
    assert filled("{model}.{version}.out", "m", "1") == "m.1.out"
    assert filled("{model}.out", "m", None) == "m.out"
