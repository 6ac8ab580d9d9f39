"""Start a Ray cluster on the loopback, print where it is, and end it when standard input ends.

Arguments: the port of the head, by default any that is free, and the number of nodes, by default two. They
have the address 127.0.0.2, because Ray takes 127.0.0.1 for an address that reaches other machines. Each has
100 of a resource of its own, ``first`` (that of the head, to which servers connect) or ``second``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

HOST = "127.0.0.2"


def main(port: int = 0, nodes: int = 2) -> None:
    """Run until the standard input ends."""
    # Ray's own limits are too short for a machine that has much else to do.
    os.environ |= {"RAY_raylet_start_wait_time_s": "150", "RAY_agent_register_timeout_ms": "150000"}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A node whose helpers are not there within 15 s ends: they must not compile their modules at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    node: dict[str, Any] = {"num_cpus": 4, "node_ip_address": HOST, "object_store_memory": 128 * 1024 * 1024}
    head = {"include_dashboard": False, "gcs_server_port": port}
    made = {
        name: cluster.add_node(**node, **more, resources={name: 100})
        for name, more in list({"first": head, "second": {}}.items())[:nodes]
    }
    processes = {
        name: {which: [each.process.pid for each in found] for which, found in node.all_processes.items()}
        for name, node in made.items()
    }
    print(json.dumps({"address": cluster.address, "processes": processes}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
