"""Custom handlers: their paths, arguments and answers, and clashes between models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from mlsrv.context import CallContext, current_context
from mlsrv.errors import InferenceError, InvalidPayload, MLSrvError, ModelFailed, Unsupported
from mlsrv.handlers import (
    HandlerOptions,
    HandlerRequest,
    Handlers,
    Reply,
    custom_handler,
    find_handler,
    handlers_of,
)
from mlsrv.kernel import Kernel
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput


class Model(MLModel):
    @custom_handler("/json")
    async def json(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"got": body}

    @custom_handler("list")
    def list_(self, body: list) -> Any:  # type: ignore[type-arg]  # as authors write it
        return body

    @custom_handler("/any")
    async def any(self, body):  # type: ignore[no-untyped-def]  # as authors write it
        return body

    @custom_handler("/text")
    async def text(self, body: str) -> str:
        return body.upper()

    @custom_handler("/bytes")
    async def bytes_(self, body: bytes) -> bytes:
        return body[::-1]

    @custom_handler("/message")
    async def message(self, request: InferenceRequest) -> InferenceResponse:
        (tensor,) = request.inputs
        return InferenceResponse("m", [ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data)])

    @custom_handler("/items/{item}/{number}", "get")
    async def item(self, item: str, number: int, top: float = 0.5, flag: bool | None = None) -> Any:
        return [item, number, top, flag]

    @custom_handler("/around", "GET")
    def around(self, headers: dict[str, str], query: Mapping[str, str], context: CallContext) -> Any:
        assert context is current_context.get()
        return {"headers": headers, "query": query, "id": context.request_id}

    @custom_handler("/default")
    async def default(self, body: dict[str, int] = {"a": 1}, n: int = 2) -> Any:  # noqa: B006  # as authors write it
        return [body, n]

    @custom_handler("/reply")
    async def reply(self) -> Reply:
        return Reply({"made": np.arange(2)}, 201, {"X-Made": "yes"})

    @custom_handler("/nothing")
    async def nothing(self) -> None: ...

    @custom_handler("/fails")
    async def fails(self) -> None:
        raise KeyError("inside")

    @custom_handler("/invocations", root=True)
    async def invocations(self, body: dict[str, Any]) -> dict[str, Any]:
        return body


async def call(
    method: str, request: Any, context: CallContext | None = None, cls: type[MLModel] = Model
) -> Any:
    async with Kernel(models=[ModelSettings(name="m", implementation=cls)], discover=False) as kernel:
        await kernel.loaded()
        return await kernel.call("m", None, method, request, context)


JSON, TEXT, RAW = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
MESSAGE = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [3]}]}'


@pytest.mark.parametrize(
    ("method", "request_", "body", "kind"),
    [
        ("json", HandlerRequest(b'{"a": [1]}'), b'{"got":{"a":[1]}}', JSON),
        ("list_", HandlerRequest(b"[1, 2]"), b"[1,2]", JSON),
        ("any", HandlerRequest(b"17"), b"17", JSON),
        ("text", HandlerRequest("é".encode()), "É".encode(), TEXT),
        ("bytes_", HandlerRequest(b"\xff\x00"), b"\x00\xff", RAW),
        (
            "message",
            HandlerRequest(MESSAGE),
            b'{"model_name":"m","outputs":[{"name":"y","shape":[1],"datatype":"INT8","data":[3]}]}',
            JSON,
        ),
        ("item", HandlerRequest(path={"item": "a b", "number": "7"}), b'["a b",7,0.5,null]', JSON),
        (
            "item",
            HandlerRequest(path={"item": "a", "number": "7"}, query={"top": "2", "flag": "true"}),
            b'["a",7,2.0,true]',
            JSON,
        ),
        ("default", HandlerRequest(), b'[{"a":1},2]', JSON),
        ("default", HandlerRequest(b"{}", query={"n": "5"}), b"[{},5]", JSON),
    ],
)
async def test_arguments_by_annotation(method: str, request_: HandlerRequest, body: bytes, kind: str) -> None:
    assert await call(method, request_) == Reply(body, 200, {"content-type": kind})


async def test_headers_query_and_context() -> None:
    request = HandlerRequest(headers={"a": "1"}, query={"b": "2"})
    reply = await call("around", request, CallContext("r1"))
    assert reply.body == b'{"headers":{"a":"1"},"query":{"b":"2"},"id":"r1"}'


async def test_replies() -> None:
    made = Reply(b'{"made":[0,1]}', 201, {"content-type": JSON, "x-made": "yes"})
    assert await call("reply", HandlerRequest()) == made
    assert await call("nothing", HandlerRequest()) == Reply(b"", 200, {})
    assert Reply("<p>", headers={"Content-Type": "text/html"}).encoded().headers == {
        "content-type": "text/html"
    }


@pytest.mark.parametrize(
    ("method", "request_", "kind", "sentence"),
    [
        ("json", HandlerRequest(b"[1]"), InvalidPayload, "The body must be a JSON object"),
        ("list_", HandlerRequest(b"{}"), InvalidPayload, "The body must be a JSON array"),
        ("json", HandlerRequest(b"{"), InvalidPayload, "JSON"),
        ("json", HandlerRequest(), InferenceError, "The request lacks body"),
        ("text", HandlerRequest(b"\xff"), InvalidPayload, "The body is not UTF-8 text"),
        ("message", HandlerRequest(b"{}"), InvalidPayload, "inputs is missing"),
        (
            "item",
            HandlerRequest(path={"item": "a", "number": "x"}),
            InferenceError,
            "number is 'x', which is no int",
        ),
        (
            "item",
            HandlerRequest(path={"item": "a", "number": "1"}, query={"flag": "maybe"}),
            InferenceError,
            "flag is 'maybe', which is no boolean",
        ),
        ("fails", HandlerRequest(), ModelFailed, "Model m failed: KeyError: 'inside'"),
        ("predict", HandlerRequest(), Unsupported, "has no handler predict"),
    ],
)
async def test_wrong_requests_of_clients(
    method: str, request_: HandlerRequest, kind: type[MLSrvError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        await call(method, request_)


async def test_an_embedding_application_passes_arguments() -> None:
    assert await call("json", {"body": {"a": 1}}) == {"got": {"a": 1}}
    assert await call("item", {"item": "a", "number": 1, "top": 2}) == ["a", 1, 2, None]


# --- where they are
# ------------------------------------------------------------------------------------------------


def test_the_options_of_a_mark() -> None:
    found = handlers_of(Model)
    assert found["item"] == HandlerOptions(
        "/items/{item}/{number}", "GET", below=True, root=False, shared=False
    )
    assert str(found["item"]) == "GET /items/{item}/{number}"
    assert (found["invocations"].below, found["invocations"].root) == (False, True)
    assert "predict" not in found
    with pytest.raises(ValueError, match="needs a path"):
        custom_handler("/")


class Paths(MLModel):
    @custom_handler("/a/{x}")
    def any_a(self, x: str) -> None: ...

    @custom_handler("/a/b")
    def just_ab(self) -> None: ...

    @custom_handler("/a/b", "GET")
    def get_ab(self) -> None: ...

    @custom_handler("/a/b", root=True)
    def root_ab(self) -> None: ...

    @custom_handler("/s", root="shared")
    def shared(self) -> None: ...


@pytest.mark.parametrize(
    ("verb", "path", "root", "found"),
    [
        ("POST", "a/b", False, ("just_ab", {}, {"GET", "POST"})),
        ("GET", "a/b", False, ("get_ab", {}, {"GET", "POST"})),
        ("POST", "a/c", False, ("any_a", {"x": "c"}, {"POST"})),
        ("PUT", "a/c", False, (None, {}, {"POST"})),
        ("POST", "a/b", True, ("root_ab", {}, {"POST"})),
        ("POST", "a", False, (None, {}, set())),
        ("POST", "a/b/c", False, (None, {}, set())),
        ("POST", "a/c", True, (None, {}, set())),
        ("POST", "s", True, ("shared", {}, {"POST"})),
        ("POST", "s", False, ("shared", {}, {"POST"})),
    ],
)
def test_finding_a_handler(verb: str, path: str, root: bool, found: Any) -> None:
    assert find_handler(handlers_of(Paths), verb, path.split("/"), root=root) == found


def with_handler(path: str, verb: str = "POST", *, root: Any = False, code: str = "self") -> type[MLModel]:
    names: dict[str, Any] = {}
    exec(f"def extra({code}): return None", {"Any": Any}, names)  # signatures as they are written
    return type("With", (MLModel,), {"extra": custom_handler(path, verb, root=root)(names["extra"])})


async def reason(*classes: type[MLModel]) -> list[str]:
    models = [ModelSettings(name=f"m{index}", implementation=cls) for index, cls in enumerate(classes)]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        return [kernel.handle(model.name).reason for model in models if kernel.handle(model.name).reason]


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (with_handler("/infer"), "The handler extra cannot have the path /infer: it belongs to the protocol"),
        (with_handler("versions/1/x"), "cannot have the path /versions/1/x"),
        (with_handler("/v2/x", root=True), "cannot have the path /v2/x"),
        (with_handler("/infer", root="shared"), "cannot have the path /infer"),
        (
            with_handler("/x", code="self, *all"),
            r"handler extra: arguments are passed by name, \*all cannot be",
        ),
        (with_handler("/x", "GET", code="self, x: set"), "the argument x comes from the path or the query"),
        (with_handler("/{x}"), "handler extra: no argument takes x of its path"),
        (
            type(
                "Twice",
                (with_handler("/x/{a}", code="self, a"),),
                {"more": custom_handler("/x/{b}")(lambda self, b: b)},
            ),
            "The handlers extra and more both have the path POST /x/{b}",
        ),
        (
            type(
                "Both",
                (with_handler("/x", root=True),),
                {"more": custom_handler("/x", root="shared")(lambda self: None)},
            ),
            "The handlers extra and more both have the path POST /x",
        ),
    ],
)
async def test_handlers_that_cannot_be_fail_the_load(cls: type[MLModel], sentence: str) -> None:
    (found,) = await reason(cls)
    assert re.search(sentence.replace("{b}", r"\{b\}"), found)


async def test_two_models_want_the_same_path_at_the_root() -> None:
    clashing = [
        with_handler("/x/{a}", root=True, code="self, a"),
        with_handler("x/{b}", root=True, code="self, b"),
    ]
    (found,) = await reason(*clashing)
    sentence = (
        r"Model m(\d) offers POST /x/{\w} at the root of the server, as model m(\d) does; unload one of them"
    )
    matched = re.match(sentence, found)
    assert matched is not None
    assert {matched[1], matched[2]} == {"0", "1"}
    assert await reason(with_handler("/x"), with_handler("/x")) == []
    assert await reason(with_handler("/x", root=True), with_handler("/x", "GET", root=True)) == []
    assert await reason(with_handler("/x", root=True), with_handler("/x")) == []


async def test_models_may_share_a_path_at_the_root() -> None:
    shared, claimed = with_handler("/x", root="shared"), with_handler("/x", root=True)
    assert await reason(shared, shared, claimed) == []


async def test_a_model_decides_which_handlers_it_offers() -> None:
    class Deciding(Model):
        def custom_handlers(self) -> Handlers:
            return {"item": evolve(super().custom_handlers()["item"], rest_path="/other/{item}/{number}")}

    async with Kernel(models=[ModelSettings(name="m", implementation=Deciding)], discover=False) as kernel:
        await kernel.loaded()
        info = kernel.handle("m").info
        assert info is not None
        assert [options.rest_path for options in info.handlers.values()] == ["/other/{item}/{number}"]
        assert await kernel.call("m", None, "item", {"item": "a", "number": 1}) == ["a", 1, 0.5, None]
        with pytest.raises(Unsupported, match="no handler json"):
            await kernel.call("m", None, "json", {"body": {}})


async def test_a_model_that_describes_its_handlers_in_another_form_does_not_load() -> None:
    options: Any = {"rest_path": "/json", "rest_method": "POST"}
    cls = type("Plain", (Model,), {"custom_handlers": lambda self: {"json": options}})
    (found,) = await reason(cls)
    assert "custom_handlers returns no HandlerOptions for the handler json" in found


async def test_versions_and_reloads_of_a_model_may_share_a_path() -> None:
    cls = with_handler("/x", root=True)
    models = [ModelSettings(name="m", implementation=cls, parameters={"version": str(n)}) for n in (1, 2)]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        await asyncio.gather(kernel.load("m"), kernel.load("m"))
        assert kernel.problems() == []
