"""Proto parser: reads a .proto file into a descriptor, so that no compiler and no generated code is needed.

It supports what the files of this folder use: proto3 messages, nested messages, enums, oneofs, maps, services
and comments that start with `//`. It does not support options, imports and reserved fields.
"""

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

_TOKEN = re.compile(r"\s+|//[^\n]*|([\w.]+|\"[^\"]*\"|[{}()<>,;=])")
_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("double", "float", "int64", "uint64", "int32", "uint32", "bool", "string", "bytes")
}


def parse_proto(name: str, text: str) -> FileDescriptorProto:
    """Parse the text of one .proto file into its descriptor.

    Args:
        name: of the file, as reflection shows it.
        text: its contents.

    Raises:
        ValueError: the text is outside the supported subset.
    """
    return _Reader(text).file(name)


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._package = ""
        self._kinds: dict[str, FieldDescriptorProto.Type.ValueType] = {}

    def file(self, name: str) -> FileDescriptorProto:
        found = FileDescriptorProto(name=name)
        while self._at < len(self._tokens):
            word = self._next()
            if word == "syntax":
                self._expect("=")
                found.syntax = self._next().strip('"')
                self._expect(";")
            elif word == "package":
                found.package = self._package = self._next()
                self._expect(";")
            elif word == "message":
                self._message(found.message_type.add(), self._package)
            elif word == "enum":
                self._enum(found, self._package)
            elif word == "service":
                self._service(found)
            else:
                raise ValueError(f"{name}: {word} is not expected here")
        for message in found.message_type:
            self._resolve(message, self._package)
        return found

    def _message(self, message: DescriptorProto, scope: str) -> None:
        message.name = self._next()
        full_name = f"{scope}.{message.name}"
        self._kinds[full_name] = FieldDescriptorProto.TYPE_MESSAGE
        for word in self._block():
            if word == "message":
                self._message(message.nested_type.add(), full_name)
            elif word == "enum":
                self._enum(message, full_name)
            elif word == "oneof":
                message.oneof_decl.add(name=self._next())
                for kind in self._block():
                    self._field(message, kind).oneof_index = len(message.oneof_decl) - 1
            elif word == "map":
                self._map(message, full_name)
            elif word == "repeated":
                self._field(message, self._next()).label = FieldDescriptorProto.LABEL_REPEATED
            else:
                self._field(message, word)

    def _field(self, message: DescriptorProto, kind: str) -> FieldDescriptorProto:
        found = message.field.add(name=self._next(), label=FieldDescriptorProto.LABEL_OPTIONAL)
        self._expect("=")
        found.number = int(self._next())
        self._expect(";")
        if kind in _SCALARS:
            found.type = _SCALARS[kind]
        else:
            found.type_name = kind
        return found

    def _map(self, message: DescriptorProto, scope: str) -> None:
        self._expect("<")
        key = self._next()
        self._expect(",")
        value = self._next()
        self._expect(">")
        name = "".join(part.capitalize() for part in self._tokens[self._at].split("_")) + "Entry"
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL, type=_SCALARS[key])
        of_value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if value in _SCALARS:
            of_value.type = _SCALARS[value]
        else:
            of_value.type_name = value
        self._kinds[f"{scope}.{name}"] = FieldDescriptorProto.TYPE_MESSAGE
        self._field(message, name).label = FieldDescriptorProto.LABEL_REPEATED

    def _enum(self, parent: FileDescriptorProto | DescriptorProto, scope: str) -> None:
        enum = parent.enum_type.add(name=self._next())
        self._kinds[f"{scope}.{enum.name}"] = FieldDescriptorProto.TYPE_ENUM
        for word in self._block():
            self._expect("=")
            enum.value.add(name=word, number=int(self._next()))
            self._expect(";")

    def _service(self, found: FileDescriptorProto) -> None:
        service = found.service.add(name=self._next())
        for _ in self._block():
            method = service.method.add(name=self._next())
            method.input_type, method.client_streaming = self._message_type()
            self._expect("returns")
            method.output_type, method.server_streaming = self._message_type()
            self._expect(";")

    def _message_type(self) -> tuple[str, bool]:
        self._expect("(")
        name = self._next()
        streaming = name == "stream"
        if streaming:
            name = self._next()
        self._expect(")")
        return f".{self._package}.{name}", streaming

    def _resolve(self, message: DescriptorProto, scope: str) -> None:
        full_name = f"{scope}.{message.name}"
        for field in message.field:
            if field.type_name:
                within = full_name
                while f"{within}.{field.type_name}" not in self._kinds:
                    if within == self._package:
                        raise ValueError(f"{full_name}.{field.name}: unknown type {field.type_name}")
                    within = within.rpartition(".")[0]
                field.type = self._kinds[f"{within}.{field.type_name}"]
                field.type_name = f".{within}.{field.type_name}"
        for nested in message.nested_type:
            self._resolve(nested, full_name)

    def _block(self) -> Iterator[str]:
        self._expect("{")
        while (word := self._next()) != "}":
            yield word

    def _next(self) -> str:
        if self._at == len(self._tokens):
            raise ValueError("the text ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        if (found := self._next()) != token:
            raise ValueError(f"{token} is expected, not {found}")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 20]!r} is not known here")
        if match.group(1):
            yield match.group(1)
        at = match.end()
