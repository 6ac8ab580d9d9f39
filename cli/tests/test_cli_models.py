"""``mlsrv models`` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


@pytest.fixture
def url(start, add_model, free_port: int) -> str:
    """A server with the models a (versions 1 and 2) and broken."""
    inputs = [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    for version in ("1", "2"):
        add_model(f"a{version}", name="a", parameters={"version": version}, inputs=inputs)
    add_model("broken", implementation="code_of_it.Nothing")
    start("--http-port", str(free_port)).wait_for("2 of 3 models ready")
    return f"http://127.0.0.1:{free_port}"


def test_models_are_listed_described_unloaded_and_loaded(url: str, mlsrv) -> None:
    listed = mlsrv("models", "list", "--url", url)
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["name", "version", "state", "reason"]
    assert [line.split()[:3] for line in lines[1:3]] == [["a", "1", "READY"], ["a", "2", "READY"]]
    assert "Nothing" in lines[3]
    ready = json.loads(mlsrv("models", "list", "--ready", "--json", "--url", url).stdout)
    assert [(item["name"], item["version"]) for item in ready] == [("a", "1"), ("a", "2")]

    described = mlsrv("models", "describe", "a", "--version", "1", "--url", url).stdout
    assert "FP32" in described
    assert "0 requests answered" in described
    assert json.loads(mlsrv("models", "describe", "a", "--json", "--url", url).stdout)["name"] == "a"

    assert mlsrv("models", "unload", "a", "--url", url).stdout == "Model a is unloaded.\n"
    assert mlsrv("models", "describe", "a", "--url", url).returncode == 1
    assert mlsrv("models", "load", "a", "--url", url).stdout == "Model a is loaded.\n"


def test_failures_are_one_line(url: str, mlsrv, free_ports: list[int]) -> None:
    for arguments, code in (
        (("load", "nope", "--url", url), 1),
        (("load", "broken", "--url", url), 1),
        (("list", "--url", f"http://127.0.0.1:{free_ports[0]}"), 1),
        (("list", "--url", "nonsense"), 2),
        (("describe", "--url", url), 2),
    ):
        done = mlsrv("models", *arguments)
        assert done.returncode == code, done
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr


def test_a_server_with_a_private_authority(
    start, mlsrv, only_tiny, add_model, free_port: int, tmp_path: Path
) -> None:
    add_model("good")
    authority, pem, ca = trustme.CA(), tmp_path / "both.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    start("--http-port", str(free_port), "--http-tls-cert", str(pem)).wait_for("1 of 1 models ready")
    url = f"https://127.0.0.1:{free_port}"
    for options, env in (
        (["--ca", ca], {}),
        (["--insecure"], {}),
        ([], {"SSL_CERT_FILE": str(ca)}),
    ):
        done = mlsrv("models", "list", "--url", url, *options, env=env)
        assert done.returncode == 0, done.stderr
        assert "good" in done.stdout
    stranger = mlsrv("models", "list", "--url", url)
    assert stranger.returncode == 1
    assert "its certificate is not trusted" in stranger.stderr
    assert "is it running" not in stranger.stderr
    plain = mlsrv("models", "list", "--url", url.replace("https", "http"))
    assert plain.returncode == 1
    assert "https://" in plain.stderr
    wrong = mlsrv("models", "list", "--url", url, "--ca", Path(__file__))
    assert wrong.returncode == 2
    assert "cannot be read as certificates" in wrong.stderr
    looked = mlsrv("top", "--once", "--interval", "0.1", "--url", url, "--ca", ca)
    assert looked.returncode == 0, looked.stderr
    assert "good" in looked.stdout


@pytest.mark.parametrize("header", ["nonsense", ": x", "a: b\nc: d"])
def test_a_header_that_is_none(mlsrv, header: str) -> None:
    done = mlsrv("models", "list", "--header", header)
    assert done.returncode == 2
    assert 'expected "NAME: VALUE"' in done.stderr
