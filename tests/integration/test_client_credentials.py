"""Credentials of clients and commands: keys, headers and certificates, as options and as variables."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from attrs import frozen

from mlsrv import Kernel, ModelSettings
from mlsrv.authorization import ACTIONS
from mlsrv.testing import EchoModel
from mlsrv_keys.key_file import Key, write_keys
from mlsrv_protocol.client import AsyncClient, Client
from mlsrv_protocol.client.errors import ConnectionFailed
from mlsrv_protocol.errors import InvalidPayload

SECONDS = 120


@frozen
class Server:
    rest: str
    grpc: str
    metrics: str


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Server]:
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    given = {"host": "127.0.0.1", **ports, **settings}
    stop, listening = asyncio.Event(), asyncio.Event()
    models = [ModelSettings(name="echo", implementation=EchoModel)]
    async with Kernel(given, models=models, block=["kafka", "workers", "files"]) as kernel:
        await kernel.loaded()
        task = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        await asyncio.wait_for(listening.wait(), SECONDS)
        urls = {name: transport.endpoints[0] for name, transport in kernel.transports.items()}
        yield Server(urls["rest"], urls["grpc"], urls["prometheus"])
        stop.set()
        await task


async def mlsrv(*arguments: str, **variables: str) -> tuple[int | None, str]:
    """Run a command; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mlsrv_cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"} | variables,
    )
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    return process.returncode, output.decode()


@pytest.mark.timeout(300)
async def test_a_server_that_asks_for_certificates(tmp_path: Path) -> None:
    authority, paths = trustme.CA(), {name: str(tmp_path / name) for name in ("ca", "server", "robot", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(paths["server"])
    robot = authority.issue_cert("robot.invalid", common_name="robot")
    robot.private_key_and_cert_chain_pem.write_to_path(paths["robot"])
    robot.private_key_pem.write_to_path(paths["key"])
    tls = {"tls_cert": paths["server"], "tls_ca": paths["ca"]}
    rights = {"certificate_rights": {"robot": list(ACTIONS)}}
    async with serving(**tls, **rights) as server:
        for url in (server.rest, server.grpc):
            for cert in (paths["robot"], (paths["robot"], paths["key"])):
                async with AsyncClient(url, verify=paths["ca"], cert=cert) as client:
                    assert (await client.infer("echo", {"x": np.ones(2)})).response.outputs
            async with AsyncClient(url, verify=paths["ca"], retries=0, timeout=20) as client:
                with pytest.raises(ConnectionFailed):
                    await client.ready()
        variables = {
            "MLSRV_CLIENT_URL": server.rest,
            "MLSRV_CLIENT_CA": paths["ca"],
            "MLSRV_CLIENT_CERT": paths["robot"],
            "MLSRV_CLIENT_CERT_KEY": paths["key"],
        }
        for arguments in (
            ("models", "list"),
            ("models", "describe", "echo"),
            ("top", "--once", "--interval", "0.1", "--metrics-url", server.metrics),
        ):
            code, output = await mlsrv(*arguments, **variables)
            assert code == 0, output
            assert "echo" in output
            assert "No metrics" not in output
        options = ("--url", server.grpc, "--ca", paths["ca"], "--cert", paths["robot"])
        code, output = await mlsrv("models", "list", *options)
        assert code == 0, output
        code, output = await mlsrv("models", "list", *options[:4])
        assert code == 1
        assert "Traceback" not in output


@pytest.mark.timeout(300)
async def test_keys_and_headers_from_the_environment(tmp_path: Path) -> None:
    key, text = Key.make("robot", dict.fromkeys(ACTIONS, ("*",)))
    write_keys(tmp_path / "keys.json", {key.id: key})
    (tmp_path / "key").write_text(f"{text}\n")
    (tmp_path / "rows.jsonl").write_text('{"x": 1.0}\n')
    async with serving(keys_file=str(tmp_path / "keys.json"), keys_header="x-api-key") as server:
        for url in (server.rest, server.grpc):
            for variables in (
                {"MLSRV_CLIENT_KEY": text},
                {"MLSRV_CLIENT_KEY": f"@{tmp_path / 'key'}"},
                {"MLSRV_CLIENT_HEADERS": f"x-more: 1\nx-api-key: {text}\n"},
            ):
                code, output = await mlsrv("models", "list", MLSRV_CLIENT_URL=url, **variables)
                assert code == 0, output
                assert "echo" in output
        rows = str(tmp_path / "rows.jsonl")
        code, output = await mlsrv("infer", "echo", rows, MLSRV_CLIENT_URL=server.rest, MLSRV_CLIENT_KEY=text)
        assert code == 0, output
        code, output = await mlsrv("models", "list", MLSRV_CLIENT_URL=server.rest)
        assert code == 2
        assert "This server needs a key" in output
        code, output = await mlsrv(
            "models", "list", "--key", "wrong", MLSRV_CLIENT_URL=server.rest, MLSRV_CLIENT_KEY=text
        )
        assert code == 2  # an option counts more than the environment
        code, output = await mlsrv("models", "list", "--help", MLSRV_CLIENT_KEY=text)
        assert code == 0
        assert "MLSRV_CLIENT_KEY" in output
        assert text not in output


async def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    code, output = await mlsrv("models", "list", "--url", "https://127.0.0.1:1", "--cert", "none.pem")
    assert code == 2
    assert "none.pem" in output
    code, output = await mlsrv("models", "list", "--cert-key", str(tmp_path / "none.pem"))
    assert code == 2
    assert "--cert-key: name the certificate, too" in output
    code, output = await mlsrv(
        "models", "list", "--url", "https://127.0.0.1:1", "--cert", str(tmp_path / "none.pem")
    )
    assert code == 2
    assert "cannot be read as a certificate and its private key" in output
    with pytest.raises(InvalidPayload, match="cannot be read as a certificate"):
        Client("https://127.0.0.1:1", cert=str(tmp_path / "none.pem"))
