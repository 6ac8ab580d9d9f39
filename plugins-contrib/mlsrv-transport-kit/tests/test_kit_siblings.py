"""Siblings: ports that processes share, and sums over processes."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

import mlsrv
from mlsrv.errors import ConfigurationError
from mlsrv_transport_kit import Siblings, bind_all, siblings_of, statistics_of
from mlsrv_transport_kit.metric_sums import MetricSums
from mlsrv_transport_kit.statistic_sums import summed


class Several(Siblings):
    """A process with siblings that answer the same."""

    share_ports = True

    def __init__(self, *found: Any, are_there: bool = False) -> None:
        super().__init__()
        self.are_there = are_there
        self.asked: list[tuple[str, Any]] = []
        self._found = found

    async def ask(self, topic: str, argument: Any = None) -> Sequence[Any]:
        self.asked.append((topic, argument))
        return self._found


def test_siblings_share_a_port(free_port: int) -> None:
    (first,) = bind_all("127.0.0.1", free_port, server="REST", setting="http_port", siblings=Several())
    later = Several(are_there=True)
    (second,) = bind_all("127.0.0.1", free_port, server="REST", setting="http_port", siblings=later)
    with first, second:
        accepted = set()
        for _ in range(64):
            with socket.create_connection(("127.0.0.1", free_port), timeout=10):
                for one in (first, second):
                    try:
                        one.accept()[0].close()
                    except BlockingIOError:
                        continue
                    accepted.add(one)
        assert accepted == {first, second}


def test_the_first_of_several_needs_a_free_port(free_port: int) -> None:
    with bind_all("127.0.0.1", free_port, server="REST", setting="http_port", siblings=Several())[0]:
        with pytest.raises(ConfigurationError, match="already in use"):
            bind_all("127.0.0.1", free_port, server="REST", setting="http_port", siblings=Several())
        with pytest.raises(ConfigurationError, match="already in use"):
            bind_all("127.0.0.1", free_port, server="REST", setting="http_port")


def test_several_share_a_port_that_the_first_was_given() -> None:
    first, later = Several(), Several(are_there=True)
    (one,) = bind_all("127.0.0.1", 0, server="REST", setting="http_port", siblings=first)
    later.ports = first.ports
    (other,) = bind_all("127.0.0.1", 0, server="REST", setting="http_port", siblings=later)
    with one, other:
        assert other.getsockname() == one.getsockname()
        assert first.ports == {"http_port": one.getsockname()[1]}


async def test_a_kernel_alone_has_no_siblings() -> None:
    async with mlsrv.Kernel(discover=False) as kernel:
        alone = siblings_of(kernel)
        assert alone is siblings_of(kernel)
        assert not alone.share_ports
        assert await alone.ask("statistics") == ()
        assert await alone.sum_metrics([["m", "", "gauge", []]]) == [["m", "", "gauge", []]]
        assert await statistics_of(kernel) == []


async def test_statistics_are_those_of_all() -> None:
    several = Several([{"name": "m", "version": "1", "inference_count": 2}])
    async with mlsrv.Kernel(discover=False) as kernel:
        kernel.shared.get(Siblings, lambda: several)
        assert await statistics_of(kernel) == [{"name": "m", "version": "1", "inference_count": 2}]
    assert several.asked == [("statistics", [None, None])]


def test_statistics_are_summed() -> None:
    one = {
        "name": "m",
        "version": "1",
        "last_inference": 100,
        "inference_count": 3,
        "inference_stats": {"success": {"count": 3, "ns": 30}},
        "batch_stats": [{"batch_size": 2, "compute_infer": {"count": 1, "ns": 5}}],
        "memory_usage": [],
    }
    other = {
        "name": "m",
        "version": "1",
        "last_inference": 90,
        "inference_count": 4,
        "inference_stats": {"success": {"count": 4, "ns": 50}},
        "batch_stats": [
            {"batch_size": 2, "compute_infer": {"count": 2, "ns": 6}},
            {"batch_size": 4, "compute_infer": {"count": 1, "ns": 7}},
        ],
        "memory_usage": [],
    }
    alone = {"name": "n", "version": "1", "inference_count": 1}
    assert summed([[one], [other, alone]]) == [
        {
            "name": "m",
            "version": "1",
            "last_inference": 100,
            "inference_count": 7,
            "inference_stats": {"success": {"count": 7, "ns": 80}},
            "batch_stats": [
                {"batch_size": 2, "compute_infer": {"count": 3, "ns": 11}},
                {"batch_size": 4, "compute_infer": {"count": 1, "ns": 7}},
            ],
            "memory_usage": [],
        },
        alone,
    ]


def families(count: float, in_flight: float, ready: float) -> list[Any]:
    labels = {"model": "m"}
    found = [
        ["done", "Done.", "counter", [["done_total", labels, count], ["done_created", labels, 100 + count]]],
        ["in_flight", "Now.", "gauge", [["in_flight", labels, in_flight]]],
        ["mlsrv_model_ready", "Ready.", "gauge", [["mlsrv_model_ready", labels, ready]]],
        [
            "seconds",
            "Time.",
            "histogram",
            [
                ["seconds_bucket", {"le": "1.0"}, count],
                ["seconds_count", {}, count],
                ["seconds_sum", {}, 0.5],
            ],
        ],
    ]
    copied: list[Any] = json.loads(json.dumps(found))  # as it travels
    return copied


def values(sums: MetricSums) -> dict[str, float]:
    return {sample: value for _, _, _, samples in sums.families() for sample, _, value in samples}


def test_metrics_are_summed() -> None:
    sums = MetricSums()
    sums.add(families(3, 1, 1))
    sums.add(families(4, 2, 0))
    assert values(sums) == {
        "done_total": 7,
        "done_created": 103,
        "in_flight": 3,
        "mlsrv_model_ready": 0,
        "seconds_bucket": 7,
        "seconds_count": 7,
        "seconds_sum": 1,
    }
    assert next(family[:3] for family in sums.families()) == ["done", "Done.", "counter"]


def test_what_an_ended_process_counted_stays_in_the_sums() -> None:
    sums = MetricSums()
    sums.add(families(3, 1, 1))
    sums.add(families(4, 2, 0), ended=True)
    assert values(sums) == {
        "done_total": 7,
        "done_created": 103,
        "in_flight": 1,
        "mlsrv_model_ready": 1,
        "seconds_bucket": 7,
        "seconds_count": 7,
        "seconds_sum": 1,
    }


def test_series_with_other_labels_stay_apart() -> None:
    sums = MetricSums()
    for label in ("a", "b", "a"):
        sums.add([["done", "", "counter", [["done_total", {"model": label, "version": "1"}, 1.0]]]])
    assert sums.families() == [
        [
            "done",
            "",
            "counter",
            [
                ["done_total", {"model": "a", "version": "1"}, 2.0],
                ["done_total", {"model": "b", "version": "1"}, 1.0],
            ],
        ]
    ]
