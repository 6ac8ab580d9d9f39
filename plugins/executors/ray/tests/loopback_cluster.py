"""Start a Ray cluster on the loopback, print where it is, and end it when standard input ends.

It has two nodes. They have the address 127.0.0.2, because Ray takes 127.0.0.1 for an address that reaches
other machines. Each has 100 of a resource of its own, ``first`` (that of the head, to which servers connect)
or ``second``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

HOST = "127.0.0.2"


def main() -> None:
    """Run until the standard input ends."""
    # Ray's own limits are too short for a machine that has much else to do.
    os.environ |= {"RAY_raylet_start_wait_time_s": "150", "RAY_agent_register_timeout_ms": "150000"}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 4, "node_ip_address": HOST, "object_store_memory": 128 * 1024 * 1024}
    head: dict[str, Any] = {**node, "include_dashboard": False, "resources": {"first": 100}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = {"head": cluster.head_node, "second": cluster.add_node(**node, resources={"second": 100})}
    found: dict[str, Any] = {
        "address": cluster.address,
        "second_raylet": nodes["second"].all_processes["raylet"][0].process.pid,
        "pids": {
            name: [process.process.pid for processes in each.all_processes.values() for process in processes]
            for name, each in nodes.items()
        },
    }
    print(json.dumps(found), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
