"""Custom code: a model's folder is importable for that model only, and read anew at each load."""

from __future__ import annotations

import asyncio
import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import joblib
import pytest
from joblib.externals.loky import get_reusable_executor

from mlsrv.errors import ModelFailed, ModelLoadError
from mlsrv.kernel import Kernel
from mlsrv.settings import ModelSettings
from mlsrv.testing import EchoModel, make_kernel, text_request

MODEL = """
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Model(MLModel):
    async def predict(self, payload):
        found = self.answer()
        return InferenceResponse(outputs=[ResponseOutput(name="found", shape=[1], datatype="BYTES",
        data=[found])])
"""


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    finders, path = list(sys.meta_path), list(sys.path)
    yield
    assert sys.meta_path == finders
    assert sys.path == path
    assert not [name for name, module in list(sys.modules.items()) if type(module).__name__ == "_StandIn"]
    assert not [name for name in list(sys.modules) if name.startswith("_mlsrv_model_")]


class Folder:
    """A model's folder, written file by file."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self.path.mkdir()
        self.name = name

    def write(self, **files: str) -> Folder:
        """`a__b` stands for `a/b.py`; `models` gets the base class in front."""
        for name, text in files.items():
            path = self.path / f"{name if '/' in name else name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text((MODEL if name == "models" else "") + dedent(text))
        return self

    def settings(self, implementation: str | type = "models.Mine", **extra: Any) -> ModelSettings:
        return ModelSettings(
            name=self.name,
            implementation=implementation,
            parameters={"uri": str(self.path), "extra": extra},
            source=self.path / "model-settings.json",
        )


@pytest.fixture
def a(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "a")


@pytest.fixture
def b(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "b")


@asynccontextmanager
async def serving(*models: ModelSettings) -> AsyncIterator[Kernel]:
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        yield kernel


async def ask(kernel: Kernel, name: str) -> str:
    response = await kernel.infer(text_request(name, ["?"]))
    return str(response.dict()["outputs"][0]["data"][0])


async def answer(folder: Folder) -> str:
    async with serving(folder.settings()) as kernel:
        assert not kernel.problems()
        return await ask(kernel, folder.name)


async def reason(folder: Folder, implementation: str = "models.Mine") -> str:
    """Why the model did not load, while another one of the same server goes on."""
    other = ModelSettings(name="other", implementation=EchoModel)
    async with serving(folder.settings(implementation), other) as kernel:
        assert await ask(kernel, "other") == "?"
        found = kernel.handle(folder.name).reason
        assert found
        return found


# --- isolation
# -----------------------------------------------------------------------------------------------------


async def test_two_folders_may_have_modules_of_the_same_names(a: Folder, b: Folder) -> None:
    for folder in (a, b):
        folder.write(
            models="""
            import helper
            from helper import NAME
            from package import inner

            class Mine(Model):
                def answer(self):
                    import late
                    return f"{NAME} {helper.NAME} {inner.NAME} {late.NAME}"
            """,
            helper=f"NAME = 'helper of {folder.name}'",
            late=f"NAME = 'late of {folder.name}'",
            **{"package/__init__": ""},
            package__inner="""
            from ..helper import NAME as OUTER
            from . import deep
            NAME = deep.NAME + OUTER[-1]
            """,
            package__deep=f"NAME = 'deep of {folder.name}'",
        )
    async with serving(a.settings(), b.settings()) as kernel:
        assert not kernel.problems()
        for name in "abab":
            assert (
                await ask(kernel, name)
                == f"helper of {name} helper of {name} deep of {name}{name} late of {name}"
            )
    assert not {"helper", "late", "package", "models"} & sys.modules.keys()


@pytest.mark.parametrize(
    "statements",
    [
        "import helper; found = helper.NAME",
        "import helper as other; found = other.NAME",
        "from helper import *; found = NAME",
        "import importlib; found = importlib.import_module('helper').NAME",
        "from importlib import import_module; found = import_module('helper').NAME",
        "import importlib.util; importlib.util.find_spec; found = importlib.import_module('helper').NAME",
        "found = __import__('helper').NAME",
        "import package.inner; found = package.inner.NAME",
        "import package.inner as inner; found = inner.NAME",
        "from package import inner; found = inner.NAME",
        "from package.inner import NAME as found",
        "from package import *; found = inner.NAME",
        "import importlib; found = importlib.import_module('.inner', 'package').NAME",
        "import importlib; found = importlib.import_module('package.inner').NAME",
        "from spaced.inside import NAME as found",
        "names = {}; exec('import helper; found = helper.NAME', globals(), names); found = names['found']",
        "import json, os.path, xml.dom.minidom; from helper import NAME as found",
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_every_way_to_import(a: Folder, statements: str, late: bool) -> None:
    late = late and "*" not in statements  # which is not allowed inside a function
    head = "" if late else statements
    inside = statements if late else "pass"
    a.write(
        models=head
        + "\nclass Mine(Model):\n    def answer(self):\n        "
        + inside
        + "\n        return found",
        helper="NAME = 'mine'",
        **{"package/__init__": "__all__ = ['inner']"},
        package__inner="NAME = 'mine'",
        spaced__inside="NAME = 'mine'",
    )
    assert await answer(a) == "mine"


async def test_the_standard_library_and_mlsrv_are_never_replaced(a: Folder) -> None:
    a.write(
        models="""
        import json, mlsrv
        class Mine(Model):
            def answer(self):
                return f"{json.dumps(1)} {mlsrv.MLModel is MLModel}"
        """,
        json="raise ImportError",
        mlsrv="raise ImportError",
    )
    assert await answer(a) == "1 True"


async def test_an_implementation_may_be_called_like_the_standard_library(a: Folder) -> None:
    a.write(models="", code=MODEL + "\nclass Mine(Model):\n    def answer(self): return 'mine'")
    async with serving(a.settings("code.Mine")) as kernel:
        assert await ask(kernel, "a") == "mine"


async def test_dataclasses_enums_and_annotations_work(a: Folder) -> None:
    a.write(
        models="""
        import typing
        from dataclasses import dataclass, fields
        from enum import Enum
        from typing import ClassVar, NamedTuple

        class Colour(Enum):
            RED = 1

        class Pair(NamedTuple):
            left: Colour

        @dataclass
        class Record:
            colour: Colour
            shared: "ClassVar[int]" = 3

        class Mine(Model):
            def answer(self):
                hints = typing.get_type_hints(Record)
                names = [field.name for field in fields(Record)]
                return f"{names} {hints['colour'] is Colour} {Pair(Colour.RED)[0]}"
        """
    )
    assert await answer(a) == "['colour'] True Colour.RED"


async def test_reloading_sees_new_code(a: Folder) -> None:
    code = """
    import helper
    class Mine(Model):
        def answer(self):
            import late
            return helper.NAME + late.NAME
    """
    a.write(models=code, helper="NAME = 'v1'", late="NAME = 'x'")
    async with serving(a.settings()) as kernel:
        assert await ask(kernel, "a") == "v1x"
        # The same size within the same second: what a compiled cache would not notice.
        a.write(helper="NAME = 'v2'", late="NAME = 'y'", added="NAME = 'z'")
        a.write(models=code.replace("helper.NAME", "helper.NAME + __import__('added').NAME"))
        await kernel.load("a")
        assert await ask(kernel, "a") == "v2zy"


async def test_nothing_is_written_beside_the_authors_files(a: Folder) -> None:
    a.write(
        models="import helper\nclass Mine(Model):\n    def answer(self): return helper.NAME",
        helper="NAME = 'x'",
    )
    assert await answer(a) == "x"
    assert sorted(path.name for path in a.path.rglob("*")) == ["helper.py", "models.py"]


async def test_files_of_the_folder_are_resources(a: Folder) -> None:
    a.write(
        models="""
        import importlib.resources
        class Mine(Model):
            def answer(self):
                files = importlib.resources.files(__package__)
                return files.joinpath("words.txt").read_text()
        """
    )
    (a.path / "words.txt").write_text("found")
    assert await answer(a) == "found"


# --- pickled artifacts
# ---------------------------------------------------------------------------------------------

TRANSFORMERS = """
class Shout:
    def __init__(self, mark):
        self.mark = mark
    def __call__(self):
        return self.mark + TAG
TAG = " of {name}"
"""


def pickled_beside(folder: Folder, module: str, dump: Any) -> None:
    """Write `artifact`, as a training script that ran in the folder would have."""
    script = f"""
    import sys
    sys.path.insert(0, {str(folder.path)!r})
    sys.dont_write_bytecode = True
    import joblib, pickle, {module} as found
    with open({str(folder.path / "artifact")!r}, "wb") as file:
        {dump.__name__}.dump(found.Shout("loud"), file)
    """
    subprocess.run([sys.executable, "-c", dedent(script)], check=True, timeout=60)


LOADS = """
import {library}
from pathlib import Path

class Mine(Model):
    {define} load(self):
        with open(Path(self.settings.parameters.uri) / "artifact", "rb") as file:
            self.artifact = {library}.load(file)
        import transformers
        assert type(self.artifact) is transformers.Shout
        return True

    def answer(self):
        return self.artifact()
"""


@pytest.mark.parametrize("library", [pickle, joblib])
@pytest.mark.parametrize("define", ["def", "async def"])
async def test_artifacts_find_the_classes_of_their_folder(
    a: Folder, b: Folder, library: Any, define: str
) -> None:
    for folder in (a, b):
        folder.write(
            models=LOADS.format(library=library.__name__, define=define),
            transformers=TRANSFORMERS.format(name=folder.name),
        )
        pickled_beside(folder, "transformers", library)
    async with serving(a.settings(), b.settings()) as kernel:
        assert not kernel.problems()
        assert "transformers" not in sys.modules
        assert (await ask(kernel, "a"), await ask(kernel, "b")) == ("loud of a", "loud of b")


async def test_classes_of_packages_are_found_too(a: Folder) -> None:
    a.write(
        models=LOADS.format(library="joblib", define="def")
        .replace("import transformers", "import kit.transformers")
        .replace("is transformers", "is kit.transformers"),
        **{"kit/__init__": ""},
        kit__transformers=TRANSFORMERS.format(name="kit"),
    )
    pickled_beside(a, "kit.transformers", joblib)
    assert await answer(a) == "loud of kit"


async def test_artifacts_of_a_class_from_elsewhere_find_the_folder(a: Folder) -> None:
    """A runtime of a plugin that loads an artifact with the author's own transformer in it."""

    class Runtime(EchoModel):
        async def load(self) -> bool:
            self.found = joblib.load(Path(self.settings.parameters.uri or "") / "artifact")()
            return self.found == "loud of a"

    a.write(transformers=TRANSFORMERS.format(name="a"))
    pickled_beside(a, "transformers", joblib)
    async with serving(a.settings(Runtime)) as kernel:
        assert not kernel.problems()


async def test_an_artifact_may_be_loaded_by_a_request_or_at_import(a: Folder) -> None:
    a.write(
        models="""
        import joblib
        from pathlib import Path
        FIRST = joblib.load(Path(__file__).parent / "artifact")
        class Mine(Model):
            def answer(self):
                return FIRST() + ", " + joblib.load(Path(__file__).parent / "artifact")()
        """,
        transformers=TRANSFORMERS.format(name="a"),
    )
    pickled_beside(a, "transformers", joblib)
    assert await answer(a) == "loud of a, loud of a"


async def test_two_loads_at_once_do_not_mix(a: Folder, b: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(2, timeout=30)
    monkeypatch.setitem(sys.modules, "the_barrier", barrier)
    for folder in (a, b):
        folder.write(
            models=LOADS.format(library="joblib", define="def").replace(
                "        import transformers",
                "        import the_barrier; the_barrier.wait()\n"
                "        again = joblib.load(Path(self.settings.parameters.uri) / 'artifact')\n"
                "        assert again() == self.artifact()\n"
                "        the_barrier.wait()\n        import transformers",
            ),
            transformers=TRANSFORMERS.format(name=folder.name),
        )
        pickled_beside(folder, "transformers", joblib)
    async with serving(a.settings(), b.settings()) as kernel:
        assert not kernel.problems()
        assert (await ask(kernel, "a"), await ask(kernel, "b")) == ("loud of a", "loud of b")


async def test_a_module_that_was_imported_elsewhere_stays_as_it_is(
    a: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site"
    (installed / "transformers").mkdir(parents=True)
    (installed / "transformers" / "__init__.py").write_text("WHOSE = 'everybody'")
    (installed / "transformers" / "more.py").write_text("WHOSE = 'everybody, more'")
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    real = importlib.import_module("transformers")
    seen: list[Any] = []

    def look() -> None:
        import transformers  # type: ignore[import-not-found]

        more = importlib.import_module("transformers.more")
        seen.append((transformers.WHOSE, more.WHOSE, hasattr(transformers, "Shout")))

    monkeypatch.setattr(importlib, "look_from_outside", lambda: _in_fresh_thread(look), raising=False)
    a.write(
        models=LOADS.format(library="pickle", define="def").replace(
            "        return True",
            "        import importlib; importlib.look_from_outside()\n        return True",
        ),
        transformers=TRANSFORMERS.format(name="a"),
    )
    pickled_beside(a, "transformers", pickle)
    try:
        # With another model of such a folder loading, a thread without a model belongs to neither.
        other = Folder(tmp_path, "c").write(
            models=LOADS.format(library="pickle", define="def"), transformers=TRANSFORMERS
        )
        pickled_beside(other, "transformers", pickle)
        assert await answer(a) == "loud of a"
        assert sys.modules["transformers"] is real
        assert real.WHOSE == "everybody"
        look()
        assert seen[-1] == ("everybody", "everybody, more", False)
    finally:
        for name in ("transformers", "transformers.more"):
            sys.modules.pop(name, None)


def _in_fresh_thread(function: Any) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(30)


async def test_threads_of_the_model_find_its_classes(a: Folder) -> None:
    a.write(
        models="""
        import joblib
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        class Mine(Model):
            def load(self):
                with ThreadPoolExecutor(1) as pool:
                    self.artifact = pool.submit(joblib.load, Path(__file__).parent / "artifact").result()
            def answer(self):
                return self.artifact()
        """,
        transformers=TRANSFORMERS.format(name="a"),
    )
    pickled_beside(a, "transformers", joblib)
    assert await answer(a) == "loud of a"


@pytest.mark.parametrize("late", [False, True], ids=["at import", "in the request"])
async def test_fresh_processes_that_a_model_starts_run_functions_of_its_folder(a: Folder, late: bool) -> None:
    statement = "import joblib"
    models = f"""
        {"" if late else statement}
        import tools
        from tools import Thing, square
        from os import getpid

        def work(i):
            return tools.square(i), square(i), Thing(i).twice(), getpid()

        class Mine(Model):
            def answer(self):
                {statement if late else ""}
                found = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(i) for i in range(4))
                own = [pid for *_, pid in found if pid == getpid()]
                return f"{{[tuple(values) for *values, _ in found]}}, {{len(own)}} in this process"
    """
    tools = """
        def square(i):
            return i * i

        class Thing:
            def __init__(self, i):
                self.i = i
            def twice(self):
                return 2 * self.i
    """
    try:
        found = await answer(a.write(tools=tools, models=models))
    finally:
        get_reusable_executor().shutdown()
    assert found == "[(0, 0, 0), (1, 1, 2), (4, 4, 4), (9, 9, 6)], 0 in this process"


async def test_the_modules_cannot_be_imported_outside_of_the_model(a: Folder, b: Folder) -> None:
    for folder in (a, b):
        folder.write(models="class Mine(Model):\n    def answer(self): return 'x'", transformers="X = 1")
    b.write(models="import transformers, kitchen\nclass Mine(Model): pass")
    async with serving(a.settings()) as kernel:
        assert await ask(kernel, "a") == "x"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("transformers")


# --- what authors get wrong
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "import surely_not_installed",
            "ModuleNotFoundError: No module named 'surely_not_installed' ({folder}/models.py, line 10)",
        ),
        (
            "x = 1 +",
            "Model a: models.Mine cannot be imported: SyntaxError: invalid syntax (models.py, line 10)",
        ),
        ("import helper", "ZeroDivisionError: division by zero ({folder}/helper.py, line 2)"),
        ("from helper2 import nothing", "ImportError: cannot import name 'nothing' from 'helper2'"),
        ("import package.nothing", "ModuleNotFoundError: No module named 'package.nothing'"),
        (
            "import sys; sys.exit(3)",
            "Model a: models.Mine cannot be imported: SystemExit: 3 ({folder}/models.py, line 10)",
        ),
        (
            "class Other: pass",
            "models.Mine cannot be imported: AttributeError: module 'models' has no attribute 'Mine'",
        ),
        (
            "class Mine:\n    pass",
            "Model a: 'models.Mine' is the class Mine ({folder}/models.py, line 10), not a subclass of ",
        ),
        ("def Mine(): pass", "Model a: 'models.Mine' is a function, not a subclass of mlsrv.MLModel."),
        (
            "class Mine(Model):\n    def load(self):\n        return False",
            "Model a: load() of Mine returned False (models.py, line 11).",
        ),
        (
            "class Mine(Model):\n    def load(self):\n        return {}['weights']",
            "Model a failed to load: KeyError: 'weights' ({folder}/models.py, line 12)",
        ),
    ],
)
async def test_the_reason_names_model_file_and_line(a: Folder, code: str, sentence: str) -> None:
    a.write(models=code, helper="\n1 / 0", helper2="", **{"package/__init__": ""})
    assert sentence.format(folder=a.path) in await reason(a)


@pytest.mark.parametrize("others", [{}, {"other": ""}])
async def test_a_missing_module_names_the_folder_that_was_searched(a: Folder, others: dict[str, str]) -> None:
    a.write(**others)
    found = await reason(a)
    assert "a: models.Mine cannot be imported: ModuleNotFoundError: No module named 'models'" in found
    assert found.endswith(f"(searched: the model's folder {a.path} and the Python path)")


async def test_a_module_that_the_code_misses_is_not_searched_for_in_the_model_folder(a: Folder) -> None:
    a.write(models="import surely_not_installed")
    assert "searched" not in await reason(a)


async def test_a_prediction_of_the_wrong_type(a: Folder) -> None:
    a.write(models="class Mine(Model):\n    async def predict(self, payload):\n        return 'text'")
    async with serving(a.settings()) as kernel:
        with pytest.raises(
            ModelFailed, match=r"Model a: predict returned a str, .*\(models\.py, line 11\)\."
        ):
            await ask(kernel, "a")


async def test_many_loads_side_by_side_leave_nothing(tmp_path: Path) -> None:
    folders = [Folder(tmp_path, f"m{number}") for number in range(8)]
    for folder in folders:
        folder.write(
            models="import helper\nclass Mine(Model):\n    def load(self):\n        return helper.OK",
            helper=f"OK = {folder.name not in ('m3', 'm5')}",
        )
    async with serving(*(folder.settings() for folder in folders)) as kernel:
        assert {name for name in kernel.model_names() if not kernel.model_ready(name)} == {"m3", "m5"}
        await asyncio.gather(*(kernel.load("m1") for _ in range(3)))
        with pytest.raises(ModelLoadError):
            await kernel.load("m3")


@pytest.mark.parametrize("name", ["serve-model", "2model", "class"])
async def test_a_file_whose_name_no_statement_can_import(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("import helper\nfrom mlsrv.testing import EchoModel as M\n")
    (tmp_path / "helper.py").write_text("")
    settings = ModelSettings(name="m", implementation=f"{name}.M", source=tmp_path / "model-settings.json")
    async with make_kernel(settings) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
