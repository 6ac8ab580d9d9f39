"""Inference: the messages of requests and responses. Source: Open Inference Protocol, "Inference"."""

from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeVar

from attrs import cmp_using, define, field
from attrs.setters import NO_OP

from mlsrv_protocol.converters import to_datatype, to_list, to_parameters, to_shape
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload, MLSrvError
from mlsrv_protocol.json_text import Body, loads_message
from mlsrv_protocol.message import Fields, Message, TensorData, present_fields, same_data
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.parsing import (
    BinaryData,
    parse_array,
    parse_object,
    parse_optional_text,
    parse_parameters,
    parse_requested_output,
    parse_tensor,
    parse_text,
)
from mlsrv_protocol.plain_arrays import plain_text
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.serializing import nest, serialize_tensor, serialize_verbatim
from mlsrv_protocol.validation import check_request_parameters, check_unique
from mlsrv_protocol.verbatim import Verbatim

T = TypeVar("T", bound="Tensor")

_SAME = cmp_using(eq=same_data, require_same_type=False)


@define(on_setattr=NO_OP, init=False)
class Tensor(Message):
    """Base of `RequestInput` and `ResponseOutput`, which have the same fields."""

    name: str
    shape: list[int]
    datatype: Datatype
    data: TensorData = field(eq=_SAME)
    parameters: Parameters | None = None
    nested: bool = field(default=False, eq=False, repr=False, kw_only=True)

    def __init__(
        self,
        name: str,
        shape: Iterable[int],
        datatype: Datatype | str,
        data: TensorData,
        parameters: Parameters | dict[str, Any] | None = None,
        *,
        nested: bool = False,
    ) -> None:
        # Not made by attrs, which would call a converter for each field, needed or not.
        self.name = name if type(name) is str else plain_text(name)
        self.shape = shape if type(shape) is list else to_shape(shape)
        self.datatype = datatype if type(datatype) is Datatype else to_datatype(datatype)
        self.data = data
        self.parameters = None if parameters is None else to_parameters(parameters)
        self.nested = nested

    @classmethod
    def construct(
        cls,
        name: str,
        shape: list[int],
        datatype: Datatype,
        data: TensorData,
        parameters: Parameters | None = None,
        nested: bool = False,
    ) -> Self:
        """Make a tensor without checking or converting anything, for code that has checked the values.

        Args:
            name: not empty.
            shape: a list of Python integers, none negative.
            datatype: a `Datatype`, not its name.
            data: as a wire form gives it, see `TensorData`.
            parameters: not a dict.
            nested: whether the data is nested in JSON.
        """
        tensor = cls.__new__(cls)
        tensor.name = name
        tensor.shape = shape
        tensor.datatype = datatype
        tensor.data = data
        tensor.parameters = parameters
        tensor.nested = nested
        return tensor

    def to_plain(self) -> Fields:
        """Return the JSON form, data flat unless `nested` is set.

        Raises:
            InvalidPayload: the fields do not fit each other.
        """
        if type(self.data) is Verbatim:
            return serialize_verbatim(self.name, self.shape, self.datatype, self.data, self.parameters)
        plain = serialize_tensor(self.name, self.shape, self.datatype, self.data, self.parameters)
        return nest(plain) if self.nested else plain


@define(on_setattr=NO_OP, init=False)
class RequestInput(Tensor):
    """One input tensor.

    Args:
        name: unique among the inputs of the request.
        shape: the length of each dimension; `[]` is a scalar.
        datatype: a `Datatype` or its name.
        data: product(shape) elements, row-major; see `TensorData`.
        parameters: for this tensor alone.
        nested: whether the data is nested in JSON, one array for each row, instead of flat.

    Raises:
        InvalidPayload: the datatype does not exist.
    """

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls.construct(*parse_tensor(obj, "inputs", 0))


@define(on_setattr=NO_OP)
class RequestOutput(Message):
    """An output that the caller asks for. A request without any asks for all outputs of the model."""

    name: str = field(converter=plain_text)
    parameters: Parameters | None = field(default=None, converter=to_parameters)

    @classmethod
    def construct(cls, name: str, parameters: Parameters | None = None) -> Self:
        """See `Tensor.construct`."""
        output = cls.__new__(cls)
        output.name = name
        output.parameters = parameters
        return output

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls.construct(*parse_requested_output(obj, 0))


def _to_inputs(values: Iterable[RequestInput | dict[str, Any]]) -> list[RequestInput]:
    return to_list(RequestInput, values)


def _to_requested(
    values: Iterable[RequestOutput | dict[str, Any]] | None,
) -> list[RequestOutput] | None:
    return None if values is None else to_list(RequestOutput, values)


@define(on_setattr=NO_OP)
class InferenceRequest(Message):
    """A request to a model: a list of input tensors.

    Args:
        inputs: `RequestInput`s or dicts of their fields.
        id: echoed in the response.
        parameters: for the request as a whole.
        outputs: the outputs to return; None means all.
        model_name: the model to run. It is part of the address (the URL, the gRPC message), never of
            the JSON body, so it is neither read from nor written to JSON.
        model_version: its version; None lets the server choose.
    """

    inputs: list[RequestInput] = field(converter=_to_inputs)
    id: str | None = None
    parameters: Parameters | None = field(default=None, converter=to_parameters)
    outputs: list[RequestOutput] | None = field(default=None, converter=_to_requested)
    model_name: str = ""
    model_version: str | None = None

    @classmethod
    def construct(
        cls,
        inputs: list[RequestInput],
        id: str | None = None,
        parameters: Parameters | None = None,
        outputs: list[RequestOutput] | None = None,
        model_name: str = "",
        model_version: str | None = None,
    ) -> Self:
        """See `Tensor.construct`."""
        request = cls.__new__(cls)
        request.inputs = inputs
        request.id = id
        request.parameters = parameters
        request.outputs = outputs
        request.model_name = model_name
        request.model_version = model_version
        return request

    def to_plain(self) -> Fields:
        """Return the JSON form, data as flat arrays or flat lists of `str`.

        Raises:
            InvalidPayload: the fields of an input do not fit each other; the sentence names the input.
        """
        return present_fields(
            {
                "id": self.id,
                "parameters": self.parameters,
                "inputs": _serialize_tensors(self.inputs, "inputs", InvalidPayload),
                "outputs": self.outputs,
            }
        )

    @classmethod
    def parse_obj(cls, obj: Any, binary_data: BinaryData | None = None) -> Self:
        """See `Message.parse_obj`. Unknown keys are ignored. `binary_data` is that of binary inputs."""
        fields = parse_object(obj, "The request")
        inputs = _parse_tensors(RequestInput, fields.get("inputs"), "inputs", binary_data)
        given, requested = fields.get("parameters"), fields.get("outputs")
        parameters = None if given is None else parse_parameters(given)
        if parameters is not None:
            check_request_parameters(parameters)
        outputs = None if requested is None else _parse_requested_outputs(requested)
        return cls.construct(inputs, parse_optional_text(fields.get("id"), "id"), parameters, outputs)

    @classmethod
    def parse_raw(cls, text: Body) -> Self:
        """See `Message.parse_raw`. Numeric data is parsed straight into numpy arrays."""
        return cls.parse_obj(loads_message(text, "inputs"))


@define(on_setattr=NO_OP, init=False)
class ResponseOutput(Tensor):
    """One output tensor; the fields are those of `RequestInput`."""

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls.construct(*parse_tensor(obj, "outputs", 0))


def _to_outputs(values: Iterable[ResponseOutput | dict[str, Any]]) -> list[ResponseOutput]:
    return to_list(ResponseOutput, values)


@define(on_setattr=NO_OP)
class InferenceResponse(Message):
    """The response of a model: a list of output tensors.

    Args:
        model_name: the model that was run; the server sets it.
        outputs: `ResponseOutput`s or dicts of their fields.
        model_version: its version, when it has one; the server sets it.
        id: that of the request.
        parameters: for the response as a whole; its `headers` become HTTP headers or gRPC metadata.
    """

    model_name: str = ""
    outputs: list[ResponseOutput] = field(factory=list, converter=_to_outputs)
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = field(default=None, converter=to_parameters)

    @classmethod
    def construct(
        cls,
        model_name: str,
        outputs: list[ResponseOutput],
        model_version: str | None = None,
        id: str | None = None,
        parameters: Parameters | None = None,
    ) -> Self:
        """See `Tensor.construct`."""
        response = cls.__new__(cls)
        response.model_name = model_name
        response.outputs = outputs
        response.model_version = model_version
        response.id = id
        response.parameters = parameters
        return response

    def to_plain(self) -> Fields:
        """Return the JSON form, data as flat arrays or flat lists of `str`.

        Raises:
            InvalidOutput: the fields of an output do not fit each other; the sentence names the output.
        """
        plain: Fields = {"model_name": self.model_name}
        if self.model_version is not None:
            plain["model_version"] = self.model_version
        if self.id is not None:
            plain["id"] = self.id
        if self.parameters is not None and (parameters := self.parameters.dict()):
            plain["parameters"] = parameters
        plain["outputs"] = _serialize_tensors(self.outputs, "outputs", InvalidOutput)
        return plain

    @classmethod
    def parse_obj(cls, obj: Any, binary_data: BinaryData | None = None) -> Self:
        """See `Message.parse_obj`. Unknown keys are ignored. `binary_data` is that of binary outputs."""
        fields = parse_object(obj, "The response")
        outputs = _parse_tensors(ResponseOutput, fields.get("outputs"), "outputs", binary_data)
        return cls.construct(
            parse_text(fields.get("model_name"), "model_name"),
            outputs,
            parse_optional_text(fields.get("model_version"), "model_version"),
            parse_optional_text(fields.get("id"), "id"),
            parse_parameters(fields.get("parameters")),
        )

    @classmethod
    def parse_raw(cls, text: Body) -> Self:
        """See `Message.parse_raw`. Numeric data is parsed straight into numpy arrays."""
        return cls.parse_obj(loads_message(text, "outputs"))


@define(on_setattr=NO_OP)
class InferenceErrorResponse(Message):
    """The body of every failure."""

    error: str

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls(parse_text(parse_object(obj, "The body").get("error"), "error"))


def _parse_tensors(cls: type[T], value: object, group: str, binary_data: BinaryData | None) -> list[T]:
    tensors = [
        cls.construct(*parse_tensor(item, group, index, binary_data))
        for index, item in enumerate(parse_array(value, group))
    ]
    if len(tensors) > 1:
        check_unique((tensor.name for tensor in tensors), group)
    return tensors


def _parse_requested_outputs(requested: object) -> list[RequestOutput]:
    outputs = [
        RequestOutput.construct(*parse_requested_output(item, index))
        for index, item in enumerate(parse_array(requested, "outputs"))
    ]
    check_unique((output.name for output in outputs), "outputs")
    return outputs


def _serialize_tensors(tensors: Sequence[Tensor], group: str, failure: type[MLSrvError]) -> list[Fields]:
    plain = []
    for index, tensor in enumerate(tensors):
        try:
            plain.append(tensor.to_plain())
        except InvalidPayload as error:
            raise failure(f"{group}[{index}] {clip(tensor.name)}: {error}") from None
    return plain
