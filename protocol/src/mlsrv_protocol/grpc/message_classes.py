"""Message classes: made from the .proto files of this folder, in a descriptor pool of their own.

Every client library of the protocol registers its messages, all of them called `inference.…`, in protobuf's
default pool, where a name may exist once. A private pool lets any of them be imported beside this package.

The pool is made, and protobuf's machinery imported, when the first class is asked for: a server that is asked
over REST alone needs neither.
"""

from functools import cache
from importlib.resources import files
from threading import Lock
from typing import Any

from google.protobuf.message import DecodeError

from mlsrv_protocol.errors import InvalidPayload

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def _read(name: str) -> str:
    return (files(__package__) / "protos" / name).read_text(encoding="utf-8")


_making = Lock()


def _pool() -> Any:
    with _making:  # two threads may ask first, and their classes must fit together
        return _made_pool()


@cache
def _made_pool() -> Any:
    from google.protobuf.descriptor_pool import DescriptorPool

    from mlsrv_protocol.grpc.proto_parser import parse_proto

    pool = DescriptorPool()
    reflection = _read("reflection.proto")
    for name, text in (
        ("open_inference.proto", _read("open_inference.proto")),
        ("grpc/health/v1/health.proto", _read("health.proto")),
        ("grpc/reflection/v1/reflection.proto", reflection),
        (
            "grpc/reflection/v1alpha/reflection.proto",
            reflection.replace("grpc.reflection.v1;", "grpc.reflection.v1alpha;"),
        ),
    ):
        pool.AddSerializedFile(parse_proto(name, text).SerializeToString())
    return pool


@cache
def message_class(name: str) -> Any:
    """Return the class of a message.

    Args:
        name: its full name, such as `inference.ModelReadyRequest`.

    Raises:
        KeyError: there is no message of that name.
    """
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(_pool().FindMessageTypeByName(name))


def parse(cls: Any, body: bytes) -> Any:
    """Parse bytes as a message of a class.

    Raises:
        InvalidPayload: the bytes are not such a message.
    """
    try:
        return cls.FromString(body)
    except DecodeError:
        raise InvalidPayload(f"The message is not a {cls.DESCRIPTOR.name}.") from None


def file_of(symbol: str) -> bytes:
    """Return the serialised descriptor of the file that defines a service or a message. No file imports
    another.

    Raises:
        KeyError: no file defines it.
    """
    return bytes(_pool().FindFileContainingSymbol(symbol).serialized_pb)
