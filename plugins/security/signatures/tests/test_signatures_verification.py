"""Verification: what is loaded is what was checked, in this process and in workers."""

import asyncio
import hashlib
import json
import os
import pickle
import signal
import zipfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from signing import KEY, PEM, certify, sign_folder

import mlsrv_files.plugin
import mlsrv_signatures.plugin
import mlsrv_workers.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import ConfigurationError, ModelLoadError, ModelNotReady
from mlsrv.testing import EchoModel, text_request
from mlsrv_signatures.trust import fingerprint

CODE = """
from pathlib import Path
import mlsrv
from mlsrv.types import InferenceResponse, ResponseOutput

class Mine(mlsrv.MLModel):
    async def load(self):
        self.weights = Path(self.settings.parameters.uri, "weights/w.txt").read_text()
        return True

    async def predict(self, payload):
        texts = [self.weights, __file__]
        return InferenceResponse(outputs=[ResponseOutput("y", [2], "BYTES", texts)])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with one model, which is signed."""
    model = tmp_path / "models" / "m"
    (model / "weights").mkdir(parents=True)
    (model / "models.py").write_text(CODE)
    (model / "weights/w.txt").write_text("good")
    (model / "model-settings.json").write_text(json.dumps({"name": "m", "implementation": "models.Mine"}))
    (tmp_path / "keys.pem").write_bytes(PEM)
    (tmp_path / "staging").mkdir()
    sign_folder(model)
    return model


@asynccontextmanager
async def running(folder: Path, *plugins: object, **settings: Any) -> AsyncIterator[Kernel]:
    given = {
        "model_repository_root": str(folder.parent),
        "model_signature_keys": str(folder.parent.parent / "keys.pem"),
        "model_staging_folder": str(folder.parent.parent / "staging"),
        **settings,
    }
    plugins = (mlsrv_files.plugin, mlsrv_signatures.plugin, *plugins)
    async with Kernel(given, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        yield kernel


async def answer(kernel: Kernel) -> tuple[str, Path]:
    weights, file = (await kernel.infer(text_request("m", ["a"]))).outputs[0].data
    return str(weights), Path(str(file))


def reason(kernel: Kernel) -> str:
    return kernel.handle("m").reason


async def test_a_signed_model_is_loaded_from_a_private_copy(folder: Path) -> None:
    staging = folder.parent.parent / "staging"
    async with running(folder) as kernel:
        weights, file = await answer(kernel)
        assert weights == "good"
        assert file.is_relative_to(staging)
        (copy,) = staging.iterdir()
        assert copy.stat().st_mode & 0o077 == 0
        await kernel.unload("m")
        assert list(staging.iterdir()) == []
        await kernel.load("m")
        assert (await answer(kernel))[0] == "good"
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: (model / "weights/w.txt").write_text("evil"), "weights/w.txt was changed"),
        (lambda model: (model / "models.py").write_text(CODE + "#"), "models.py was changed"),
        (
            lambda model: (model / "model-settings.json").write_text('{"name": "m"}'),
            "model-settings.json was",
        ),
        (lambda model: (model / "sitecustomize.py").write_text(""), "sitecustomize.py is not signed"),
        (lambda model: (model / "weights/w.txt").unlink(), "weights/w.txt was signed and is missing"),
        (lambda model: (model / "model.sig").unlink(), "it has no signature model.sig"),
        (lambda model: (model / "model.sig").write_text("{}"), "model.sig is not valid"),
        (lambda model: sign_folder(model, ec.generate_private_key(ec.SECP256R1())), "none of the keys"),
        (lambda model: (model / "link").symlink_to("/etc/hostname"), "link is a symbolic link"),
        (lambda model: os.mkfifo(model / "pipe"), "pipe is not a regular file"),
    ],
    ids=range(10),
)
async def test_whatever_differs_is_refused_by_name_before_any_of_it_runs(
    folder: Path, change: Any, says: str
) -> None:
    change(folder)
    async with running(folder) as kernel:
        assert says in reason(kernel)
        with pytest.raises(ModelNotReady):
            await kernel.infer(text_request("m", ["a"]))
        (item,) = await kernel.index()
        assert says in (item.reason or "")
    assert list((folder.parent.parent / "staging").iterdir()) == []


async def test_compiled_code_and_git_are_left_out(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/models.cpython-311.pyc").write_bytes(b"evil")
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("x")
    async with running(folder) as kernel:
        _, file = await answer(kernel)
        assert not (file.parent / ".git").exists()


async def test_a_swap_after_the_check_changes_nothing(folder: Path) -> None:
    async with running(folder) as kernel:
        (folder / "weights/w.txt").write_text("evil")
        (folder / "models.py").write_text("raise SystemExit")
        assert (await answer(kernel))[0] == "good"
        with pytest.raises(ModelLoadError, match=r"models\.py was changed"):
            await kernel.load("m")
        assert (await answer(kernel))[0] == "good"


async def test_settings_are_those_that_were_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are read before the copy is made; a change in between must not count."""
    from mlsrv_signatures import verification

    real = verification.copy_hashed

    def swap(source: Path, target: Path) -> dict[str, str]:
        assert kernel_saw == ["EchoModel"]
        (folder / "model-settings.json").write_text(good)
        return real(source, target)

    good = (folder / "model-settings.json").read_text()
    evil = {"name": "m", "implementation": "mlsrv.testing.EchoModel"}
    (folder / "model-settings.json").write_text(json.dumps(evil))
    kernel_saw = ["EchoModel"]
    monkeypatch.setattr(verification, "copy_hashed", swap)
    async with running(folder) as kernel:
        assert (await answer(kernel))[0] == "good"


async def test_a_model_in_a_worker_has_the_same_copy(folder: Path) -> None:
    async with running(folder, mlsrv_workers.plugin, parallel_workers=1) as kernel:
        weights, file = await answer(kernel)
        assert weights == "good"
        assert file.is_relative_to(folder.parent.parent / "staging")
        assert kernel.handle("m").loaded().placement.info is not None


async def test_whatever_a_check_found_is_in_the_index_and_the_metadata(folder: Path) -> None:
    async def shown(kernel: Kernel) -> tuple[str | None, str | None]:
        (item,) = await kernel.index()
        parameters = kernel.model_metadata("m").parameters
        return item.reason, None if parameters is None else parameters.extra.get("verification")

    async with running(folder, allow_pickle=False) as kernel:
        found = f"signed: key {fingerprint(KEY.public_key())[:16]}; no pickles"
        assert await shown(kernel) == (found, found)
        await kernel.unload("m")
        (item,) = await kernel.index()
        assert item.reason == ""
    (folder / "weights/w.txt").write_text("new")
    async with running(folder, model_signatures="warn") as kernel:
        found = "no valid signature: weights/w.txt was changed since it was signed"
        assert await shown(kernel) == (found, found)
    async with running(folder, model_signatures="off") as kernel:
        assert await shown(kernel) == ("", None)


async def test_the_holder_of_a_certificate_may_sign(folder: Path) -> None:
    root = certify("root", authority=True)
    signer = certify("signer", root)
    authorities = folder.parent.parent / "authorities.pem"
    authorities.write_bytes(root[0].public_bytes(Encoding.PEM))
    sign_folder(folder, signer[1], [signer[0]])
    given = {"model_signature_keys": None, "model_signature_authorities": str(authorities)}
    async with running(folder, **given, model_signature_signers=["signer"]) as kernel:
        assert (await answer(kernel))[0] == "good"
        (item,) = await kernel.index()
        assert item.reason == "signed: certificate of signer"
    async with running(folder, **given, model_signature_signers=["another"]) as kernel:
        assert "signer is not among model_signature_signers" in reason(kernel)
    (folder / "weights/w.txt").write_text("evil")
    async with running(folder, **given) as kernel:
        assert "weights/w.txt was changed" in reason(kernel)


async def test_a_model_in_a_worker_that_was_replaced_or_polled_has_what_was_checked(folder: Path) -> None:
    """A worker that is started again has the same copy; a new version is checked before it serves."""
    async with running(folder, mlsrv_workers.plugin, parallel_workers=1, model_repository_poll=0.1) as kernel:
        weights, file = await answer(kernel)
        assert weights == "good"
        (folder / "weights/w.txt").write_text("evil")
        async with asyncio.timeout(60):
            while "weights/w.txt was changed" not in reason(kernel):
                await asyncio.sleep(0.05)
            executor: Any = kernel._executors["workers"]
            (pid,) = executor.pids
            os.kill(pid, signal.SIGKILL)
            while executor.pids in ([], [pid]):
                await asyncio.sleep(0.05)
            while not kernel.handle("m").ready:
                await asyncio.sleep(0.05)
        assert await answer(kernel) == ("good", file)
        sign_folder(folder)
        async with asyncio.timeout(60):
            while reason(kernel):
                await asyncio.sleep(0.05)
        assert (await answer(kernel))[0] == "evil"


async def test_an_artifact_outside_the_folder_is_refused(folder: Path) -> None:
    settings = {"name": "m", "implementation": "models.Mine", "parameters": {"uri": str(folder.parent)}}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    sign_folder(folder)
    async with running(folder) as kernel:
        assert "its artifact is outside its folder" in reason(kernel)


async def test_models_without_a_folder_cannot_be_signed() -> None:
    path = Path(__file__).parent / "data/public.pem"
    settings = {"model_signature_keys": str(path)}
    models = [ModelSettings(name="m", implementation=EchoModel)]
    async with Kernel(settings, plugins=[mlsrv_signatures.plugin], models=models, discover=False) as kernel:
        await kernel.loaded()
        assert "no folder of its own" in reason(kernel)


async def test_a_warning_lets_it_in(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "weights/w.txt").write_text("new")
    async with running(folder, model_signatures="warn") as kernel:
        assert (await answer(kernel))[0] == "new"
    assert "Model m is loaded although weights/w.txt was changed since it was signed" in caplog.text


async def test_digests_in_the_settings_need_no_key(folder: Path) -> None:
    def pin(digest: str, name: str = "weights/w.txt") -> None:
        settings = {"name": "m", "implementation": "models.Mine", "sha256": {name: digest}}
        (folder / "model-settings.json").write_text(json.dumps(settings))

    none = {"model_signature_keys": None}
    pin(hashlib.sha256(b"good").hexdigest())
    async with running(folder, **none) as kernel:
        assert (await answer(kernel))[0] == "good"
    pin("0" * 64)
    async with running(folder, **none) as kernel:
        assert "weights/w.txt has another SHA-256 digest" in reason(kernel)
    pin("0" * 64, "absent")
    async with running(folder, **none) as kernel:
        assert "absent, which has a digest in its settings, is missing" in reason(kernel)
    pin("no digest")
    async with running(folder, **none) as kernel:
        assert "expected 64 hexadecimal digits" in reason(kernel)


def write_pickle(path: Path, how: str) -> None:
    text = pickle.dumps({"a": 1})
    if how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", text)
    else:
        path.write_bytes(zlib.compress(text) if how == "zlib" else text)


@pytest.mark.parametrize(
    ("name", "how"),
    [("model.bin", "plain"), ("model.dat", "zlib"), ("model.pt", "zip"), ("a.joblib", "none")],
)
async def test_pickles_can_be_refused(folder: Path, name: str, how: str) -> None:
    none = {"model_signature_keys": None, "allow_pickle": False}
    async with running(folder, **none) as kernel:
        assert (await answer(kernel))[0] == "good"
    if how == "none":
        (folder / name).write_bytes(b"not looked at")
    else:
        write_pickle(folder / name, how)
    async with running(folder, **none) as kernel:
        assert f"{name} is a pickle, which can run any code" in reason(kernel)


async def test_wrong_settings_stop_the_start(tmp_path: Path) -> None:
    for settings, says in (
        ({"model_signatures": "required"}, "model_signature_keys"),
        ({"model_signature_signers": ["a"]}, "model_signature_authorities"),
        ({"model_signature_file": "../x"}, "model_signature_file"),
        ({"model_signatures": "sometimes"}, "model_signatures"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            Kernel(settings, plugins=[mlsrv_signatures.plugin], discover=False)


async def test_keys_that_cannot_be_read_refuse_the_model(folder: Path) -> None:
    (folder.parent.parent / "keys.pem").write_text("no keys")
    async with running(folder) as kernel:
        assert "expected public keys" in reason(kernel)
        await asyncio.sleep(0)
