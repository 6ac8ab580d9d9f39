"""Plugin resources: objects that the hooks of a plugin share."""

import logging
import threading
from typing import Any

import pytest

import mlsrv
from mlsrv import Kernel, ModelSettings
from mlsrv.plugin_resources import Shared
from mlsrv.testing import EchoModel


class Line:
    """Notes in which thread it was closed."""

    closed: threading.Thread | None = None

    def close(self) -> None:
        self.closed = threading.current_thread()


class Broken(Line):
    def close(self) -> None:
        raise RuntimeError("stuck")


async def test_one_object_of_each_class_until_it_is_closed() -> None:
    shared = Shared()
    line = shared.get(Line, Line)
    assert shared.get(Line, Line) is line
    await shared.close()
    assert line.closed not in (None, threading.main_thread())
    assert shared.get(Line, Line) is not line


async def test_a_failing_close_is_logged_and_the_others_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    shared = Shared()
    line = shared.get(Line, Line)
    shared.get(Broken, Broken)
    with caplog.at_level(logging.ERROR):
        await shared.close()
    assert line.closed is not None
    (record,) = caplog.records
    assert record.message == "Broken failed to close"


class Plugin:
    def __init__(self) -> None:
        self.found: list[Line] = []

    @mlsrv.hookimpl
    def mlsrv_interceptors(self, kernel: Kernel) -> None:
        self.found.append(kernel.shared.get(Line, Line))

    @mlsrv.hookimpl
    def mlsrv_user_code(self, shared: Shared) -> Any:
        self.found.append(shared.get(Line, Line))


async def test_kernels_have_their_own_and_close_them() -> None:
    plugins = [Plugin(), Plugin()]
    for plugin in plugins:
        model = ModelSettings(name="m", implementation=EchoModel)
        async with Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
            await kernel.loaded()
            assert len(plugin.found) == 2
            assert plugin.found[0] is plugin.found[1]
            assert plugin.found[0].closed is None
        assert plugin.found[0].closed is not None
    assert plugins[0].found[0] is not plugins[1].found[0]
