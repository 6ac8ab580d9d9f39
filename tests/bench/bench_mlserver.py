"""MLServer and mlsrv with the same folders: requests for each second of processor time.

Run it as a plain script, with `MLSRV_BENCH_PEERS` as ``mlserver=/path/to/python``, the interpreter of an
environment with mlserver 1.7.1, mlserver-sklearn and uvloop before 0.22. Each server runs with its defaults:
MLServer, `mlsrv start`, and the command `mlserver start` that mlsrv-mlserver brings. They serve the same
folder: a model that does nothing and a classifier of irises, both written for MLServer, and the same
classifier without code, as its runtime of scikit-learn. Models that do the same with the API of mlsrv are
served beside them. All are asked in turns; the last columns are how many times as many requests as MLServer
a second of processor time answers (user and system, of the server and all its children), and the aim.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_default import Served, free_port, peers, print_heads, report, running
from compared_models import NOOP, TRAIN_IRIS

CONNECTIONS = (1, 32)
AIM, OWN_AIM = 3.0, 4.0

IRIS = """
import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from mlserver.utils import get_model_uri


class Model(MLModel):
    async def load(self):
        self.classifier = joblib.load(await get_model_uri(self.settings))
        return True

    async def predict(self, payload):
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        found = self.classifier.predict(rows)
        output = NumpyCodec.encode_output("predict", found)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
"""
OWN_IRIS = """
import joblib
import mlsrv
from mlsrv.codecs import decode_args
from mlsrv.utils import get_model_uri
import numpy as np


class Model(mlsrv.MLModel):
    async def load(self):
        self.classifier = joblib.load(await get_model_uri(self.settings))

    @decode_args
    async def predict(self, x: np.ndarray) -> np.ndarray:
        return self.classifier.predict(x)
"""
CODE = {
    "noop": (NOOP.format(package="mlserver"), NOOP.format(package="mlsrv")),
    "iris": (IRIS, OWN_IRIS),
    "sklearn": ("", None),
}
"""For each model its code as written for MLServer, and for mlsrv; no code: a runtime serves it."""


def main() -> int:
    if "mlserver" not in peers():
        print("MLSRV_BENCH_PEERS names no mlserver=/path/to/python: there is nothing to compare with")
        return 0
    theirs = peers()["mlserver"]
    print_heads()
    for kind, (code, own_code) in CODE.items():
        with contextlib.ExitStack() as stack:
            servers = {
                "MLServer": (theirs, "mlserver", code),
                "mlsrv start": (sys.executable, "mlsrv", code),
                "mlserver start": (sys.executable, "mlserver", code),
            }
            if own_code is not None:
                servers["own API"] = (sys.executable, "mlsrv", own_code)
            served = {name: stack.enter_context(serving(kind, *how)) for name, how in servers.items()}
            aims = {"mlsrv start": AIM, "mlserver start": AIM, "own API": OWN_AIM}
            if not code:
                aims = dict.fromkeys(("mlsrv start", "mlserver start"), OWN_AIM)
            for connections in CONNECTIONS:
                report(kind, connections, served, aims)
    return 0


@contextlib.contextmanager
def serving(kind: str, python: str, command: str, code: str) -> Iterator[Served]:
    """Serve one model with a command of an environment; the scikit-learn there trains it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", **settings}))
        model: dict[str, object] = {
            "name": kind,
            "implementation": "served.Model" if code else "mlserver_sklearn.SKLearnModel",
        }
        if kind != "noop":
            subprocess.run([python, "-c", TRAIN_IRIS, str(folder / "model.joblib")], check=True)
            model["parameters"] = {"uri": "./model.joblib"}
        (folder / "model-settings.json").write_text(json.dumps(model))
        if code:
            (folder / "served.py").write_text(code)
        start = [str(Path(python).with_name(command)), "start", str(folder)]
        with running(start, port, f"/v2/models/{kind}/infer") as served:
            yield served


if __name__ == "__main__":
    sys.exit(main())
