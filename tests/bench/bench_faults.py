"""What faults cost: memory that failures and reloads leave, and how long others or many models wait.

Run it as a plain script; names of figures as arguments choose some of them. Each figure has a server of its
own (``mlsrv start``, every installed plugin), whose memory is the resident memory of its processes together.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from attrs import define
from h2.connection import H2Connection

from mlsrv_protocol.grpc import INFERENCE, encode_request
from mlsrv_protocol.types import InferenceRequest, RequestInput

MODELS = """
import asyncio
import numpy as np
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

MiB = 2**20

class Failing(MLModel):
    def predict(self, payload):
        features = np.ones(100 * MiB // 8)
        raise ValueError("bad input")

class Large(MLModel):
    async def load(self):
        self.me = self  # what holds a model in a cycle is freed by the collector alone
        self.weights = np.ones(200 * MiB // 8)
        return True

    async def predict(self, payload):
        return InferenceResponse(outputs=[])

class Talkative(MLModel):
    async def predict(self, payload):
        data = np.zeros(MiB)
        return InferenceResponse(outputs=[ResponseOutput("y", [MiB], "FP64", data)])
"""
MIB = 2**20
INPUT = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}
ASKED = json.dumps({"inputs": [INPUT]}).encode()
BINARY = json.dumps({"inputs": [INPUT], "parameters": {"binary_data_output": True}}).encode()
PATIENCE = 180.0
TEXT = '"ab",'
CLIENTS = 60
HELD_FOR = 90.0
FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "catboost")
EACH = 9
ROUNDS = 3
START = """
import asyncio, sys, time
from mlsrv import Kernel
if sys.argv[2] == "concurrent":
    try:
        from mlsrv_hosting_kit import import_lock
        import_lock.install = lambda _: None
    except ImportError:
        pass
async def main():
    began = time.perf_counter()
    async with Kernel({"model_repository_root": sys.argv[1], "executor": "inline"}) as kernel:
        await kernel.loaded()
        print(time.perf_counter() - began, len(kernel.problems()))
asyncio.run(main())
"""


@define
class Server:
    """A server that was started for one figure."""

    url: str
    port: int
    grpc_port: int
    process: psutil.Process

    @property
    def memory(self) -> float:
        """MiB of resident memory of all its processes."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_info().rss for one in processes) / MIB

    def settled(self) -> float:
        """MiB of memory once it does not change any more."""
        last = self.memory
        for _ in range(20):
            time.sleep(0.25)
            now = self.memory
            if abs(now - last) < 0.5:
                break
            last = now
        return self.memory


@contextmanager
def serving(model: str, workers: int = 1) -> Iterator[Server]:
    """A server with one model of `MODELS`, that is ready."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, grpc_port = (int(probe.getsockname()[1]) for probe in (one, other))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "m")
        place.mkdir()
        (place / "models.py").write_text(MODELS)
        settings = {"name": "m", "implementation": f"models.{model}"}
        (place / "model-settings.json").write_text(json.dumps(settings))
        ports = {"http_port": port, "grpc_port": grpc_port, "metrics_port": 0}
        values = {"host": "127.0.0.1", "parallel_workers": workers, **ports}
        Path(folder, "settings.json").write_text(json.dumps(values))
        command = [str(Path(sys.executable).with_name("mlsrv")), "start", folder]
        with Path(folder, "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            yield Server(url, port, grpc_port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


def wait_ready(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the server is not ready")


def infer(server: Server, body: bytes = ASKED) -> int:
    return httpx.post(f"{server.url}/v2/models/m/infer", content=body, timeout=PATIENCE).status_code


def failing_requests() -> None:
    for workers in (1, 0):
        with serving("Failing", workers) as server:
            infer(server)
            before = server.settled()
            highest = before

            def ask(server: Server = server) -> None:
                for _ in range(15):
                    infer(server)

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                highest = max(highest, server.memory)
                time.sleep(0.05)
            where = "in a worker" if workers else "inline"
            show(
                f"60 failing requests with 100 MiB, 4 clients, {where}: MiB more afterwards",
                server.settled() - before,
            )
            show(f"  at most, while they run, {where}", highest - before)


def reloads() -> None:
    for workers in (1, 0):
        with serving("Large", workers) as server:
            where = "in a worker" if workers else "inline"
            loaded = server.settled()
            highest = loaded
            repository = f"{server.url}/v2/repository/models/m"
            done = threading.Event()

            def watch(server: Server = server, done: threading.Event = done) -> None:
                nonlocal highest
                while not done.wait(0.02):
                    highest = max(highest, server.memory)

            watching = threading.Thread(target=watch)
            watching.start()
            for _ in range(8):
                httpx.post(f"{repository}/load", timeout=PATIENCE).raise_for_status()
            after = server.settled()
            httpx.post(f"{repository}/unload", timeout=PATIENCE).raise_for_status()
            unloaded = server.settled()
            done.set()
            watching.join()
            one = 200.0
            show(
                f"8 reloads of a model of 200 MiB in a cycle, {where}: copies at most",
                (highest - loaded) / one + 1,
            )
            show(f"  copies after the last reload, {where}", (after - loaded) / one + 1)
            show(f"  copies after the unload, {where}", (unloaded - loaded) / one + 1)


def hostile_bodies() -> None:
    empty = "[]," * (16 * MIB // 3 - 100)
    tensor = json.dumps([INPUT])
    hostile = {
        "a parameter of empty arrays": f'{{"parameters":{{"a":[{empty}[]]}},"inputs":{tensor}}}',
        "an unknown key of empty arrays": f'{{"zz":[{empty}[]],"inputs":{tensor}}}',
        "a million keys": f'{{"parameters":{{{",".join(map(_key, range(1_000_000)))}}},"inputs":{tensor}}}',
        "data of empty arrays": f'{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP64",'
        f'"data":[{empty}[]]}}]}}',
        "a tensor of numbers": f'{{"inputs":[{{"name":"x","shape":[4000000],"datatype":"FP64",'
        f'"data":[{"1.5," * 3_999_999}1.5]}}]}}',
        "a tensor of texts": f'{{"inputs":[{{"name":"x","shape":[3000000],"datatype":"BYTES",'
        f'"data":[{TEXT * 2_999_999}"ab"]}}]}}',
    }
    for name, body in hostile.items():
        for path in ("models/m/infer", "repository/index"):
            with serving("Talkative") as server:
                worst = asyncio.run(worst_live(server, path, body.encode()))
                show(f"16 MiB to /v2/{path}, {name}: worst /v2/health/live in seconds", worst)


def _key(number: int) -> str:
    return f'"{number:09}":1'


async def worst_live(server: Server, path: str, body: bytes) -> float:
    """The longest time of a health check while a body is sent and answered."""
    worst = 0.0
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
        await client.get("/v2/health/live")
        sending = asyncio.create_task(_sent(client.post(f"/v2/{path}", content=body)))
        while not sending.done():
            began = time.perf_counter()
            await client.get("/v2/health/live")
            worst = max(worst, time.perf_counter() - began)
            await asyncio.sleep(0.01)
    return worst


async def _sent(request: Awaitable[httpx.Response]) -> None:
    try:
        await request
    except httpx.TransportError:
        return  # it was refused before all of it was sent


def silent_clients() -> None:
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BINARY)}\r\n\r\n".encode()
    for wire, asked in (("HTTP/1.1", head + BINARY), ("gRPC", grpc_call())):
        hold(wire, asked)


def grpc_call() -> bytes:
    """What a client of gRPC writes for one call, without reading anything."""
    connection = H2Connection()
    connection.initiate_connection()
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{INFERENCE}/ModelInfer",
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    connection.send_headers(1, list(headers.items()))
    tensor = RequestInput("x", [1], "FP64", [1.0])
    message = encode_request(InferenceRequest(model_name="m", inputs=[tensor]))
    connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    return bytes(connection.data_to_send())


def hold(wire: str, asked: bytes) -> None:
    with serving("Talkative") as server:
        infer(server, BINARY)
        before = server.settled()
        clients = []
        for _ in range(CLIENTS):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.grpc_port if wire == "gRPC" else server.port))
            client.sendall(asked)
            clients.append(client)
        time.sleep(5)
        what = f"{CLIENTS} clients over {wire} that do not read 8 MiB each"
        show(f"{what}: MiB held after 5 s", server.memory - before)
        time.sleep(HELD_FOR - 5)
        left = [
            one
            for one in server.process.net_connections("tcp")
            if one.status == psutil.CONN_ESTABLISHED and one.laddr.port in (server.port, server.grpc_port)
        ]
        show(f"  connections left after {HELD_FOR:g} s", len(left))
        show("  MiB held then", server.settled() - before)
        for client in clients:
            client.close()


def start_of_many_models() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        seconds: dict[str, list[float]] = {"as it is": [], "concurrent": []}
        failed = dict.fromkeys(seconds, 0)
        for _ in range(ROUNDS):
            for how, measured in seconds.items():
                command = [sys.executable, "-c", START, folder, how]
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
                took, problems = done.stdout.split()
                measured.append(float(took))
                failed[how] += int(problems)
    for how, measured in seconds.items():
        name = f"{EACH * len(FRAMEWORKS)} models of {len(FRAMEWORKS)} frameworks, {how}: seconds"
        show(name, statistics.median(measured))
        show(f"  models that failed, of {ROUNDS} starts", failed[how])
    show(
        "  as it is / concurrent",
        statistics.median(seconds["as it is"]) / statistics.median(seconds["concurrent"]),
    )


def write_models(folder: Path) -> None:
    """Train one small model with each framework, and write it several times."""
    import catboost
    import joblib
    import lightgbm
    import numpy as np
    import xgboost
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, y = rng.random((60, 4)), rng.integers(0, 2, 60)
    trained = {
        "sklearn": (LogisticRegression().fit(x, y), "model.joblib"),
        "xgboost": (xgboost.XGBClassifier(n_estimators=5).fit(x, y), "model.json"),
        "lightgbm": (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y).booster_, "model.txt"),
        "catboost": (
            catboost.CatBoostClassifier(5, verbose=False, allow_writing_files=False).fit(x, y),
            "model.cbm",
        ),
    }
    for framework in FRAMEWORKS:
        model, name = trained[framework]
        for number in range(EACH):
            place = folder / f"{framework}-{number}"
            place.mkdir()
            if framework == "sklearn":
                joblib.dump(model, place / name)
            else:
                model.save_model(place / name if framework == "xgboost" else str(place / name))
            settings = {"name": place.name, "implementation": framework, "parameters": {"uri": f"./{name}"}}
            (place / "model-settings.json").write_text(json.dumps(settings))


def show(name: str, value: float) -> None:
    print(f"{name:88}{value:10.2f}", flush=True)


FIGURES: dict[str, Callable[[], None]] = {
    "failures": failing_requests,
    "reloads": reloads,
    "bodies": hostile_bodies,
    "clients": silent_clients,
    "starts": start_of_many_models,
}


def main() -> int:
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
