"""Folders: writes a folder with every model of `idioms`, and asks a running server everything.

Run as a program (``python folders.py FOLDER``), it writes the folder.
"""

import json
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def write(folder: Path, names: list[str], **server: Any) -> None:
    """Write the folder, a model in each folder below it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"debug": False, "parallel_workers": 0, **server}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    for name in names:
        model = folder / name
        model.mkdir()
        shutil.copy(HERE / "idioms.py", model / "idioms.py")
        (model / "weights.json").write_text('{"w": 3}', encoding="utf-8")
        more = {"max_batch_size": 4, "max_batch_time": 0.01} if name == "Batched" else {}
        settings = {
            "name": name,
            "implementation": f"idioms.{name}",
            "parameters": {"uri": "./weights.json", "version": "v1", "extra": {"a": 1}},
        }
        (model / "model-settings.json").write_text(json.dumps(settings | more), encoding="utf-8")


def ask(url: str, path: str, body: Any = None, method: str = "POST") -> tuple[int, Any, str]:
    """Return status, body (JSON or text) and the header ``x-answer`` of a response."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-custom": "mine"}
    wanted = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(wanted, timeout=30) as response:
            return response.status, _plain(response.read()), response.headers.get("x-answer", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _plain(error.read()), ""


def ask_everything(url: str, requests: dict[str, Any], handlers: list[Any]) -> dict[str, Any]:
    """Return every answer of a server, comparable: ids are left out, and the texts of errors of code."""
    found: dict[str, Any] = {}
    for name, bodies in requests.items():
        for index, body in enumerate(bodies):
            answer = ask(url, f"/v2/models/{name}/versions/v1/infer", body)
            found[f"{name}[{index}]"] = comparable(answer)
        found[f"{name} metadata"] = comparable(ask(url, f"/v2/models/{name}/versions/v1", method="GET"))
    stream = ask(url, "/v2/models/Streams/versions/v1/infer_stream", requests["Streams"][0])
    found["stream"] = [comparable((stream[0], event, "")) for event in _events(stream[1])]
    for method, path, body in handlers:
        found[f"{method} {path}"] = comparable(ask(url, path, body, method))
    return found


def comparable(answer: tuple[int, Any, str]) -> list[Any]:
    """Return an answer without what no two servers share."""
    status, body, header = answer
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key != "id"}
        if body.get("parameters") == {}:
            del body["parameters"]
        for tensor in (*body.get("outputs", ()), *body.get("inputs", ())):
            if tensor.get("parameters") == {}:
                del tensor["parameters"]
        if status == 500 and "error" in body:
            body["error"] = ""
    return [status, body, header]


def _events(text: Any) -> list[Any]:
    lines = text.splitlines() if isinstance(text, str) else []
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def _plain(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    from idioms import REQUESTS  # type: ignore[import-not-found]  # beside this file

    write(Path(sys.argv[1]), list(REQUESTS))
