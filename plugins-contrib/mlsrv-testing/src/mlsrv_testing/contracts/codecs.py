"""Contract of codecs: the cases that each must pass."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from mlsrv.codecs import InputCodec, RequestCodec
from mlsrv.errors import Code, MLSrvError
from mlsrv.kernel.kernel import Kernel
from mlsrv.model import MLModel
from mlsrv.plugins.offers import CodecOffer
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_testing.contracts.running import request_over_json, response_over_json, run, same
from mlsrv_testing.offering import Offering


class _Samples:
    """Samples: the values that both kinds of codecs are tried with.

    Attributes:
        samples: values that the codec encodes, in the form in which it decodes them: what is encoded and
            decoded again equals the sample.
    """

    samples: ClassVar[Sequence[Any]] = ()

    @staticmethod
    def same(left: Any, right: Any) -> bool:
        """Return True if two values are equal; override it for types whose `==` does not say so."""
        return same(left, right)

    @staticmethod
    def _need(given: Sequence[Any], what: str) -> None:
        if not given:
            pytest.skip(f"the suite has no {what}")

    def test_there_are_samples(self) -> None:
        """A suite without samples proves nothing.

        Guards against: a contract that is green because nothing was tried.
        """
        assert len(self.samples) > 0, "give the suite samples"


class InputCodecContract(_Samples):
    """Cases for an `InputCodec`.

    Attributes:
        codec: the class.
        samples: see above.
        garbage: inputs that the codec must refuse, for example texts that are no dates.
    """

    codec: ClassVar[type[InputCodec]]
    garbage: ClassVar[Sequence[RequestInput]] = ()

    def test_it_has_a_content_type(self) -> None:
        """The codec has a name that requests can select.

        Guards against: a codec that is registered under "" and answers for every tensor without annotation.
        """
        assert isinstance(self.codec.ContentType, str)
        assert self.codec.ContentType.strip(), "ContentType is empty"

    def test_it_knows_what_it_encodes(self) -> None:
        """`can_encode` says yes to the samples and no to what it never saw, without raising.

        Guards against: a codec that claims every payload, so that another model's answers are encoded with
            it.
        """
        for sample in self.samples:
            assert self.codec.can_encode(sample), f"can_encode({sample!r}) is False"
        for stranger in (object(), {"a": object()}, [object()]):
            assert not self.codec.can_encode(stranger), f"can_encode({stranger!r}) is True"

    def test_an_output_is_well_formed(self) -> None:
        """The output has the given name, its content type, and as many elements as its shape says.

        Guards against: outputs that a client cannot decode, or that cannot be split after batching.
        """
        for sample in self.samples:
            tensor = self.codec.encode_output("some name", sample)
            assert isinstance(tensor, ResponseOutput)
            self._well_formed(tensor)

    def test_an_input_is_well_formed(self) -> None:
        """The same for inputs, which clients make.

        Guards against: requests that the client's own server refuses.
        """
        for sample in self.samples:
            tensor = self.codec.encode_input("some name", sample)
            assert isinstance(tensor, RequestInput)
            self._well_formed(tensor)

    def test_a_response_comes_back(self) -> None:
        """`decode_output` reads what `encode_output` wrote.

        Guards against: values that change on their way to the client: dtype, shape, order, None, time zone.
        """
        for sample in self.samples:
            found = self.codec.decode_output(self.codec.encode_output("x", sample))
            assert self.same(found, sample), f"{sample!r} came back as {found!r}"

    def test_a_request_comes_back(self) -> None:
        """`decode_input` reads what `encode_input` wrote.

        Guards against: values that change on their way to the model.
        """
        for sample in self.samples:
            found = self.codec.decode_input(self.codec.encode_input("x", sample))
            assert self.same(found, sample), f"{sample!r} came back as {found!r}"

    def test_it_survives_json(self) -> None:
        """Both ways through the JSON wire form.

        Guards against: codecs that only work in process: bytes that are no text, NaN, objects, wrong counts.
        """
        for sample in self.samples:
            request = request_over_json(InferenceRequest(inputs=[self.codec.encode_input("x", sample)]))
            found = self.codec.decode_input(request.inputs[0])
            assert self.same(found, sample), f"{sample!r} came back from a request as {found!r}"
            response = response_over_json(InferenceResponse(outputs=[self.codec.encode_output("x", sample)]))
            found = self.codec.decode_output(response.outputs[0])
            assert self.same(found, sample), f"{sample!r} came back from a response as {found!r}"

    def test_it_changes_nothing_that_it_is_given(self) -> None:
        """Neither the payload nor the tensor is changed.

        Guards against: shared tensors that are changed in place: a cached or batched request decoded twice.
        """
        for sample in self.samples:
            kept = copy.deepcopy(sample)
            tensor = self.codec.encode_input("x", sample)
            assert self.same(sample, kept), f"encode_input changed its payload to {sample!r}"
            self.codec.encode_output("x", sample)
            assert self.same(sample, kept), f"encode_output changed its payload to {sample!r}"
            before = copy.deepcopy(tensor)
            self.codec.decode_input(tensor)
            assert tensor == before, "decode_input changed the tensor"

    def test_garbage_is_refused_with_a_sentence(self) -> None:
        """A tensor that cannot be decoded is the client's fault, said in one sentence.

        Guards against: a ValueError that becomes status 500 for a malformed request.
        """
        self._need(self.garbage, "garbage")
        for tensor in self.garbage:
            with pytest.raises(MLSrvError) as caught:
                self.codec.decode_input(tensor)
            assert caught.value.code is Code.INVALID_ARGUMENT
            assert "\n" not in str(caught.value)

    def test_a_model_uses_it(self) -> None:
        """A kernel finds it by content type for inputs, and by the payload for outputs.

        Guards against: methods that are not class methods, and offers that do not lead to the codec.
        """
        run(self._serve())

    def _well_formed(self, tensor: RequestInput | ResponseOutput) -> None:
        assert tensor.name == "some name"
        assert tensor.parameters is not None, "the tensor has no parameters.content_type"
        assert tensor.parameters.content_type == self.codec.ContentType
        count = len(tensor.data) if hasattr(tensor.data, "__len__") else 1
        size = getattr(tensor.data, "size", count)
        assert size == math.prod(tensor.shape), f"{size} elements do not fit the shape {list(tensor.shape)}"

    async def _serve(self) -> None:
        plugin = Offering(CodecOffer(self.codec.ContentType, self.codec))
        model = ModelSettings(name="codec", implementation=_DecodesInputs)
        async with Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
            await kernel.loaded()
            for sample in self.samples:
                request = InferenceRequest(inputs=[self.codec.encode_input("x", sample)], model_name="codec")
                response = await kernel.infer(request)
                found = self.codec.decode_output(response.outputs[0])
                assert self.same(found, sample), f"{sample!r} came back from a model as {found!r}"


class RequestCodecContract(_Samples):
    """Cases for a `RequestCodec`.

    Attributes:
        codec: the class.
        samples: see above.
        garbage: requests that the codec must refuse.
        offers: the codecs of tensors that it writes into its requests, if a kernel must know them.
    """

    codec: ClassVar[type[RequestCodec]]
    offers: ClassVar[Sequence[CodecOffer]] = ()
    garbage: ClassVar[Sequence[InferenceRequest]] = ()

    def test_it_has_a_content_type(self) -> None:
        """The codec has a name that requests can select.

        Guards against: a codec that is registered under "" and answers for every request without annotation.
        """
        assert isinstance(self.codec.ContentType, str)
        assert self.codec.ContentType.strip(), "ContentType is empty"

    def test_it_knows_what_it_encodes(self) -> None:
        """`can_encode` says yes to the samples and no to what it never saw, without raising.

        Guards against: a codec that claims every payload, so that another model's answers are encoded with
            it.
        """
        for sample in self.samples:
            assert self.codec.can_encode(sample), f"can_encode({sample!r}) is False"
        for stranger in (object(), {"a": object()}, [object()]):
            assert not self.codec.can_encode(stranger), f"can_encode({stranger!r}) is True"

    def test_a_response_is_well_formed(self) -> None:
        """The response has outputs, and the name and version of its model.

        Guards against: answers that the client cannot attribute.
        """
        for sample in self.samples:
            response = self.codec.encode_response("some model", sample, "v1")
            assert isinstance(response, InferenceResponse)
            assert (response.model_name, response.model_version) == ("some model", "v1")
            assert response.outputs, "the response has no outputs"

    def test_a_request_says_how_to_decode_it(self) -> None:
        """The request carries the codec's content type.

        Guards against: requests that the server hands to the model undecoded.
        """
        for sample in self.samples:
            request = self.codec.encode_request(sample)
            assert request.inputs, "the request has no inputs"
            assert request.parameters is not None, "the request has no parameters.content_type"
            assert request.parameters.content_type == self.codec.ContentType

    def test_a_response_comes_back(self) -> None:
        """`decode_response` reads what `encode_response` wrote.

        Guards against: values that change on their way to the client.
        """
        for sample in self.samples:
            found = self.codec.decode_response(self.codec.encode_response("m", sample))
            assert self.same(found, sample), f"{sample!r} came back as {found!r}"

    def test_a_request_comes_back(self) -> None:
        """`decode_request` reads what `encode_request` wrote.

        Guards against: values that change on their way to the model.
        """
        for sample in self.samples:
            found = self.codec.decode_request(self.codec.encode_request(sample))
            assert self.same(found, sample), f"{sample!r} came back as {found!r}"

    def test_it_survives_json(self) -> None:
        """Both ways through the JSON wire form.

        Guards against: codecs that only work in process: bytes that are no text, NaN, objects, wrong counts.
        """
        for sample in self.samples:
            found = self.codec.decode_request(request_over_json(self.codec.encode_request(sample)))
            assert self.same(found, sample), f"{sample!r} came back from a request as {found!r}"
            found = self.codec.decode_response(response_over_json(self.codec.encode_response("m", sample)))
            assert self.same(found, sample), f"{sample!r} came back from a response as {found!r}"

    def test_it_changes_nothing_that_it_is_given(self) -> None:
        """Neither the payload nor the request is changed.

        Guards against: shared requests that are changed in place: a cached or batched request decoded twice.
        """
        for sample in self.samples:
            kept = copy.deepcopy(sample)
            request = self.codec.encode_request(sample)
            assert self.same(sample, kept), f"encode_request changed its payload to {sample!r}"
            self.codec.encode_response("m", sample)
            assert self.same(sample, kept), f"encode_response changed its payload to {sample!r}"
            before = copy.deepcopy(request)
            self.codec.decode_request(request)
            assert request == before, "decode_request changed the request"

    def test_garbage_is_refused_with_a_sentence(self) -> None:
        """A tensor that cannot be decoded is the client's fault, said in one sentence.

        Guards against: a ValueError that becomes status 500 for a malformed request.
        """
        self._need(self.garbage, "garbage")
        for request in self.garbage:
            with pytest.raises(MLSrvError) as caught:
                self.codec.decode_request(request)
            assert caught.value.code is Code.INVALID_ARGUMENT
            assert "\n" not in str(caught.value)

    def test_a_model_uses_it(self) -> None:
        """A kernel finds it by content type for requests, and by the payload for responses.

        Guards against: methods that are not class methods, and offers that do not lead to the codec.
        """
        run(self._serve())

    async def _serve(self) -> None:
        plugin = Offering(CodecOffer(self.codec.ContentType, self.codec, kind="request"), *self.offers)
        model = ModelSettings(name="codec", implementation=_DecodesRequests)
        async with Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
            await kernel.loaded()
            for sample in self.samples:
                request = self.codec.encode_request(sample)
                request.parameters = request.parameters or Parameters(content_type=self.codec.ContentType)
                request.model_name = "codec"
                found = self.codec.decode_response(await kernel.infer(request))
                assert self.same(found, sample), f"{sample!r} came back from a model as {found!r}"


class _DecodesInputs(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        value = self.decode(payload.inputs[0])
        return InferenceResponse(outputs=[self.encode(value, RequestOutput(name="x"))])


class _DecodesRequests(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.encode_response(self.decode_request(payload))
