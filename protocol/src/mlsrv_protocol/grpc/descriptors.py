"""Descriptors: serialised .proto files by name and by symbol, for server reflection."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError


class Descriptors:
    """A set of files; each is returned with the files that it imports.

    Args:
        serialized: `FileDescriptorProto`s, in any order. A file that occurs twice counts once.

    Raises:
        ValueError: one is not a descriptor, a file imports one that is missing, or two define the same name.
    """

    def __init__(self, serialized: Iterable[bytes]) -> None:
        # Here, because a server without gRPC's clients needs neither.
        from google.protobuf.descriptor_pb2 import FileDescriptorProto
        from google.protobuf.descriptor_pool import DescriptorPool

        self._pool = DescriptorPool()
        try:
            waiting = {file.name: file for file in map(FileDescriptorProto.FromString, serialized)}
        except DecodeError as error:
            raise ValueError(str(error)) from None
        added: set[str] = set()
        while waiting:
            ready = [name for name, file in waiting.items() if added.issuperset(file.dependency)]
            if not ready:
                raise ValueError(f"{', '.join(sorted(waiting))} import files that are not there")
            for name in ready:
                try:
                    self._pool.AddSerializedFile(waiting.pop(name).SerializeToString())
                except TypeError as error:
                    raise ValueError(f"{name}: {error}") from None
                added.add(name)

    def by_name(self, name: str) -> list[bytes]:
        """Return the serialised file of that name and those that it imports.

        Raises:
            KeyError: there is no such file.
        """
        return _with_imports(self._pool.FindFileByName(name))

    def by_symbol(self, symbol: str) -> list[bytes]:
        """Return the serialised file that defines a service, method, message or enum, and those that it
        imports.

        Raises:
            KeyError: no file defines it.
        """
        try:
            return _with_imports(self._pool.FindFileContainingSymbol(symbol))
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return _with_imports(
                self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file
            )


def _with_imports(file: Any) -> list[bytes]:
    found = {file.name: bytes(file.serialized_pb)}
    waiting = list(file.dependencies)
    while waiting:
        imported = waiting.pop()
        if imported.name not in found:
            found[imported.name] = bytes(imported.serialized_pb)
            waiting += imported.dependencies
    return list(found.values())
