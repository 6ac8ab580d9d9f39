"""The parts of a request: where the processes of the default configuration spend their time, by samples.

Run it as a plain script; it needs py-spy (`pip install py-spy`), and prints a line that says so without it.
Beside a load of 32 connections, py-spy looks at the server and at its worker, each time at the thread that
holds the interpreter's lock: threads that wait do not count, nor do system calls. Each sample counts for the
innermost part of its stack, and the processor time of a request is divided in proportion: microseconds of a
model that does nothing, and of the iris model.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from bench_default import Served, load, mlsrv

CONNECTIONS = 32
SECONDS = 6
RATE = 200
"""Samples a second: more would slow the server down, which each of them stops."""
BESIDE = "event loop"
PARTS = {
    "model": ("mlsrv/testing/", "sklearn/", "scipy/", "joblib/", "mlsrv_sklearn/"),
    "hop": ("mlsrv_workers/", "mlsrv_executor_kit/"),
    "wire form": ("mlsrv_protocol/",),
    "kernel": (
        "mlsrv/",
        "mlsrv_hosting_kit/",
        "mlsrv_telemetry_kit/",
        "mlsrv_batching/",
        "mlsrv_prometheus/",
    ),
    "HTTP": ("mlsrv_rest/servers/", "mlsrv_rest/write_coalescing", "uvicorn/", "httptools/"),
    "application": ("mlsrv_rest/", "mlsrv_transport_kit/"),
}
"""Parts by how the paths of their files begin; the first that fits counts."""


def main() -> int:
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        print("parts of a request: py-spy is not installed")
        return 0
    for kind in ("noop", "iris"):
        with mlsrv(kind, sys.executable, 1) as served:
            load(served, CONNECTIONS, 1.0)
            sampled(spy, kind, served)
    return 0


def sampled(spy: str, kind: str, served: Served) -> None:
    """Sample server and worker under load, and print the parts of each."""
    children = served.process.children(recursive=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        files = [Path(folder, name) for name in ("front", "worker")]
        before = served.seconds()
        watching = [
            pool.submit(watch, spy, process, file)
            for process, file in zip((served.process, *children), files, strict=True)
        ]
        count, _ = load(served, CONNECTIONS, SECONDS + 2.0)
        after = served.seconds()
        for watched in watching:
            watched.result()
        for file, start, end in zip(files, before, after, strict=True):
            each = (end - start) / count * 1e6
            parts = parts_of(file.read_text(encoding="utf-8"))
            total = parts.total() or 1
            print(f"{kind}, {file.name}: {each:.0f} us of processor time a request, {total} samples")
            for part in (*PARTS, BESIDE):
                share = parts[part] / total
                print(f"    {part:28}{share * each:8.0f} us{share:8.0%}")


def watch(spy: str, process: psutil.Process, file: Path) -> None:
    command = [spy, "record", "--rate", str(RATE), "--duration", str(SECONDS), "--format", "raw", "--gil"]
    command += ["--output", str(file), "--pid", str(process.pid)]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + 60)


def parts_of(stacks: str) -> Counter[str]:
    """Count the samples of each part in py-spy's raw output: ``frame;frame;… count``, outermost first."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        files = [frame.rpartition(" (")[2] for frame in reversed(stack.split(";"))]
        found[next((part for file in files if (part := part_of(file))), BESIDE)] += int(count)
    return found


def part_of(file: str) -> str | None:
    return next((part for part, starts in PARTS.items() if file.startswith(starts)), None)


if __name__ == "__main__":
    sys.exit(main())
