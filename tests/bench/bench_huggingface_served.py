"""Embeddings and classes of texts over REST: the library called directly, mlsrv, and MLServer.

    python tests/bench/bench_huggingface_served.py [ROUNDS]

Each server has one worker and answers, in turns, requests with 32 texts, then as many clients with one text
each. The library is called in a loop with the same batches of 32, in this process. Counted are seconds of the
processor (user and system, of a server and all its children, not of clients), of which the best round of each
counts. All have one thread for the model, or with THREADS=default as many as they choose. Needs what
bench_huggingface.py needs, and mlsrv-rest and mlsrv-workers.

`MLSRV_BENCH_PEERS` as ``mlserver-huggingface=/path/to/python`` names the interpreter of an environment with
mlserver and mlserver-huggingface 1.7.1. MLServer has no embeddings: its task feature-extraction answers with
the vectors of all tokens, as JSON texts, which clients would pool; mlsrv's answer of the same form stands
beside it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import frozen
from bench_default import START, Served, free_port, peers, running
from bench_huggingface import exported, library_of, minilm, missing, texts

BATCH = 32
COUNT = 64
LENGTHS = {"texts of 20 words": [20], "texts of 5 to 200 words": [5, 5, 5, 5, 8, 10, 20, 200]}
MLSERVER = "mlserver-huggingface"


@frozen
class Subject:
    """What is measured.

    Attributes:
        ask: takes requests, each a list of texts, and how many clients send them; returns when all are
            answered.
        seconds: returns the seconds of the processor so far.
    """

    ask: Callable[[Sequence[list[str]], int], None]
    seconds: Callable[[], float]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if absent := missing():
        print(f"not installed: {', '.join(absent)}")
        return
    if os.environ.get("THREADS") != "default":
        os.environ["OMP_NUM_THREADS"] = "1"
    source = minilm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {"torch": source, **exported(source, folder / "vectors")}
        with contextlib.ExitStack() as stack:
            subjects = {"the library": library(source)}
            for kind, path in models.items():
                subjects[f"mlsrv, {kind}"] = over_rest(stack.enter_context(mlsrv("embedding", path)))
            all_tokens = stack.enter_context(mlsrv("feature-extraction", source))
            subjects["mlsrv, torch, all tokens"] = over_rest(all_tokens)
            if MLSERVER in peers():
                theirs = stack.enter_context(mlserver("feature-extraction", source))
                subjects["MLServer, all tokens"] = over_rest(theirs)
            compare("Embeddings", rounds, subjects)
        models = {"torch": made_classifier(source, folder / "classifier")}
        auto_class = "AutoModelForSequenceClassification"
        models |= exported(models["torch"], folder / "classes", auto_class, "logits")
        with contextlib.ExitStack() as stack:
            subjects = {}
            for kind, path in models.items():
                served = stack.enter_context(mlsrv("text-classification", path))
                subjects[f"mlsrv, {kind}"] = over_rest(served)
            if MLSERVER in peers():
                theirs = stack.enter_context(mlserver("text-classification", models["torch"]))
                subjects["MLServer"] = over_rest(theirs)
            compare("Classes", rounds, subjects)


def compare(title: str, rounds: int, subjects: dict[str, Subject]) -> None:
    """Print the texts for each second of the processor, for each kind of texts and requests."""
    for what, lengths in LENGTHS.items():
        values = texts(COUNT, lengths)
        measure(f"{title}, {what}, {BATCH} in a request", rounds, subjects, in_batches(values), 1)
    values = texts(COUNT, [20])
    alone = [[value] for value in values]
    measure(f"{title}, texts of 20 words, {BATCH} clients with one text", rounds, subjects, alone, BATCH)


def measure(
    title: str, rounds: int, subjects: dict[str, Subject], requests: Sequence[list[str]], clients: int
) -> None:
    """Print a table: texts for each second, and how many times those of the first and of the last subject."""
    best = dict.fromkeys(subjects, float("inf"))
    for index in range(rounds + 1):
        for name, subject in subjects.items():
            started = subject.seconds()
            subject.ask(requests, clients)
            if index:  # the first round does not count
                best[name] = min(best[name], subject.seconds() - started)
    first, last = next(iter(best.values())), list(best.values())[-1]
    print(f"\n{title}\n{'':26}{'texts/CPU-s':>12}{'first':>8}{'last':>8}")
    for name, seconds in best.items():
        rate = sum(map(len, requests)) / seconds
        print(f"  {name:24}{rate:12.1f}{first / seconds:8.2f}{last / seconds:8.2f}", flush=True)


def in_batches(values: list[str]) -> list[list[str]]:
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def library(source: Path) -> Subject:
    """The library in this process, always with batches."""
    direct = library_of(source)

    def ask(requests: Sequence[list[str]], clients: int) -> None:
        for batch in in_batches([value for request in requests for value in request]):
            direct(batch)

    return Subject(ask, time.process_time)


def over_rest(served: Served) -> Subject:
    """A server; each client keeps its connection."""

    def ask(requests: Sequence[list[str]], clients: int) -> None:
        def client(own: Sequence[list[str]]) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=600)
            with contextlib.closing(connection):
                for values in own:
                    heads = {"content-type": "application/json"}
                    connection.request("POST", served.path, body_of(values), heads)
                    response = connection.getresponse()
                    told = response.read()
                    assert response.status == 200, told[:2000]
                    (output,) = json.loads(told)["outputs"]
                    assert output["shape"][0] == len(values), output["shape"]
                    assert output["datatype"] != "BYTES" or len(output["data"]) == len(values)

        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(client, [requests[number::clients] for number in range(clients)]))

    return Subject(ask, lambda: sum(served.seconds()))


def body_of(values: Sequence[str]) -> bytes:
    tensor = {
        "name": "inputs",  # of "args", MLServer would answer the first text alone
        "shape": [len(values)],
        "datatype": "BYTES",
        "parameters": {"content_type": "str"},
        "data": list(values),
    }
    return json.dumps({"inputs": [tensor]}).encode()


def mlsrv(task: str, path: Path) -> contextlib.AbstractContextManager[Served]:
    """Serve a model with `mlsrv start`."""
    model = {
        "implementation": "huggingface",
        "max_batch_tokens": 2048,
        "parameters": {"uri": str(path), "extra": {"task": task}},
    }
    return serving(model, [sys.executable, "-c", START])


def mlserver(task: str, path: Path) -> contextlib.AbstractContextManager[Served]:
    """Serve a model with MLServer."""
    model = {
        "implementation": "mlserver_huggingface.HuggingFaceRuntime",
        "parameters": {"extra": {"task": task, "pretrained_model": str(path)}},
    }
    return serving(model, [str(Path(peers()[MLSERVER]).with_name("mlserver"))])


@contextlib.contextmanager
def serving(model: dict[str, Any], command: list[str]) -> Iterator[Served]:
    """Serve one model, with batches of requests, in one worker."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", "parallel_workers": 1, **ports}
        Path(folder, "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        named = {"name": "m", "max_batch_size": BATCH, "max_batch_time": 0.05, **model}
        Path(folder, "model-settings.json").write_text(json.dumps(named), encoding="utf-8")
        with running([*command, "start", folder], port, "/v2/models/m/infer", body_of(["a house"])) as served:
            yield served


def made_classifier(source: Path, folder: Path) -> Path:
    """Save a classifier of three classes: the model of the embeddings, with a layer of random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=3)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
