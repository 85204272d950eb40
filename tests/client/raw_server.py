# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A server of bare sockets, for what no HTTP framework does: breaking off, dripping, keeping silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl

#: Deals with one request: the connection, and the request's head and body.
Behaviour = Callable[[socket.socket, bytes], None]


def answer(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """An HTTP answer; underscores in header names become dashes."""
    fields = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def answering(*answers: bytes) -> Behaviour:
    """Send the answers one after the other, one a request, the last one for ever."""
    left = list(answers)

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


class RawServer:
    """Listens on a free port of 127.0.0.1 and lets a behaviour deal with each request.

    :param behaviour: called with the connection after each whole request; it may close the connection.
    :param tls: wrap connections.
    :param read_body: read the request's body before the behaviour is called.
    """

    def __init__(
        self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, read_body: bool = True
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._behaviour = behaviour
        self._tls = tls
        self._read_body = read_body
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A socket that is only closed is kept, and accepts once more, for the thread that waits on it.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while (request := self._request(connection)) is not None:
                    self.requests.append(request)
                    self._behaviour(connection, request)
                    if connection.fileno() < 0:
                        return
        except OSError:
            return

    def _request(self, connection: socket.socket) -> bytes | None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while self._read_body and len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


def reset(connection: socket.socket, request: bytes) -> None:
    """Behaviour: break the connection off with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()
