"""Executor: models in worker processes, through a kernel."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest

import mlsrv
from mlsrv.context import CallContext
from mlsrv.errors import DeadlineExceeded, MLSrvError, ModelLoadError
from mlsrv.kernel import Kernel
from mlsrv.metrics import Meter, Metric, Recorder, nothing
from mlsrv.settings import ModelSettings
from mlsrv.testing import EchoModel, FailingModel, tensor_request, text_request
from mlsrv_workers.environments.environments import Environment
from mlsrv_workers.executor import PoolKey, WorkersExecutor


def executor(kernel: Kernel) -> WorkersExecutor:
    found = kernel._executors["workers"]
    assert isinstance(found, WorkersExecutor)
    return found


async def value(kernel: Kernel, model: str, number: float = 0.0, context: CallContext | None = None) -> float:
    response = await kernel.infer(tensor_request(model, np.array([float(number)])), context)
    return float(response.outputs[0].data[0])


async def failure(kernel: Kernel, model: str, number: float = 0.0) -> tuple[str, str]:
    with pytest.raises(MLSrvError) as caught:
        await value(kernel, model, number)
    return str(caught.value), caught.value.code.value


async def test_models_run_in_the_processes_of_the_pool(serve: Any, model: Any) -> None:
    async with serve(model("Pid"), parallel_workers=2) as kernel:
        assert kernel.ready
        pids = executor(kernel).pids
        assert len(set(pids)) == 2
        assert os.getpid() not in pids
        assert {int(v) for v in await asyncio.gather(*(value(kernel, "pid") for _ in range(20)))} == set(pids)
        assert kernel.handle("pid").info.replicas == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_garbage_collections_do_not_visit_libraries(serve: Any, model: Any) -> None:
    async with serve(model("Frozen"), parallel_workers=1) as kernel:
        frozen = await value(kernel, "frozen")
        assert frozen > 10_000
        await kernel.unload("frozen")
        await kernel.load("frozen")
        assert await value(kernel, "frozen") <= frozen


async def test_without_workers_models_run_in_the_server(serve: Any, model: Any) -> None:
    async with serve(model("Pid"), parallel_workers=0) as kernel:
        assert await value(kernel, "pid") == os.getpid()
    async with serve(model("Pid", fields={"parallel_workers": 0}), model("Pid", "other")) as kernel:
        assert await value(kernel, "pid") == os.getpid()
        assert await value(kernel, "other") != os.getpid()


async def test_a_class_that_no_other_process_can_import_runs_in_the_server(serve: Any) -> None:
    class Local(EchoModel):
        pass

    async with serve(ModelSettings("local", Local)) as kernel:
        assert len((await kernel.infer(tensor_request("local", [1.0]))).outputs) == 1
        assert executor(kernel).pids == []


@pytest.mark.parametrize("array", [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((1024, 1024))])
async def test_tensors_round_trip_through_a_worker(serve: Any, array: Any) -> None:
    async with serve(ModelSettings("echo", EchoModel)) as kernel:
        response = await kernel.infer(tensor_request("echo", array))
        assert response.outputs[0].shape == list(array.shape)
        assert np.array_equal(response.outputs[0].data.reshape(array.shape), array)
        texts = await kernel.infer(text_request("echo", ["ä", "b"]))
        assert texts.outputs[0].data == ["ä", "b"]


async def test_errors_are_the_same_with_and_without_workers(serve: Any, model: Any) -> None:
    found = []
    for workers in (0, 1):
        async with serve(
            model("Refusing"), ModelSettings("fails", FailingModel), parallel_workers=workers
        ) as kernel:
            found.append([await failure(kernel, "refusing", number) for number in range(5)])
            found[-1].append(await failure(kernel, "fails"))
    assert found[0] == found[1]
    assert found[0][0] == ("Model refusing failed: ValueError: no such value", "INTERNAL")
    assert found[0][1] == ("not this one", "INVALID_ARGUMENT")
    assert found[0][2] == ("mine alone", "INVALID_ARGUMENT")
    assert found[0][3] == ("too much of it", "OVERLOADED")


async def test_load_errors_are_the_same_with_and_without_workers(
    serve: Any, model: Any, tmp_path: Path
) -> None:
    found = []
    for workers in (0, 1):
        missing = model("Artifact", file=str(tmp_path / "nothing"))
        async with serve(missing, model("Nowhere"), model("Pid"), parallel_workers=workers) as kernel:
            found.append([kernel.handle(name).reason for name in ("artifact", "nowhere")])
            assert await value(kernel, "pid") > 0
            assert not kernel.ready
    assert found[0] == found[1]
    assert "FileNotFoundError" in found[0][0]


async def test_modules_of_two_folders_do_not_mix(serve: Any, model: Any) -> None:
    models = [model("Chatty", name, folder=name) for name in ("a", "b")]
    async with serve(*models) as kernel:
        for name in ("a", "b"):
            looked = await kernel.call(name, None, "look", {"names": []}, CallContext())
            assert looked["helped"] == name


class Memory(Meter):
    """Keeps the values that models record."""

    values: ClassVar[list[tuple[str, str, float, tuple[str, ...]]]] = []

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.known = kernel.plugins.metrics()

    def bind(self, metric: Metric, labels: Any) -> Recorder:
        if metric in self.known:
            return nothing
        return lambda value: self.values.append((metric.name, metric.kind, value, tuple(labels)))


class Meters:
    """A plugin."""

    @mlsrv.hookimpl
    def mlsrv_meters(self) -> mlsrv.MeterOffer:
        return mlsrv.MeterOffer("memory", Memory)


@pytest.mark.parametrize("workers", [0, 1])
async def test_metrics_of_model_code_reach_the_meters(
    serve: Any, model: Any, workers: int, eventually: Any
) -> None:
    Memory.values.clear()
    async with serve(model("Chatty"), parallel_workers=workers, plugins=[Meters()]) as kernel:
        await value(kernel, "chatty")
        await eventually(lambda: len(Memory.values) >= 2)
    assert set(Memory.values) == {
        ("loads", "counter", 1.0, ("chatty", "")),
        ("score", "histogram", 0.5, ("chatty", "")),
    }


async def test_values_of_a_models_own_classes_leave_the_worker_in_metadata_metrics_and_log_records(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    Memory.values.clear()
    async with serve(model("Named"), plugins=[Meters()]) as kernel:
        assert kernel.problems() == []
        metadata = kernel.model_metadata("named")
        assert metadata.platform == "high"
        assert metadata.parameters is not None
        assert metadata.parameters.dict() == {"level": "high"}
        await value(kernel, "named")
        await eventually(lambda: Memory.values)
        record: Any = await eventually(
            lambda: next((one for one in caplog.records if one.name == "mlsrv.mine"), None)
        )
    assert Memory.values == [("score", "histogram", 0.5, ("named", ""))]
    assert record.level == "high"


async def test_log_records_of_workers_reach_the_servers_logging(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    async with serve(model("Chatty", parameters={"version": "v1"})) as kernel:
        response = await kernel.infer(tensor_request("chatty", [0.0]), CallContext("the-id"))
        pid = response.outputs[0].data[0]
        record: Any = await eventually(
            lambda: next((r for r in caplog.records if r.name == "mlsrv.mine"), None)
        )
        assert (record.getMessage(), record.levelno, record.color) == ("seen 5", logging.WARNING, "red")
        assert (record.process, record.worker) == (pid, 1)
        assert (record.request_id, record.model, record.version) == ("the-id", "chatty", "v1")


async def test_warnings_of_workers_reach_the_servers_logging(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    async with serve(model("Old")) as kernel:
        await kernel.infer(tensor_request("old", [0.0]), CallContext("the-id"))
        record: Any = await eventually(
            lambda: next((r for r in caplog.records if r.name == "py.warnings"), None)
        )
        assert "UserWarning: this is old" in record.getMessage()
        assert (record.request_id, record.worker) == ("the-id", 1)


async def test_a_failed_request_leaves_one_record_with_the_workers_traceback(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(model("Refusing")) as kernel:
        for number, name in ((0.0, "raises"), (1.0, "refuses"), (4.0, "answers None")):
            with pytest.raises(MLSrvError):
                await kernel.infer(tensor_request("refusing", [number]), CallContext(name))
        failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(one.name, one.request_id, one.model, one.worker) for one in failures] == [  # type: ignore[attr-defined]
        ("mlsrv.requests", name, "refusing", 1) for name in ("raises", "answers None")
    ]
    assert 'raise ValueError("no such value")' in str(failures[0].exc_text)
    assert "predict returned a NoneType" in str(failures[1].exc_text)


async def test_custom_handlers_run_in_workers(serve: Any, model: Any) -> None:
    async with serve(model("Chatty")) as kernel:
        names = ["OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PYTHONPATH"]
        looked = await kernel.call("chatty", None, "look", {"names": names}, CallContext())
        assert looked["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
        assert looked["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
        assert looked["PYTHONPATH"] == os.environ.get("PYTHONPATH")
        assert await kernel.call("chatty", None, "child", {}, CallContext()) == "True"
        with pytest.raises(MLSrvError, match=r"Internal error in a worker process: .*Local"):
            await kernel.call("chatty", None, "odd", {}, CallContext())
        with pytest.raises(MLSrvError, match="cannot be sent to a worker"):
            await kernel.call("chatty", None, "look", {"names": lambda: None}, CallContext())
        assert await value(kernel, "chatty") > 0


async def test_a_worker_is_at_most_one_window_ahead_of_the_consumer(
    serve: Any, model: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    async with serve(model("Many", notes=str(notes))) as kernel:
        responses = kernel.stream(tensor_request("many", [1000.0]))
        seen = [int((await anext(responses)).outputs[0].data[0]) for _ in range(10)]
        assert seen == list(range(10))
        # The worker is no more than a window ahead of the consumer.
        await asyncio.sleep(0.1)
        assert len(notes.read_text().splitlines()) <= 10 + 16 + 8 + 1
        await responses.aclose()
        assert sum([1 async for _ in kernel.stream(tensor_request("many", [100.0]))]) == 100


async def test_the_producer_of_a_stream_waits_for_the_worker(serve: Any, model: Any) -> None:
    given = []

    async def requests() -> Any:
        for number in range(200):
            given.append(number)
            yield tensor_request("many", [1.0])

    async with serve(model("Many")) as kernel:
        responses = kernel.stream(requests())
        await anext(responses)
        await asyncio.sleep(0.1)
        assert len(given) < 80
        assert sum([1 async for _ in responses]) == 199
        assert len(given) == 200


async def test_a_request_that_the_server_refuses_ends_its_stream(serve: Any, model: Any) -> None:
    async def requests() -> Any:
        yield tensor_request("many", [3.0])
        raise mlsrv.errors.InferenceError("this one is broken")

    async with serve(model("Many")) as kernel:
        with pytest.raises(mlsrv.errors.InferenceError, match="this one is broken"):
            async for _ in kernel.stream(requests()):
                pass
        assert sum([1 async for _ in kernel.stream(tensor_request("many", [4.0]))]) == 4


async def test_cancellation_reaches_the_model(
    serve: Any, model: Any, tmp_path: Path, eventually: Any
) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    settings = model("Waiter", notes=str(notes)), model("Sleeper", notes=str(notes), polite=True)
    async with serve(*settings) as kernel:
        for name, begun, expected in (("waiter", "begun", "cancelled"), ("sleeper", "asleep", "left")):
            task = asyncio.create_task(value(kernel, name, 30.0))
            await eventually(lambda begun=begun: begun in notes.read_text())
            task.cancel()
            await eventually(lambda expected=expected: expected in notes.read_text())
        assert await value(kernel, "waiter", 0.0) in executor(kernel).pids


async def test_abandoned_requests_never_reach_a_worker(
    serve: Any, model: Any, tmp_path: Path, eventually: Any
) -> None:
    notes = tmp_path / "notes"
    async with serve(model("Sleeper", notes=str(notes)), worker_concurrency=1) as kernel:
        busy = asyncio.create_task(value(kernel, "sleeper", 2.0))
        await asyncio.sleep(0.05)
        late = [asyncio.create_task(value(kernel, "sleeper", 0.01)) for _ in range(5)]
        context = CallContext.with_timeout(0.2)
        with pytest.raises(DeadlineExceeded):
            await value(kernel, "sleeper", 0.02, context)
        for task in late:
            task.cancel()
        await busy
        await value(kernel, "sleeper", 0.0)
    assert notes.read_text().splitlines() == ["done 2.0", "done 0.0"]


async def test_queued_requests_run_by_priority(serve: Any, model: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with serve(model("Sleeper", notes=str(notes)), worker_concurrency=1) as kernel:
        tasks = [asyncio.create_task(value(kernel, "sleeper", 1.5))]
        await asyncio.sleep(0.05)
        for priority, seconds in ((0, 0.03), (5, 0.02), (1, 0.01)):
            context = CallContext(priority=priority)
            tasks.append(asyncio.create_task(value(kernel, "sleeper", seconds, context)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    assert notes.read_text().split("done ")[1:] == ["1.5\n", "0.01\n", "0.02\n", "0.03\n"]


async def test_an_abandoned_call_keeps_its_slot_until_it_ends(
    serve: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_workers.pool.pool.STUCK_AFTER", 60.0)
    async with serve(model("Sleeper"), worker_concurrency=1) as kernel:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await value(kernel, "sleeper", 3.0, CallContext.with_timeout(0.1))
        assert time.monotonic() - began < 2.5
        await value(kernel, "sleeper", 0.0)
        assert time.monotonic() - began >= 3.0


async def test_a_stuck_worker_is_restarted_with_on_deadline_restart(
    serve: Any, model: Any, eventually: Any
) -> None:
    async with serve(model("Sleeper"), on_deadline="restart") as kernel:
        (before,) = executor(kernel).pids
        with pytest.raises(DeadlineExceeded):
            await value(kernel, "sleeper", 60.0, CallContext.with_timeout(0.1))
        await eventually(lambda: executor(kernel).pids not in ([before], []) and kernel.ready)
        assert await value(kernel, "sleeper", 0.0) != before


async def test_a_slow_load_does_not_block_requests_to_other_models(serve: Any, model: Any) -> None:
    kernel: Kernel
    async with serve(model("Pid"), model("SlowLoad", seconds=3.0), load_models_at_startup=False) as kernel:
        await kernel.load("pid")
        slow = asyncio.create_task(kernel.load("slowload"))
        longest = 0.0
        while not slow.done():
            began = time.monotonic()
            await value(kernel, "pid")
            longest = max(longest, time.monotonic() - began)
        await slow
        assert longest < 2.0


async def test_models_share_pools_or_have_their_own(serve: Any, model: Any) -> None:
    models = [
        model("Pid", "default"),
        model("Pid", "own", fields={"parallel_workers": 2}),
        model("Pid", "one", fields={"pool": "shared"}),
        model("Pid", "two", parameters={"inference_pool_gid": "shared"}),
        model("Pid", "wrong", fields={"pool": "shared", "parallel_workers": 3}),
    ]
    async with serve(*models, load_models_at_startup=False) as kernel:
        for name in ("default", "own", "one", "two"):
            await kernel.load(name)
        seen = {
            name: {int(await value(kernel, name)) for _ in range(3)}
            for name in ("default", "own", "one", "two")
        }
        assert seen["one"] == seen["two"]
        assert len(seen["one"] | seen["own"] | seen["default"]) == 3
        assert len(executor(kernel).pids) == 4
        with pytest.raises(ModelLoadError, match="wants the pool shared with 3 workers, but it has 1"):
            await kernel.load("wrong")
        await kernel.unload("own")
        assert len(executor(kernel).pids) == 2
        await kernel.unload("one")
        assert await value(kernel, "two") in seen["two"]
        await kernel.unload("two")
        assert set(executor(kernel).pids) == seen["default"]


async def test_sigint_and_sigterm_do_not_end_workers(serve: Any, model: Any) -> None:
    async with serve(model("Pid")) as kernel:
        (pid,) = executor(kernel).pids
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        assert await value(kernel, "pid") == pid


PLUGIN = '''
import mlsrv
from mlsrv.settings import setting, settings_class

@settings_class
class Own:
    """Model settings."""
    flavour: str = setting("plain", help="How it tastes, in one word.")

@mlsrv.hookimpl
def mlsrv_settings():
    """One field."""
    return mlsrv.SettingsOffer("model", Own)
'''


async def test_workers_load_the_plugin_files_of_the_server(serve: Any, model: Any, tmp_path: Path) -> None:
    from mlsrv.plugins import load_plugin_file

    (tmp_path / "other.py").write_text(PLUGIN)
    load_plugin_file(tmp_path / "other.py")
    (tmp_path / "mine.py").write_text(PLUGIN)
    plugin = load_plugin_file(tmp_path / "mine.py")
    async with serve(model("Pid", fields={"flavour": "sweet"}), plugins=[plugin]) as kernel:
        assert kernel.problems() == []
        assert await value(kernel, "pid") in executor(kernel).pids


DYING = """
import os, pathlib, signal

sign = pathlib.Path(__file__).with_name("signs")
starts = len(sign.read_text()) if sign.exists() else 0
sign.write_text("x" * (starts + 1))
if 0 < starts <= NUMBER:  # the first import is that of the server
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_worker_that_is_killed_while_it_starts_is_started_once_more(
    serve: Any, model: Any, tmp_path: Path, deaths: int
) -> None:
    from mlsrv.plugins import load_plugin_file

    (tmp_path / "dying.py").write_text(DYING.replace("NUMBER", str(deaths)))
    plugin = load_plugin_file(tmp_path / "dying.py")
    async with serve(model("Pid"), plugins=[plugin]) as kernel:
        if deaths == 1:
            assert kernel.problems() == []
            assert await value(kernel, "pid") in executor(kernel).pids
        else:
            assert "SIGKILL" in kernel.handle("pid").reason
    assert len((tmp_path / "signs").read_text()) == 3


async def test_settings_that_cannot_be_sent_are_a_load_error(serve: Any) -> None:
    from mlsrv.settings import ModelParameters

    settings = ModelSettings("echo", EchoModel, ModelParameters(extra={"call": lambda: None}))
    async with serve(settings) as kernel:
        assert "its settings cannot be sent to a worker process" in kernel.handle("echo").reason


async def test_a_kernel_that_closes_during_a_load_leaves_no_processes(model: Any) -> None:
    import mlsrv_workers.plugin

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    kernel = Kernel(
        {"parallel_workers": 2, "shutdown_timeout": 0},
        models=[model("SlowLoad", seconds=60)],
        plugins=[mlsrv_workers.plugin],
        discover=False,
    )
    async with kernel:
        await asyncio.sleep(0.1)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


async def test_short_calls_run_on_the_event_loop_of_the_worker(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(model("Threaded")) as kernel:
        assert await value(kernel, "threaded") == 0.0
        await eventually_true(lambda: value(kernel, "threaded"))
        answers = await asyncio.gather(*(value(kernel, "threaded") for _ in range(20)))
        assert set(answers) == {1.0}
    assert any("run on the event loop from now on" in message for message in caplog.messages)


async def test_short_calls_stay_in_threads_if_the_settings_say_so(serve: Any, model: Any) -> None:
    async with serve(model("Threaded"), worker_short_calls=False) as kernel:
        assert [await value(kernel, "threaded") for _ in range(100)] == [0.0] * 100


async def test_a_request_that_blocks_the_event_loop_costs_the_worker_once_it_is_given_up(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(model("Threaded"), model("Pid")) as kernel:
        before = await value(kernel, "pid")
        await eventually_true(lambda: value(kernel, "threaded"))
        with pytest.raises(DeadlineExceeded):
            await value(kernel, "threaded", 600.0, CallContext.with_timeout(0.3))
        async with asyncio.timeout(30):
            while await value_or_none(kernel, "pid") in (before, None):
                await asyncio.sleep(0.05)
        assert await value(kernel, "threaded") == 0.0
    assert any("blocks its event loop" in message for message in caplog.messages)


async def eventually_true(ask: Callable[[], Awaitable[float]]) -> None:
    """Ask until the answer is true; a slow machine may need several series of calls."""
    async with asyncio.timeout(50):
        while not await ask():
            pass


async def value_or_none(kernel: Kernel, model: str) -> float | None:
    try:
        return await value(kernel, model)
    except MLSrvError:
        return None


def test_the_name_of_a_pool_tells_no_path() -> None:
    keys = [
        PoolKey("default", 1, Environment("id", f"/srv/{place}/venv", "python", (3, 11)))
        for place in ("a", "b")
    ]
    for key in keys:
        assert str(key).startswith("default in venv (")
        assert "/" not in str(key)
    assert str(keys[0]) != str(keys[1])
