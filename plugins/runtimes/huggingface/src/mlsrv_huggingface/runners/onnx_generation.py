"""ONNX generation: texts that continue a prompt, in ONNX Runtime and without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.location import read_json
from mlsrv_huggingface.onnx_loop import OnnxLoop, OnnxWriter
from mlsrv_huggingface.runners.generation import Finished, GenerationRunner
from mlsrv_huggingface.sampling import Sampler
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.token_loop import Loop


class OnnxGenerationRunner(GenerationRunner):
    """Makes one token after the other, for whole texts, too; one prompt at a time, and without beams.

    Raises:
        ModelLoadError: the file cannot be read, or is no export of a model that continues texts.
    """

    def __init__(self, source: Source, task: Task, path: Path) -> None:
        self._writer = OnnxWriter(source, path)
        self._defaults = read_json(source.folder / "generation_config.json")
        stated = self._defaults.get("eos_token_id", source.facts.get("eos_token_id"))
        ends = set(stated) if isinstance(stated, list) else set() if stated is None else {int(stated)}
        super().__init__(source, task, ends, self._defaults.get("max_new_tokens"))

    def _loop(self, prompt: list[int], options: dict[str, Any]) -> Loop:
        sampler = Sampler(options, self._defaults, len(prompt), self._ends)
        return OnnxLoop(self._writer, prompt, sampler, options.get("logprobs"))

    def _made(self, prompts: Sequence[list[int]], options: dict[str, Any]) -> list[list[Finished]]:
        self.refuse_several(options, "a model in ONNX Runtime")
        return [[self._whole(prompt, options)] for prompt in prompts]

    def _whole(self, prompt: list[int], options: dict[str, Any]) -> Finished:
        limit = self._limit(len(prompt), options)
        pieces = list(self.written(self._loop(prompt, options), len(prompt), limit, options, None))
        text = "".join(piece["text_output"][0] for piece in pieces)
        return text, pieces[-1]["finish_reason"][0], int(pieces[-1]["completion_tokens"][0])
