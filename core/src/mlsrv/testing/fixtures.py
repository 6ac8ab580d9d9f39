"""Pytest fixtures; enable them with ``pytest_plugins = ["mlsrv.testing.fixtures"]`` in a conftest."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator

import pytest

from mlsrv.settings import ModelSettings
from mlsrv.testing.models import EchoModel


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def echo_model() -> ModelSettings:
    """Settings of a model "echo" that answers with its inputs."""
    return ModelSettings(name="echo", implementation=EchoModel)


@pytest.fixture
def untouched_process() -> Iterator[None]:
    """Fails the test if it leaves environment variables or log handlers behind."""
    environment = dict(os.environ)
    handlers = list(logging.getLogger().handlers)
    yield
    changed = {
        key for key in environment.keys() | os.environ.keys() if environment.get(key) != os.environ.get(key)
    }
    changed.discard("PYTEST_CURRENT_TEST")
    assert not changed, f"environment variables were changed: {sorted(changed)}"
    assert logging.getLogger().handlers == handlers, "log handlers were changed"
