#!/usr/bin/env bash
# Ray: a process that had a local cluster of its own starts no actors on other clusters afterwards.
#
# Guess: ray.init("local") concerns that cluster only, and after ray.shutdown() the process may connect to any other.
# What happens: starting a local cluster turns token authentication on for the whole process, with RAY_AUTH_MODE in its
#   environment, and shutdown leaves it on. A cluster without tokens still lets the process connect and lists its nodes,
#   but cannot call it back: each actor "never ran", because "all references to the actor were removed", although its
#   handle is kept. Nothing names the tokens.
# Here: mlsrv-ray connects to one cluster, so a server does not meet it. Applications and tests that embed a kernel with
#   ray_address "local" and later another cluster do: use a process for each, or set RAY_AUTH_MODE=disabled at the start.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" ray==2.60.0

cat > "$folder/cluster.py" <<'PYTHON'
import sys

from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args=node)
print("at", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
PYTHON

cat > "$folder/visit.py" <<'PYTHON'
import os
import subprocess
import sys

import ray
from ray.exceptions import ActorDiedError

print("ray", ray.__version__)


class Greeter:
    def greet(self):
        return "hello"


def visit(address):
    ray.init(address=address, _node_ip_address="127.0.0.2", log_to_driver=False)
    assert any(node["Alive"] for node in ray.nodes())
    actor = ray.remote(Greeter).remote()
    try:
        return ray.get(actor.greet.remote(), timeout=60)
    except ActorDiedError as error:
        return str(error)
    finally:
        ray.shutdown()


def start():
    process = subprocess.Popen([sys.executable, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, next(line.split()[1] for line in process.stdout if line.startswith("at "))


first = start()
try:
    for name, address in (("first", first[1]), ("first again", first[1]), ("own", "local")):
        answer = visit(address)
        print(f"{name:12}", answer, "RAY_AUTH_MODE:", os.environ.get("RAY_AUTH_MODE"))
        assert answer == "hello", f"the visit of the {name} cluster has changed"
    answer = visit(first[1])
    print("back at the first", " ".join(answer.split()))
    assert "all references to the actor were removed" in answer, "actors can be started after the way back now"
finally:
    first[0].communicate(timeout=60)
PYTHON

unset RAY_AUTH_MODE
RAY_USAGE_STATS_ENABLED=0 "$folder/python/bin/python" "$folder/visit.py" "$folder/cluster.py"
