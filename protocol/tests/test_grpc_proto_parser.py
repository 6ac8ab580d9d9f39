"""Proto parser: descriptors from .proto text, and their pool."""

import subprocess
import sys

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, Descriptors, file_of, message_class, parse
from mlsrv_protocol.grpc.proto_parser import parse_proto

TEXT = """
// A comment; with { signs }
syntax = "proto3";
package a.b;
message Outer {
  message Inner { Kind kind = 1; }
  enum Kind { NONE = 0; ONE = 1; }
  oneof choice { bool yes = 1; Inner inner = 2; }
  repeated Inner many = 3;  // at the end of a line
  map<string, Inner> named = 4;
  map<string, int64> counts_of = 5;
}
service Talk { rpc Say(stream Outer) returns (Outer); }
"""


def test_every_supported_construct_is_parsed() -> None:
    file = parse_proto("x.proto", TEXT)
    (outer,) = file.message_type
    assert (file.name, file.syntax, file.package) == ("x.proto", "proto3", "a.b")
    assert [(field.name, field.number, field.type_name) for field in outer.field] == [
        ("yes", 1, ""),
        ("inner", 2, ".a.b.Outer.Inner"),
        ("many", 3, ".a.b.Outer.Inner"),
        ("named", 4, ".a.b.Outer.NamedEntry"),
        ("counts_of", 5, ".a.b.Outer.CountsOfEntry"),
    ]
    assert [field.HasField("oneof_index") for field in outer.field] == [True, True, False, False, False]
    assert outer.field[2].label == FieldDescriptorProto.LABEL_REPEATED
    kind = outer.nested_type[0].field[0]
    assert (kind.type, kind.type_name) == (FieldDescriptorProto.TYPE_ENUM, ".a.b.Outer.Kind")
    assert [nested.options.map_entry for nested in outer.nested_type] == [False, True, True]
    (method,) = file.service[0].method
    assert (method.input_type, method.client_streaming, method.server_streaming) == (
        ".a.b.Outer",
        True,
        False,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("message A {", "too early"),
        ("message A { Nope x = 1; }", "unknown type Nope"),
        ("message A { string x 1; }", "= is expected"),
        ("option x = 1;", "option is not expected"),
        ("message A { string x = 1 [packed=false]; }", "not known"),
    ],
)
def test_an_unsupported_construct_is_a_value_error(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_proto("x.proto", f'syntax = "proto3"; package p; {text}')


@pytest.mark.parametrize("symbol", [INFERENCE, HEALTH, *REFLECTION])
def test_the_files_of_the_services(symbol: str) -> None:
    file = FileDescriptorProto.FromString(file_of(symbol))
    assert f"{file.package}.{file.service[0].name}" == symbol
    found = Descriptors([file_of(symbol)])
    assert found.by_symbol(symbol) == [file_of(symbol)]
    assert found.by_symbol(f"{symbol}.{file.service[0].method[0].name}") == [file_of(symbol)]


def test_messages_survive_serialisation() -> None:
    ready = message_class("inference.ModelReadyRequest")
    assert parse(ready, ready(name="m", version="1").SerializeToString()).name == "m"
    with pytest.raises(InvalidPayload, match="not a ModelReadyRequest"):
        parse(ready, b"\x0a\x05ab")
    with pytest.raises(KeyError):
        message_class("inference.Nope")


def file(name: str, *imports: str) -> bytes:
    found = FileDescriptorProto(
        name=name, package=name.replace(".", "_"), syntax="proto3", dependency=imports
    )
    found.message_type.add(name="M")
    return found.SerializeToString()


def test_descriptors_come_with_their_imports() -> None:
    leaf, middle, top = file("leaf"), file("middle", "leaf"), file("top", "middle", "leaf")
    found = Descriptors([top, leaf, middle, leaf])
    assert found.by_name("top")[0] == top
    assert sorted(found.by_symbol("top.M")) == sorted([leaf, middle, top])
    assert found.by_name("leaf") == [leaf]
    for missing in (found.by_name, found.by_symbol):
        for name in ("nope", "top.M.nope", "top.nope"):
            with pytest.raises(KeyError):
                missing(name)


def test_inconsistent_descriptors_are_refused() -> None:
    with pytest.raises(ValueError, match="parsing"):
        Descriptors([b"\xff"])
    with pytest.raises(ValueError, match="top import files that are not there"):
        Descriptors([file("top", "nope")])
    other = FileDescriptorProto(name="other", package="leaf", syntax="proto3")
    other.message_type.add(name="M")
    with pytest.raises(ValueError, match="leaf"):
        Descriptors([file("leaf"), other.SerializeToString()])


GENERATED = """
from google.protobuf import descriptor_pool
from mlsrv_protocol.grpc import INFERENCE, file_of
{first}
# What the generated modules of every client do when they are imported, under whatever file name.
from google.protobuf.descriptor_pb2 import FileDescriptorProto
theirs = FileDescriptorProto.FromString(file_of(INFERENCE))
theirs.name = "dataplane.proto"
theirs.message_type.add(name="OnlyTheirs")
pool = descriptor_pool.Default()
pool.AddSerializedFile(theirs.SerializeToString())
from google.protobuf.message_factory import GetMessageClass
Theirs = GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))

import numpy as np
from mlsrv_protocol.grpc import decode_request, message_class
tensor = dict(name="x", datatype="FP32", shape=[1], contents=dict(fp32_contents=[1]))
request = Theirs(model_name="m", inputs=[tensor])
decoded, typed = decode_request(request.SerializeToString())
assert typed and decoded.inputs[0].data.tolist() == [1.0]
assert message_class("inference.ModelInferRequest") is not Theirs
"""


@pytest.mark.parametrize("first", ["", "message = __import__('mlsrv_protocol.grpc').grpc.message_class"])
def test_generated_messages_of_a_client_live_in_the_same_process(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GENERATED.format(first=first)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
