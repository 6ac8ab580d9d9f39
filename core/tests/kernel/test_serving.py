"""Serving: transports start and stop in bounded time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from kernel_parts import Gate, ask, model, waiting_model

import mlsrv
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import ConfigurationError, ModelsFailed, ServerNotReady
from mlsrv.kernel import serving as serving_module
from mlsrv.testing import EchoModel, Offering
from mlsrv.transport import Transport


class Noting(Transport):
    """A transport without a socket that writes down what happens to it."""

    events: list[str] = []  # replaced by each test
    extensions: Sequence[str] = ("binary_tensor_data",)

    @property
    def called(self) -> str:
        return type(self).__name__.lower()

    async def start(self) -> None:
        self.events.append(f"start {self.called}")

    async def stop(self, grace: float) -> None:
        self.events.append(f"stop {self.called} {grace}")


class First(Noting):
    pass


class Second(Noting):
    pass


class Metrics(Noting):
    takes_requests = False


class Refused(Noting):
    async def start(self) -> None:
        raise ConfigurationError("127.0.0.1:80 cannot be used: permission denied.")


class FailingStop(Noting):
    async def stop(self, grace: float) -> None:
        raise OSError("socket is gone")


class Stuck(Noting):
    async def stop(self, grace: float) -> None:
        await asyncio.Event().wait()


class Dead(Noting):
    @property
    def problem(self) -> str:
        return "The broker closed the connection."


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    noted: list[str] = []
    monkeypatch.setattr(Noting, "events", noted)
    return noted


def kernel_of(*transports: Any, models: Sequence[ModelSettings] = (), **settings: Any) -> Kernel:
    offers = [mlsrv.TransportOffer(cls.__name__.lower(), cls) for cls in transports]
    return Kernel(settings, plugins=[Offering(*offers)], models=models, discover=False)


OWN = ["schedule_policy", "statistics"]
"""Extensions of the kernel itself."""


async def at_once() -> None:
    return None


async def test_serving_starts_and_stops_every_transport(events: list[str]) -> None:
    seen: list[Any] = []
    async with kernel_of(First, Second, shutdown_timeout=3) as kernel:
        await kernel.loaded()

        def started() -> None:
            seen.extend([sorted(kernel.transports), kernel.server_metadata().extensions, kernel.ready])
            events.append("started")

        await kernel.serve(at_once, started=started)
        assert events == ["start first", "start second", "started", "stop first 3.0", "stop second 3.0"]
        assert seen == [["first", "second"], ["binary_tensor_data", *OWN], True]
        assert (kernel.transports, kernel.server_metadata().extensions) == ({}, OWN)
        assert kernel.problems() == ["The server is stopping."]


async def test_the_server_is_not_ready_before_its_transports_stop(events: list[str]) -> None:
    class Asking(Noting):
        async def stop(self, grace: float) -> None:
            events.append(f"ready {self.kernel.ready}")

    async with kernel_of(Asking) as kernel:
        await kernel.loaded()
        await kernel.serve(at_once)
    assert events[-1] == "ready False"


async def test_only_what_the_settings_enable_is_imported(events: list[str]) -> None:
    offers = [
        mlsrv.TransportOffer("first", First, enabled=lambda settings: True),
        mlsrv.TransportOffer("second", "nowhere:Second", enabled=lambda settings: bool(settings.debug)),
    ]
    async with Kernel(plugins=[Offering(*offers)], discover=False) as kernel:
        await kernel.serve(at_once)
    assert events[0] == "start first"
    async with Kernel({"debug": True}, plugins=[Offering(*offers)], discover=False) as kernel:
        with pytest.raises(ConfigurationError, match=r'^The transport "second" cannot be imported'):
            await kernel.serve(at_once)


async def test_a_transport_that_cannot_start_stops_the_others(events: list[str]) -> None:
    async with kernel_of(First, Refused) as kernel:
        with pytest.raises(ConfigurationError, match=r"^127.0.0.1:80 cannot be used"):
            await kernel.serve(at_once)
        assert kernel.transports == {}
    assert events == ["start first", "stop first 10.0", "stop refused 10.0"]


@pytest.mark.parametrize("transports", [(), (Metrics,)])
async def test_a_server_without_transports_says_what_to_install(
    events: list[str], transports: Sequence[type[Transport]]
) -> None:
    async with kernel_of(*transports) as kernel:
        with pytest.raises(ConfigurationError, match=r"install one \(pip install mlsrv-rest\)"):
            await kernel.serve(at_once)
    assert events == []


async def test_a_transport_that_fails_to_stop_is_logged(
    events: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with kernel_of(FailingStop, Second) as kernel:
        await kernel.serve(at_once)
    assert events[-1] == "stop second 10.0"
    assert "The transport failingstop failed to stop" in caplog.text
    assert "socket is gone" in caplog.text


async def test_a_transport_that_does_not_stop_is_left_behind(
    events: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "STOP_MARGIN", 0.05)
    async with asyncio.timeout(10):
        async with kernel_of(Stuck, Second, shutdown_timeout=0) as kernel:
            await kernel.serve(at_once)
    assert "The transport stuck does not stop and is left behind" in caplog.text


class Draining(Noting):
    async def stop(self, grace: float) -> None:
        await asyncio.sleep(grace)
        self.events.append("cut")


async def test_cancelled_requests_are_logged(events: list[str], caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    models = [model("m", waiting_model(gate)), model("n", waiting_model(gate)), model("idle")]
    async with kernel_of(Draining, models=models, shutdown_timeout=0.05, insecure=True) as kernel:
        await kernel.loaded()
        running = [asyncio.ensure_future(ask(kernel, name)) for name in ("m", "m", "n")]
        await gate.reached.wait()
        await asyncio.sleep(0)
        await kernel.serve(at_once)
        assert "within 0.05 s are cut: 2 of model m, 1 of model n" in caplog.messages[-1]
        caplog.clear()
        gate.open.set()
        await asyncio.gather(*running)
        await kernel.serve(at_once)
        assert not caplog.messages


async def test_a_dead_transport_is_a_problem(events: list[str]) -> None:
    async with kernel_of(Dead, host="127.0.0.1") as kernel:
        await kernel.loaded()
        problems: list[str] = []
        await kernel.serve(at_once, started=lambda: problems.extend(kernel.problems()))
    assert problems == ["The broker closed the connection."]


async def test_clients_are_told_of_a_dead_transport_as_error_details_says(events: list[str]) -> None:
    async with kernel_of(Dead) as kernel:
        await kernel.loaded()
        problems: list[str] = []
        await kernel.serve(at_once, started=lambda: problems.extend(kernel.problems()))
    assert len(problems) == 1
    assert problems[0].startswith("The transport ")
    assert problems[0].endswith(" does not work; the log has the details.")


async def test_cancelling_stops_the_transports(events: list[str]) -> None:
    started = asyncio.Event()
    async with kernel_of(First) as kernel:
        task = asyncio.ensure_future(kernel.serve(asyncio.Event().wait, started=started.set))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert events == ["start first", "stop first 10.0"]


async def test_an_exception_of_stop_is_raised_after_the_transports_stopped(events: list[str]) -> None:
    async def broken() -> None:
        raise OSError("no signal")

    async with kernel_of(First) as kernel:
        with pytest.raises(OSError, match=r"no signal"):
            await kernel.serve(broken)
    assert events[-1] == "stop first 10.0"


async def test_serving_needs_a_running_kernel() -> None:
    with pytest.raises(ServerNotReady):
        await kernel_of(First).serve(at_once)


# --- models that fail at the start -------------------------------------------------------------------


class Failing(EchoModel):
    async def load(self) -> bool:
        raise ValueError("no such weights")


MODELS = [model("a", Failing), model("b", Failing, "v1"), model("c")]
SENTENCES = [
    "Model a failed to load: ValueError: no such weights",
    "Model b failed to load: ValueError: no such weights",
]


async def test_by_default_a_failed_model_does_not_stop_the_server(events: list[str]) -> None:
    stop = asyncio.Event()
    async with kernel_of(First, models=MODELS, host="127.0.0.1") as kernel:
        serving = asyncio.ensure_future(kernel.serve(stop.wait))
        await kernel.loaded()
        assert kernel.problems() == SENTENCES
        assert await ask(kernel, "c") == "hi"
        stop.set()
        await serving


async def test_while_other_machines_reach_the_server_texts_of_exceptions_are_held_back(
    events: list[str],
) -> None:
    stop, started = asyncio.Event(), asyncio.Event()
    async with kernel_of(First, models=MODELS) as kernel:
        await kernel.loaded()
        assert kernel.problems() == SENTENCES
        serving = asyncio.ensure_future(kernel.serve(stop.wait, started.set))
        await started.wait()
        assert kernel.problems() == [
            f"Model {name} failed to load: ValueError; the log has the details" for name in "ab"
        ]
        stop.set()
        await serving


async def test_with_on_load_failure_exit_the_server_ends(events: list[str]) -> None:
    async with kernel_of(First, models=MODELS, on_load_failure="exit") as kernel:
        with pytest.raises(ModelsFailed) as caught:
            await kernel.serve(asyncio.Event().wait)
        assert caught.value.problems == SENTENCES
        assert str(caught.value) == "; ".join(SENTENCES)
    assert events == ["start first", "stop first 10.0"]


async def test_with_on_load_failure_exit_a_server_without_failures_goes_on(events: list[str]) -> None:
    stop = asyncio.Event()
    async with kernel_of(First, models=MODELS[2:], on_load_failure="exit") as kernel:
        serving = asyncio.ensure_future(kernel.serve(stop.wait))
        await kernel.loaded()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(serving), 0.05)
        stop.set()
        await serving


async def test_stopping_while_models_load_is_no_failure(events: list[str]) -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    async with kernel_of(First, models=[model("m", Slow)], on_load_failure="exit") as kernel:
        await gate.reached.wait()
        await kernel.serve(at_once)
    assert events == ["start first", "stop first 10.0"]


async def test_a_server_that_stops_is_not_ready_but_accepts_requests_for_the_delay() -> None:
    seen: list[tuple[list[str], bool]] = []

    class Watching(First):
        async def stop(self, grace: float) -> None:
            seen.append((self.kernel.problems(), False))
            await super().stop(grace)

    async with kernel_of(Watching, shutdown_delay=0.2) as kernel:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await kernel.serve(lambda: asyncio.sleep(0))
        assert loop.time() - began >= 0.2
    assert seen == [(["The server is stopping."], False)]


async def test_the_time_of_a_stop_counts_once_for_transports_and_models() -> None:
    class Waits(First):
        async def stop(self, grace: float) -> None:
            await asyncio.sleep(grace)

    gate = Gate()
    loop = asyncio.get_running_loop()
    async with kernel_of(Waits, models=[model(cls=waiting_model(gate))], shutdown_timeout=1) as kernel:
        await kernel.loaded()
        running = asyncio.ensure_future(ask(kernel))
        await gate.reached.wait()
        began = loop.time()
        await kernel.serve(lambda: asyncio.sleep(0))
    assert loop.time() - began < 1.9
    gate.open.set()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [({}, True), ({"host": "127.0.0.1"}, False), ({"host": "localhost"}, False), ({"insecure": True}, False)],
    ids=["everywhere", "loopback", "localhost", "insecure"],
)
async def test_a_server_that_is_open_to_other_machines_says_so_once(
    settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with kernel_of(Noting, **settings) as kernel:
        await kernel.serve(at_once)
    assert caplog.text.count("no authorizer is installed") == int(warned)
