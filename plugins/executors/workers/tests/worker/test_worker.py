"""Worker: spans of requests that it answers, and plugins that it loads."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

import mlsrv
from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv.interceptor import CallNext, Interceptor, Phase
from mlsrv.plugins import load_plugin_file
from mlsrv.testing import tensor_request
from mlsrv.timeline import Timeline
from mlsrv.types import InferenceRequest, InferenceResponse

MS = 1_000_000


class Observer(Interceptor):
    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.seen: list[Timeline] = []

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        self._keep(context)
        return await call_next(request, context)

    async def stream(self, requests: Any, context: CallContext, call_next: Any) -> Any:
        self._keep(context)
        async for response in call_next(requests, context):
            yield response

    def _keep(self, context: CallContext) -> None:
        assert context.timeline is not None
        self.seen.append(context.timeline)

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> Interceptor:
        return self


@pytest.mark.parametrize("workers", [0, 1, 2])
async def test_the_phases_of_a_worker_are_on_the_clock_of_the_server(
    serve: Any, model: Any, workers: int
) -> None:
    observer = Observer()
    async with serve(model("Sleeper"), plugins=[observer], parallel_workers=workers) as kernel:
        began = time.monotonic_ns()
        await asyncio.gather(*(kernel.infer(tensor_request("sleeper", [0.05])) for _ in range(3)))
        ended = time.monotonic_ns()
    assert len(observer.seen) == 3
    for timeline in observer.seen:
        assert {phase for phase, _, _ in timeline.spans} == {"queue", "predict"}
        assert all(began <= begin <= end <= ended for _, begin, end in timeline.spans)
        assert timeline.durations()["predict"] >= 50 * MS


async def test_waiting_for_a_worker_counts_as_queue_time(serve: Any, model: Any) -> None:
    observer = Observer()
    async with serve(model("Sleeper"), plugins=[observer], worker_concurrency=1) as kernel:
        await asyncio.gather(*(kernel.infer(tensor_request("sleeper", [0.1])) for _ in range(2)))
    waits = sorted(timeline.durations()["queue"] for timeline in observer.seen)
    assert waits[0] < 100 * MS <= waits[1]


async def test_failures_and_streams_report_their_phases(serve: Any, model: Any) -> None:
    observer = Observer()
    async with serve(model("Refusing"), model("Many"), plugins=[observer]) as kernel:
        with pytest.raises(MLSrvError, match="no such value"):
            await kernel.infer(tensor_request("refusing", [0.0]))
        async for _ in kernel.stream(tensor_request("many", [3.0])):
            pass
    failed, streamed = observer.seen
    assert {phase for phase, _, _ in failed.spans} == {"queue", "predict"}
    assert [phase for phase, _, _ in streamed.spans].count("predict") == 6, "opened, 3, end, closed"


AROUND = '''
import contextlib, json, os
import mlsrv

@mlsrv.hookimpl
def mlsrv_user_code(settings, model):
    """Write the trace context of each call to a file."""
    @contextlib.contextmanager
    def around(context):
        note = {"pid": os.getpid(), "model": model.name, "trace": dict(context.trace)}
        note["links"] = [dict(link.trace) for link in context.links]
        with open(settings["server_name"], "a") as file:
            file.write(json.dumps(note) + "\\n")
        yield
    return around
'''


async def test_user_code_hooks_run_around_model_code_in_the_worker(
    serve: Any, model: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    (tmp_path / "around.py").write_text(AROUND)
    plugin = load_plugin_file(tmp_path / "around.py")
    members = [CallContext(trace={"traceparent": str(number)}) for number in range(2)]
    context = CallContext(trace=members[0].trace, links=members)
    async with serve(model("Pid"), plugins=[plugin], server_name=str(notes)) as kernel:
        response = await kernel.infer(tensor_request("pid", [0.0]), context)
    (line,) = notes.read_text().splitlines()
    assert json.loads(line) == {
        "pid": int(response.outputs[0].data[0]),
        "model": "pid",
        "trace": {"traceparent": "0"},
        "links": [{"traceparent": "0"}, {"traceparent": "1"}],
    }
    assert json.loads(line)["pid"] != os.getpid()
