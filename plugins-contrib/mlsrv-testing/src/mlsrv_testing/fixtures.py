"""Fixtures for pytest: models, kernels, ports, and checks of what a test leaves behind.

Enable them with ``pytest_plugins = ["mlsrv_testing.fixtures"]`` in the topmost conftest, or with ``from
mlsrv_testing.fixtures import *`` in any other.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from mlsrv.kernel.kernel import Kernel
from mlsrv.settings import ModelSettings
from mlsrv.testing import kernels
from mlsrv.testing.models import EchoModel
from mlsrv_testing.leaks import Belongings

__all__ = ["echo_model", "free_port", "make_kernel", "no_leaks", "untouched_process"]

_PORTS = range(16384, 32768)
"""Ports below those that systems give to connections of their own."""
_tried = itertools.count(os.getpid() * 64)
"""Places in `_PORTS`, which begin elsewhere in each process: tests in several must not take the same."""

PATIENCE = 5.0
"""Seconds that `no_leaks` waits for what is ending."""


@pytest.fixture
def free_port() -> int:
    """Return a TCP port of the loopback interface that is free at this moment, another one for each test."""
    return _free_port()


@pytest.fixture
def echo_model() -> ModelSettings:
    """Return settings of a model "echo" that answers with its inputs."""
    return ModelSettings(name="echo", implementation=EchoModel)


@pytest.fixture
def make_kernel() -> Callable[..., Kernel]:
    """Return the function `mlsrv.testing.make_kernel`."""
    return kernels.make_kernel


@pytest.fixture
def untouched_process() -> Iterator[None]:
    """Fail the test if it changes environment variables, or the handlers or level of the root logger."""
    environment, log = dict(os.environ), _root_logger()
    yield
    changed = {
        key for key in environment.keys() | os.environ.keys() if environment.get(key) != os.environ.get(key)
    }
    changed.discard("PYTEST_CURRENT_TEST")
    assert not changed, f"environment variables were changed: {sorted(changed)}"
    assert _root_logger() == log, "the root logger was changed"


@pytest.fixture
def no_leaks(untouched_process: None) -> Iterator[None]:
    """Fail the test if it leaves threads, processes, open files, sockets or shared memory behind.

    Other than threads, they are seen on Linux only. It also does what `untouched_process` does. Things that
    end within `PATIENCE` seconds are accepted.
    """
    before = Belongings.now()
    yield
    left = before.outlived(PATIENCE)
    assert not left, f"the test leaves behind: {', '.join(left)}"


def _root_logger() -> tuple[list[logging.Handler], int]:
    # Handlers of pytest itself come and go.
    handlers = [
        handler for handler in logging.root.handlers if not type(handler).__module__.startswith("_pytest")
    ]
    return handlers, logging.root.level


def _free_port() -> int:
    for _ in range(1000):
        port = _PORTS[next(_tried) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # it is in use
        return port
    raise OSError("no port of the loopback interface is free")
