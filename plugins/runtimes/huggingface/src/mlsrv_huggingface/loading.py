"""Loading: tokenizers and models of transformers from a folder, once for each process."""

from __future__ import annotations

import functools
import logging
import threading
from pathlib import Path
from typing import Any

from mlsrv.errors import MLSrvError, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_huggingface.configuration import Options
from mlsrv_huggingface.location import check_weights, model_folder, read_json, tokenizer_folder
from mlsrv_huggingface.optimum_models import is_installed, open_model, parts_of

logger = logging.getLogger("mlsrv.huggingface")

ONNX_FILES = ("model.onnx", "onnx/model.onnx", "*.onnx", "onnx/*.onnx")
"""Where an exported model lies, in the order in which they are looked for."""


_READING = threading.Lock()
"""Held while transformers reads a model: it makes models without memory first, by a setting of the whole
process, which another thread that reads would fall into."""


class Source:
    """A folder with a model, and how to read it.

    Attributes:
        name: the model's, for messages.
        folder: of its files.
        options: its settings.

    Raises:
        ModelLoadError: there is no model, or a setting is wrong.
    """

    def __init__(self, settings: ModelSettings, options: Options) -> None:
        self.name = settings.name
        self.options = options
        self.folder = model_folder(settings, options)
        self._tokenizer_folder = tokenizer_folder(settings, options, self.folder)
        if options.framework not in (None, "pt", "onnx", "ort"):
            raise ModelLoadError(
                f"Model {self.name}: parameters.extra.framework must be pt or onnx, not "
                f"{options.framework!r}; "
                "transformers has no other any more."
            )
        if options.trust_remote_code:
            logger.warning("Model %s: runs Python code from the folder %s", self.name, self.folder)

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """The object in ``config.json``."""
        return read_json(self.folder / "config.json")

    @functools.cached_property
    def config(self) -> Any:
        """The configuration, as transformers reads it."""
        from transformers import AutoConfig

        return self._read(AutoConfig, self.folder)

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        from transformers import AutoTokenizer

        return self._read(AutoTokenizer, self._tokenizer_folder)

    @property
    def onnx_file(self) -> Path | None:
        """The exported graph, where the model is to run in ONNX Runtime."""
        found = next((path for name in ONNX_FILES for path in sorted(self.folder.glob(name))), None)
        if self._wants_onnx and found is None and not self.uses_optimum:
            raise ModelLoadError(
                f"Model {self.name}: the folder {self.folder} has no model.onnx; export the model to "
                "ONNX, or "
                "leave parameters.extra.optimum_model out."
            )
        has_weights = any(self.folder.glob("*.safetensors")) or any(self.folder.glob("*.bin"))
        return found if self._wants_onnx or (not has_weights and self.options.framework is None) else None

    @property
    def uses_optimum(self) -> bool:
        """True if the model runs in ONNX Runtime by way of optimum, which exports it if need be."""
        return self.options.optimum_model and is_installed()

    @property
    def _wants_onnx(self) -> bool:
        return self.options.optimum_model or self.options.framework in ("onnx", "ort")

    def torch(self) -> Any:
        """Return the module torch, with the threads that the settings ask for.

        Raises:
            ModelLoadError: it is not installed, or refuses the settings.
        """
        try:
            import torch
        except ImportError as error:
            raise ModelLoadError(
                f"Model {self.name} needs PyTorch (pip install mlsrv-huggingface[torch]), or a "
                "model.onnx in its "
                "folder."
            ) from error
        import transformers

        transformers.logging.disable_progress_bar()  # it would fill the log
        if self.options.intra_op_threads:
            torch.set_num_threads(self.options.intra_op_threads)
        wanted = self.options.inter_op_threads
        if wanted and torch.get_num_interop_threads() != wanted:
            try:
                torch.set_num_interop_threads(wanted)
            except RuntimeError:
                logger.warning(
                    "Model %s: inter_op_threads stays %d in this process, where PyTorch has begun to work",
                    self.name,
                    torch.get_num_interop_threads(),
                )
        return torch

    @functools.cached_property
    def device(self) -> str:
        """The device, as PyTorch names it.

        Raises:
            ModelLoadError: there is no such device.
        """
        wanted = self.options.device
        if isinstance(wanted, str) and wanted.lstrip("-").isdecimal():
            wanted = int(wanted)
        if wanted is None or (isinstance(wanted, int) and wanted < 0):
            return "cpu"
        name = f"cuda:{wanted}" if isinstance(wanted, int) else wanted
        torch = self.torch()
        try:
            torch.empty(1, device=torch.device(name))
        except Exception as error:  # torch has several for this
            raise ModelLoadError(
                f"Model {self.name}: parameters.extra.device {wanted!r} is not a device of this machine."
            ) from error
        return name

    def model(self, auto_class: str) -> Any:
        """Return the model, ready to answer.

        Args:
            auto_class: name of a class of transformers, such as "AutoModelForCausalLM".

        Raises:
            ModelLoadError: its files cannot be read, or are of another kind.
        """
        import transformers

        torch = self.torch()
        if self._wants_onnx:
            return self._by_optimum(auto_class)
        check_weights(self.name, self.folder, self.options)
        kwargs = dict(self.options.model_kwargs)
        if "torch_dtype" in kwargs:
            kwargs["dtype"] = kwargs.pop("torch_dtype")
        if isinstance(kwargs.get("dtype"), str) and kwargs["dtype"] != "auto":
            kwargs["dtype"] = getattr(torch, kwargs["dtype"], kwargs["dtype"])
        if self.device == "cpu":
            kwargs.setdefault("dtype", torch.float32)
        model = self._read(getattr(transformers, auto_class), self.folder, **kwargs)
        return (model if hasattr(model, "hf_device_map") else model.to(self.device)).eval()

    def processor(self, *auto_classes: str) -> Any:
        """Return what prepares the inputs of a model: the first of several kinds that its folder has.

        Raises:
            ModelLoadError: there is none.
        """
        import transformers

        for name in auto_classes[:-1]:
            try:
                return self._read(getattr(transformers, name), self.folder)
            except ModelLoadError:
                logger.debug("Model %s has no %s", self.name, name)
        return self._read(getattr(transformers, auto_classes[-1]), self.folder)

    def pipeline(self, task: str) -> Any:
        """Return a pipeline of transformers. Raises as `model`."""
        import transformers

        torch = self.torch()
        named: dict[str, Any] = {}
        if self._tokenizer_folder != self.folder:
            named["tokenizer"] = str(self._tokenizer_folder)
        if self._wants_onnx:
            auto_class, parts = parts_of(self.name, task)
            model = self._by_optimum(auto_class)
            return transformers.pipeline(task, model, **{**dict.fromkeys(parts, str(self.folder)), **named})
        check_weights(self.name, self.folder, self.options)
        kwargs: dict[str, Any] = dict(self.options.model_kwargs)
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", "float32" if self.device == "cpu" else "auto"))
        try:
            with _READING:
                made = transformers.pipeline(
                    task,
                    str(self.folder),
                    device=torch.device(self.device),
                    dtype=dtype,
                    trust_remote_code=self.options.trust_remote_code,
                    model_kwargs=kwargs,
                    **named,
                )
        except Exception as error:  # damaged or foreign files fail in any way
            raise self._unreadable(error) from error
        made.model.eval()
        return made

    def _by_optimum(self, auto_class: str) -> Any:
        """Return a model of a class of transformers in ONNX Runtime."""
        if not self.uses_optimum:
            raise ModelLoadError(
                f"Model {self.name}: this task runs in ONNX Runtime with optimum-onnx only "
                "(pip install optimum-onnx, which needs transformers 4, and parameters.extra.optimum_model)."
            )
        exported = self.onnx_file
        if exported is None:
            check_weights(self.name, self.folder, self.options)
        try:
            with _READING:
                return open_model(self.name, self.options, self.folder, auto_class, exported)
        except MLSrvError:
            raise
        except Exception as error:  # optimum refuses models and tasks in many ways
            raise self._unreadable(error) from error

    def _read(self, cls: Any, folder: Path, **kwargs: Any) -> Any:
        try:
            with _READING:
                return cls.from_pretrained(
                    str(folder),
                    local_files_only=True,
                    trust_remote_code=self.options.trust_remote_code,
                    **kwargs,
                )
        except MLSrvError:
            raise
        except Exception as error:  # damaged or foreign files fail in any way
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ModelLoadError:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            return ModelLoadError(
                f"Model {self.name}: the folder {self.folder} needs Python code that it brings along; set "
                "parameters.extra.trust_remote_code to true if you trust it."
            )
        return ModelLoadError(
            f"Model {self.name}: transformers cannot read the folder {self.folder} "
            f"({type(error).__name__}: {text[:300].rstrip('.')})."
        )
