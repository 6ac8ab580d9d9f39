"""Settings: what a model takes in ``parameters.extra``, or as a field with the prefix ``huggingface_``."""

from __future__ import annotations

from typing import Any

from mlsrv.settings import setting, settings_class


@settings_class
class HuggingFaceSettings:
    """Settings of one model.

    Each is a key of ``parameters.extra`` without its prefix (``task``), or, for all models at once, a
    variable of the environment (``MLSRV_MODEL_HUGGINGFACE_TASK``).
    """

    huggingface_task: str = setting("", help="Task of the model; found in its configuration when not set.")
    huggingface_task_suffix: str = setting(
        "", help='Languages of the task translation, "_en_to_de"; added to the name of the task.'
    )
    huggingface_pretrained_model: str | None = setting(
        None, help="Folder of the model, or its name on the hub; takes precedence over parameters.uri."
    )
    huggingface_pretrained_tokenizer: str | None = setting(
        None, help="Folder of the tokenizer, or its name on the hub, where it is not the model's."
    )
    huggingface_model_kwargs: dict[str, Any] = setting(
        factory=dict, help="Keyword arguments for from_pretrained of the model."
    )
    huggingface_framework: str | None = setting(
        None, help='Framework that runs the model: "pt" for PyTorch, "onnx" for ONNX Runtime.'
    )
    huggingface_optimum_model: bool = setting(
        False, help="Run the model with ONNX Runtime: a folder with a file model.onnx."
    )
    huggingface_device: int | str | None = setting(
        None, help='Device that the model is on: "cpu" (or -1), "cuda:1", "mps", or the number of a GPU.'
    )
    huggingface_inter_op_threads: int | None = setting(
        None, help="Threads for operations that are independent of each other.", at_least=1
    )
    huggingface_intra_op_threads: int | None = setting(
        None, help="Threads within one operation; the process's share of the cores when not set.", at_least=1
    )
    huggingface_allow_hub: bool = setting(
        False, help="Fetch models from the hub that are not on this machine."
    )
    huggingface_trust_remote_code: bool = setting(
        False, help="Run Python code that the model's folder brings along."
    )
    huggingface_allow_pickle: bool = setting(
        False, help="Read weights that are pickles, which can run code, where there are no safetensors."
    )
    huggingface_raw_outputs: bool | None = setting(
        None, help="Answer with tensors, where the task has them, in place of JSON."
    )
    huggingface_truncation: bool = setting(
        True, help="Cut texts that are too long for the model; else they are refused."
    )
    huggingface_pooling: str | None = setting(
        None, help='Pooling of embeddings: "mean", "cls" or "max"; found in the model\'s files when not set.'
    )
    huggingface_normalize: bool | None = setting(
        None, help="Whether embeddings have the length 1; found in the model's files when not set."
    )
