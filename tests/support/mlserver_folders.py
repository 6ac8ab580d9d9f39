"""Folders for MLServer: writes one with every model of a module of idioms, and asks a server everything.

The module is ``plugins/compat/mlserver/tests/idioms/idioms.py``; it runs on mlsrv and on MLServer.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workspace import ROOT

IDIOMS = ROOT / "plugins/compat/mlserver/tests/idioms/idioms.py"
TRUTH = IDIOMS.with_name("answers_of_mlserver.json")
"""The answers of MLServer 1.7.1, with the requests; written by tests/mlserver."""

SECONDS = 30

DIFFERENCES = {
    "Root[2]": "the numbers of an FP64 input are floats, however the client wrote them",
    "TextRequest[0]": "the server names model and version in every answer",
    "Constructed[0]": "the server names model and version in every answer",
}
"""Answers that differ on purpose, with the reason."""


def truth() -> dict[str, Any]:
    """The requests to each model, the custom endpoints, and the answers of MLServer."""
    found: dict[str, Any] = json.loads(TRUTH.read_text(encoding="utf-8"))
    return found


def write(folder: Path, names: Iterable[str], **server: Any) -> None:
    """Write the folder, a model in each folder below it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    for name in names:
        model = folder / name
        model.mkdir()
        shutil.copy(IDIOMS, model / "idioms.py")
        (model / "weights.json").write_text('{"w": 3}', encoding="utf-8")
        settings: dict[str, Any] = {
            "name": name,
            "implementation": f"idioms.{name}",
            "parameters": {"uri": "./weights.json", "version": "v1", "extra": {"a": 1}},
        }
        if name == "Batched":
            settings |= {"max_batch_size": 4, "max_batch_time": 0.01}
        (model / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")


def ask(url: str, path: str, body: Any = None, method: str = "POST") -> tuple[int, Any, str]:
    """Return status, body (JSON or text) and the header ``x-answer`` of a response."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-custom": "mine"}
    wanted = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(wanted, timeout=SECONDS) as response:
            return response.status, _plain(response.read()), response.headers.get("x-answer", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _plain(error.read()), ""


def ask_everything(url: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return every answer of a server, in a form to be compared.

    Args:
        url: of the server.
        asked: ``requests``, ``handlers`` as in `truth`.
    """
    found: dict[str, Any] = {}
    for name, bodies in asked["requests"].items():
        for index, body in enumerate(bodies):
            found[f"{name}[{index}]"] = comparable(ask(url, f"/v2/models/{name}/versions/v1/infer", body))
        metadata = ask(url, f"/v2/models/{name}/versions/v1", method="GET")
        found[f"{name} metadata"] = comparable(metadata)
    for name in ("Streams", "StreamsEncoded"):
        path = f"/v2/models/{name}/versions/v1/infer_stream"
        status, text, _ = ask(url, path, asked["requests"][name][0])
        found[f"{name} stream"] = [comparable((status, event, "")) for event in _events(text)]
    for method, path, body in asked["handlers"]:
        key = f"{method} {path}" if f"{method} {path}" not in found else f"{method} {path} {json.dumps(body)}"
        found[key] = comparable(ask(url, path, body, method))
    return found


def comparable(answer: tuple[int, Any, str]) -> list[Any]:
    """Return an answer without what is known to differ.

    Left out are ids, the versions of metadata (those that are loaded, here), headers of CloudEvents, fields
    without a value, and the texts of failures of code. Numbers are rounded to the precision of FP32.
    """
    status, body, header = answer
    if status == 500:
        return [status]
    if isinstance(body, dict):
        kept = {key: value for key, value in body.items() if key not in ("id", "versions")}
        headers = (kept.get("parameters") or {}).get("headers", {})
        if any(name.startswith("Ce-") for name in headers):
            del kept["parameters"]["headers"]
        body = _without_empty(kept)
    return [status, _rounded(body), header]


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _without_empty(item) for key, item in value.items()}
        return {
            key: item for key, item in inner.items() if item is not None and (key, item) != ("parameters", {})
        }
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _events(text: Any) -> list[Any]:
    lines = text.splitlines() if isinstance(text, str) else []
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def _plain(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
