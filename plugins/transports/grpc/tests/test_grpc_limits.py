"""Limits of the gRPC server by default: sizes of messages, open calls, pings of clients."""

from __future__ import annotations

import logging
import mmap
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from mlsrv_grpc.channel_arguments import DEFAULTS, KNOWN, channel_arguments
from mlsrv_grpc.settings import GrpcSettings
from mlsrv_protocol.grpc import encode_request
from mlsrv_protocol.types import InferenceRequest

SECONDS = 20
BLOCKED = encode_request(InferenceRequest([], model_name="blocking"))


def refusal(served: Any, body: bytes, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        served.method("ModelInfer")(body, timeout=SECONDS, **options)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_may_have_256_mib_also_when_it_is_unpacked(
    served: Any, compression: grpc.Compression
) -> None:
    code, details = refusal(served, b"\0" * (256 * 2**20 + 1), compression=compression)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "essage larger than max" in details
    code, _ = refusal(served, b"\0" * 1000, compression=compression)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_bomb_is_refused_by_its_unpacked_size(serve: Any) -> None:
    small = serve(grpc_max_message_length=2**20)
    code, details = refusal(small, b"\0" * 2**24, compression=grpc.Compression.Gzip)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    # Older versions of gRPC unpack it first.
    assert details in (
        "Decompressed message larger than max",
        f"SERVER: Received message larger than max ({2**24} vs. {2**20})",
    )


def test_clients_that_keep_connections_alive_are_not_cut(serve: Any, blocking: Any) -> None:
    served = serve()
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with (
        grpc.insecure_channel(served.target, options) as busy,
        grpc.insecure_channel(served.target, options) as idle,
    ):
        states: dict[str, list[grpc.ChannelConnectivity]] = {"busy": [], "idle": []}
        busy.subscribe(states["busy"].append)
        idle.subscribe(states["idle"].append)
        infer = busy.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        running = infer.future(BLOCKED, timeout=SECONDS)
        served.do(blocking.started.acquire())
        grpc.channel_ready_future(idle).result(SECONDS)
        time.sleep(4.3)  # for pings, which nothing shows
        served.loop.call_soon_threadsafe(blocking.go_on.set)
        assert running.code() is grpc.StatusCode.OK
        for seen in states.values():
            assert seen[-1] is grpc.ChannelConnectivity.READY
            assert seen.count(grpc.ChannelConnectivity.READY) == 1


def test_arguments_that_the_library_does_not_know_are_told(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "grpc.http2.min_recv_ping_interval_without_data_ms"
    given = {wrong: 5000, "grpc.max_metadata_size": 9000, "nonsense": 1, "grpc.so_reuseport": 1}
    with caplog.at_level(logging.WARNING, "mlsrv.grpc"):
        arguments = dict(channel_arguments(GrpcSettings(grpc_options=given)))
    assert arguments.items() >= given.items()
    first, second = (one.getMessage() for one in caplog.records)
    assert first == (
        f"grpc_options: the gRPC library ignores {wrong}, which it does not know; "
        "did you mean grpc.http2.min_ping_interval_without_data_ms?"
    )
    assert second == "grpc_options: the gRPC library ignores nonsense, which it does not know"


def test_the_library_knows_the_known_arguments() -> None:
    assert DEFAULTS.keys() <= KNOWN
    with (
        Path(str(cygrpc.__file__)).open("rb") as library,
        mmap.mmap(library.fileno(), 0, access=mmap.ACCESS_READ) as inside,
    ):
        assert [name for name in sorted(KNOWN) if inside.find(name.encode() + b"\0") < 0] == []
