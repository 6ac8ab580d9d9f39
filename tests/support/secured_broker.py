"""Secured broker: TLS and SASL in front of a broker that has neither, on a real socket.

Tansu has no TLS, and its users are lost with its memory. What is here takes connections with TLS, asks who
comes by SASL or by a certificate as a broker does, and passes everything else on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from pathlib import Path
from typing import Self

import trustme
from sasl import Conversation, Mechanism

_SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 17, 18, 36
_UNSUPPORTED_MECHANISM, _FAILED = 33, 58
_LARGEST = 2**20


class SecuredBroker:
    """Takes connections on `port` for a broker at another one, which must advertise `port` as its own.

    Args:
        port: to listen on.
        broker: port of the broker.
        folder: gets ``ca.pem``, and ``client.pem`` with ``client.key`` for a client.
        mechanism: of SASL; None to ask for a certificate of the client instead.

    Attributes:
        authority: the file with the certificate of who has issued the others.
        certificate, key: files of a client that is let in.
        refused: attempts that did not say the right thing.
        admitted: connections that were let in.
    """

    def __init__(self, port: int, broker: int, folder: Path, mechanism: Mechanism | None) -> None:
        authority = trustme.CA()
        self.authority = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        client = authority.issue_cert("client.test")
        client.private_key_pem.write_to_path(str(self.key))
        client.cert_chain_pems[0].write_to_path(str(self.certificate))
        if mechanism is None:
            self._tls.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(self._tls)
        self._port, self._broker = port, broker
        self._mechanism = mechanism
        self.refused = self.admitted = 0
        self._started, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        """Take connections."""
        self._started.clear()
        self._stop.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(20)

    def close(self) -> None:
        """End all connections and take none, until it is opened again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(20)

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self._started.set()
        await asyncio.to_thread(self._stop.wait)
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker: asyncio.StreamWriter | None = None
        try:
            answers, broker = await asyncio.open_connection("127.0.0.1", self._broker)
            if await self._admit(reader, writer, answers, broker):
                self.admitted += 1
                both = (_pass_on(reader, broker), _pass_on(answers, writer))
                tasks = [asyncio.create_task(way) for way in both]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has gone
        finally:
            for each in (writer, broker):
                if each is not None:
                    each.close()

    async def _admit(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        broker: asyncio.StreamWriter,
    ) -> bool:
        """Answer the requests that come before a client is let in; return whether it is."""
        if self._mechanism is None:
            return True
        conversation: Conversation | None = None
        while True:
            frame = await _frame(reader)
            key, version, correlation, length = struct.unpack_from(">hhih", frame)
            body = frame[10 + max(length, 0) :]
            if key == _API_VERSIONS:
                broker.write(struct.pack(">i", len(frame)) + frame)
                answer = await _frame(answers)
            elif key == _SASL_HANDSHAKE:
                name = self._mechanism.name.encode()
                code = 0 if body[2:] == name else _UNSUPPORTED_MECHANISM
                answer = struct.pack(">ihih", correlation, code, 1, len(name)) + name
            elif key == _SASL_AUTHENTICATE and version < 2:
                let_in: bool | None = None
                try:
                    if conversation is None:
                        conversation = self._mechanism.converse(body[4:])
                        said = next(conversation)
                    else:
                        said = conversation.send(body[4:])
                except StopIteration as end:
                    let_in, said = end.value
                self.refused += let_in is False
                answer = struct.pack(">ihhi", correlation, _FAILED if let_in is False else 0, -1, len(said))
                answer += said + (struct.pack(">q", 0) if version else b"")
                if let_in:
                    writer.write(struct.pack(">i", len(answer)) + answer)
                    return True
            else:
                return False
            writer.write(struct.pack(">i", len(answer)) + answer)
            await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    [size] = struct.unpack(">i", await reader.readexactly(4))
    if not 10 <= size <= _LARGEST:
        raise OSError("this is no request")
    return await reader.readexactly(size)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
