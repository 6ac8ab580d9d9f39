"""The file for "ray up", checked as Ray checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[4] / "cli/deploy/ray/cluster.yaml"


def test_the_file_for_ray_up_is_valid() -> None:
    config: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == 2
    assert all(
        "ray start" in " ".join(prepared[f"{which}_start_ray_commands"]) for which in ("head", "worker")
    )
