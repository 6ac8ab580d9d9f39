"""Check manifests against the types of KServe's SDK: manifests.py FILE…

The types are made from KServe's own description of its resources. A field that they do not have, or a value
of another kind, is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import kserve.models
import kubernetes.client
import yaml

TYPES = {
    "ClusterServingRuntime": "V1alpha1ClusterServingRuntime",
    "InferenceService": "V1beta1InferenceService",
}
PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": object}


def check(value: Any, kind: str, where: str) -> list[str]:
    """Return what is wrong with a value of a type, by the type's name."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: a list is expected"]
        return [
            fault for number, one in enumerate(value) for fault in check(one, match[1], f"{where}[{number}]")
        ]
    if match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            return [f"{where}: an object is expected"]
        return [fault for key, one in value.items() for fault in check(one, match[1], f"{where}.{key}")]
    if kind in PLAIN:
        right = isinstance(value, PLAIN[kind]) and not (kind == "int" and isinstance(value, bool))
        return [] if right else [f"{where}: {kind} is expected"]
    if kind == "V1ObjectMeta" or kind not in KNOWN:
        return []
    return check_object(value, KNOWN[kind], where)


def check_object(value: Any, cls: Any, where: str) -> list[str]:
    """Return what is wrong with an object of a generated class."""
    if not isinstance(value, dict):
        return [f"{where}: an object is expected"]
    names = {json: name for name, json in cls.attribute_map.items()}
    faults = [f"{where}.{key}: there is no such field" for key in value if key not in names]
    for key, one in value.items():
        if key in names:
            faults += check(one, cls.openapi_types[names[key]], f"{where}.{key}")
    return faults


KNOWN = {
    name: cls
    for module in (kubernetes.client, kserve.models)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and hasattr(cls, "openapi_types")
}


def main(files: list[str]) -> int:
    """Print what is wrong; the exit code is 1 if anything is."""
    faults = []
    for file in files:
        for item in yaml.safe_load_all(Path(file).read_text(encoding="utf-8")):
            faults += check_object(item, KNOWN[TYPES[item["kind"]]], f"{Path(file).name}")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
