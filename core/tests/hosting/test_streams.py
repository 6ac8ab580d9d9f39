"""Streams: requests for plain loops in threads, and responses of plain generators."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from mlsrv.hosting.streams import StreamRequests, ThreadedIterator, only, then
from mlsrv.testing import text_request
from mlsrv.threads import Threads
from mlsrv.types import InferenceRequest

ONE, TWO = text_request("m", ["1"]), text_request("m", ["2"])


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1, "test")
    yield made
    made.close()


async def test_a_stream_is_whole_again_after_its_first_request_was_taken() -> None:
    rest = only(TWO)
    assert [request async for request in then(ONE, rest)] == [ONE, TWO]


async def test_a_thread_takes_requests_with_a_plain_loop(threads: Threads) -> None:
    requests = StreamRequests(then(ONE, only(TWO)))
    assert requests.first is None
    assert await threads.run(list, requests) == [ONE, TWO]
    assert requests.first is ONE


async def test_a_plain_loop_on_the_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="with async for"):
        next(StreamRequests(only(ONE)))


async def test_an_error_of_the_client_reaches_the_thread(threads: Threads) -> None:
    async def broken() -> AsyncIterator[InferenceRequest]:
        yield ONE
        raise OSError("the client left")

    with pytest.raises(OSError, match="the client left"):
        await threads.run(list, StreamRequests(broken()))


async def test_a_closed_stream_runs_the_end_of_its_generator(threads: Threads) -> None:
    ended: list[str] = []

    def answers() -> Iterator[Any]:
        try:
            yield "first"
            yield "second"
        finally:
            ended.append("end")

    responses = ThreadedIterator(answers(), threads)
    assert await anext(responses) == "first"
    await responses.aclose()
    assert ended == ["end"]
    assert [response async for response in responses] == []


async def test_a_generator_that_is_closed_while_it_runs_ends_when_it_is_done(
    threads: Threads,
) -> None:
    begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def responses() -> Iterator[Any]:
        try:
            begun.set()
            goes_on.wait(60)
            yield None
        finally:
            ended.set()

    made = responses()  # a reference, so that it is not the collector that ends it
    stream = ThreadedIterator(made, threads)
    reading = asyncio.ensure_future(anext(stream))
    assert await asyncio.to_thread(begun.wait, 60)
    reading.cancel()
    await stream.aclose()
    assert not ended.is_set()
    goes_on.set()
    assert await asyncio.to_thread(ended.wait, 60)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_result_without_an_end_to_run_is_closed_in_silence(threads: Threads) -> None:
    responses = ThreadedIterator([], threads)
    await responses.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(responses)
