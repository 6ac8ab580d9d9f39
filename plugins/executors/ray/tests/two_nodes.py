"""Start a Ray cluster of two nodes on the loopback, print where it is, and end it when standard input ends.

The nodes have the address 127.0.0.2, because Ray takes 127.0.0.1 for an address that reaches other machines.
"""

from __future__ import annotations

import json
import os
import sys

HOST = "127.0.0.2"


def main() -> None:
    """Run until the standard input ends."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "150"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 4, "node_ip_address": HOST, "object_store_memory": 128 * 1024 * 1024}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = cluster.add_node(**node)
    pids = {
        name: [process.process.pid for processes in each.all_processes.values() for process in processes]
        for name, each in (("head", cluster.head_node), ("second", second))
    }
    raylet = second.all_processes["raylet"][0].process.pid
    print(json.dumps({"address": cluster.address, "pids": pids, "second_raylet": raylet}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
