"""Models that load side by side: their imports do not break each other."""

import asyncio
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsrv import ModelSettings
from mlsrv.testing import make_kernel

PACKAGE = {
    "__init__": "import time; time.sleep(0.05); from {name} import core; VALUE = core.VALUE",
    "core": "import time; time.sleep(0.05); from {name}.frame import Frame; VALUE = Frame.value",
    "frame": "import time; time.sleep(0.05); import {name}.base\nclass Frame: value = 1",
    "base": "VALUE = 1",
}
MODELS = {
    "whole": "import {name}\nassert {name}.VALUE",
    "part": "from {name}.frame import Frame",
    "deep": "import {name}.base",
    "in_load": "LOAD = 'import {name}.core; assert {name}.VALUE'",
    "in_async_load": "ASYNC_LOAD = 'from {name}.core import VALUE'",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package whose parts need each other, and which takes a while to import."""
    name = f"slow_package_{tmp_path.name}"
    folder = tmp_path / "path" / name
    folder.mkdir(parents=True)
    for module, text in PACKAGE.items():
        (folder / f"{module}.py").write_text(text.format(name=name))
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def model(folder: Path, name: str, text: str) -> ModelSettings:
    """A model whose module begins with a text, and which may import more while it is loaded."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(
        text
        + textwrap.dedent("""
        import asyncio, time
        from mlsrv import MLModel
        class Model(MLModel):
            def load(self):
                exec(globals().get("LOAD", ""), {})
        class AsyncModel(MLModel):
            async def load(self):
                await asyncio.sleep(0.02)
                exec(globals().get("ASYNC_LOAD", ""), {})
        """)
    )
    cls = "AsyncModel" if "ASYNC" in text else "Model"
    return ModelSettings(name=name, implementation=f"{name}.{cls}", source=folder / "model-settings.json")


async def test_models_that_import_parts_of_one_package_all_load(package: str, tmp_path: Path) -> None:
    models = [model(tmp_path / name, name, text.format(name=package)) for name, text in MODELS.items()]
    async with asyncio.timeout(20), make_kernel(*models) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []


async def test_a_model_whose_own_module_takes_long_keeps_no_other_model_from_loading(
    package: str, tmp_path: Path
) -> None:
    slow = model(tmp_path / "slow", "slow", f"import time; time.sleep(1.5); import {package}")
    fast = model(tmp_path / "fast", "fast", f"import {package}")
    async with asyncio.timeout(20), make_kernel(slow, fast) as kernel:
        await asyncio.sleep(0)
        while kernel.model_names() == [] or not kernel.handle("fast").ready:
            await asyncio.sleep(0.01)
        assert not kernel.handle("slow").ready
        await kernel.loaded()


async def test_a_package_may_wait_for_a_thread_of_its_own_that_imports(tmp_path: Path, package: str) -> None:
    (tmp_path / "path" / package / "base.py").write_text(
        "import threading\n"
        "def work():\n    import colorsys_of_nowhere_else\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join(10)\n"
        "assert not thread.is_alive()\n"
    )
    (tmp_path / "path" / "colorsys_of_nowhere_else.py").write_text("")
    async with asyncio.timeout(20), make_kernel(model(tmp_path / "m", "m", f"import {package}")) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
    del sys.modules["colorsys_of_nowhere_else"]
