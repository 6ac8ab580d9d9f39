"""Handler arguments: a request becomes the arguments of a method."""

from typing import Any

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, InvalidPayload
from mlsrv.handlers import HandlerOptions, HandlerRequest
from mlsrv.hosting.handler_arguments import Handler, compile_handlers


class Model:
    def explain(self, body: dict[str, Any], method: str, context: CallContext, top: int = 3) -> None: ...

    def show(self, headers: dict[str, str], query: dict[str, str], exact: bool | None = None) -> None: ...


EXPLAIN = HandlerOptions("/explain/{method}")
SHOW = HandlerOptions("/show", "GET")


def arguments(name: str, options: HandlerOptions, request: HandlerRequest) -> dict[str, Any]:
    return Handler(name, getattr(Model(), name), options).arguments(request, CallContext("r1"))


def test_each_argument_has_its_source() -> None:
    request = HandlerRequest(b'{"x": 1}', {}, {"top": "5"}, {"method": "shap"})
    made = arguments("explain", EXPLAIN, request)
    assert made.pop("context").request_id == "r1"
    assert made == {"body": {"x": 1}, "method": "shap", "top": 5}
    request = HandlerRequest(b"", {"a": "b"}, {"exact": "true"})
    assert arguments("show", SHOW, request) == {
        "headers": {"a": "b"},
        "query": {"exact": "true"},
        "exact": True,
    }


def test_defaults_stand_for_what_is_not_sent() -> None:
    made = arguments("explain", EXPLAIN, HandlerRequest(b"{}", path={"method": "shap"}))
    assert made["top"] == 3


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        (HandlerRequest(b"[]", path={"method": "x"}), InvalidPayload, "The body must be a JSON object"),
        (HandlerRequest(b"", path={"method": "x"}), InferenceError, "The request lacks body"),
        (
            HandlerRequest(b"{}", query={"top": "many"}, path={"method": "x"}),
            InferenceError,
            "which is no int",
        ),
    ],
)
def test_requests_that_do_not_fit_are_the_client_s_fault(
    request_: HandlerRequest, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        arguments("explain", EXPLAIN, request_)


def test_the_methods_are_those_of_the_model() -> None:
    model = Model()
    compiled = compile_handlers(model, {"show": SHOW})
    assert list(compiled) == ["show"]
    assert compiled["show"].method == model.show
