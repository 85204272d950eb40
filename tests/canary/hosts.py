# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Hosts that give a token away as far as they can: they repeat it in their answers, or send it elsewhere."""

from __future__ import annotations

import http.client
import json
import threading
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import quote, urlsplit


class Manner(StrEnum):
    """How a host answers."""

    ERROR_PAGE = "error_page"
    #: The first request that sends rows gets the error page, all others are handled.
    ERROR_PAGE_ONCE = "error_page_once"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    LOGIN_PAGE = "login_page"
    FOUND = "found"
    TEMPORARY_REDIRECT = "temporary_redirect"
    #: Another host: takes whatever comes and keeps it.
    ELSEWHERE = "elsewhere"


class Host:
    """One host; a context manager.

    :param upstream: URL of a server that handles what this one does not spoil.
    :param elsewhere: URL to redirect to.
    """

    def __init__(self, manner: Manner, upstream: str = "", elsewhere: str = "") -> None:
        self.manner = manner
        self.upstream = upstream
        self.elsewhere = elsewhere
        self.spoiled = 0
        #: All that came in, as text.
        self.received: list[str] = []
        host = self

        class Handler(_Handler):
            owner = host

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Host
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # quiet
        pass

    def _handle(self) -> None:
        owner, manner = self.owner, self.owner.manner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner.received.append(f"{self.requestline}\n{self.headers}\n{body.decode(errors='replace')}")
        auth = self.headers.get("Authorization", "")
        token = auth.removeprefix("Basic ")
        page = (
            f"<html><title>Error</title><body>Your request: Authorization: {auth} "
            f"<a href='/login?token={quote(token, safe='')}'>again</a></body></html>"
        ).encode()
        html = {"Content-Type": "text/html", "X-Authorization": auth}
        sending = self.path.endswith(("/data", "/labels"))
        if manner is Manner.ELSEWHERE:
            self._answer(200, {"Content-Type": "application/json"}, b"[]")
        elif manner in (Manner.FOUND, Manner.TEMPORARY_REDIRECT):
            target = f"{owner.elsewhere}{self.path}?from={quote(token, safe='')}"
            self._answer(302 if manner is Manner.FOUND else 307, {**html, "Location": target}, page)
        elif manner is Manner.ERROR_PAGE:
            self._answer(500, html, page)
        elif manner is Manner.LOGIN_PAGE:
            self._answer(200, html, page)
        elif manner is Manner.UNAUTHORIZED:
            message = {"error_message": f"No user has {token!r}", "additional_information": {"token": token}}
            self._answer(401, {"Content-Type": "application/json"}, json.dumps(message).encode())
        elif sending and manner is Manner.BAD_REQUEST:
            self._answer(400, {"Content-Type": "application/json"}, json.dumps({"detail": auth}).encode())
        elif sending and not owner.spoiled:
            owner.spoiled += 1
            self._answer(500, html, page)
        else:
            self._pass_on(body)

    do_GET = do_POST = do_PUT = _handle

    def _pass_on(self, body: bytes) -> None:
        parts = urlsplit(self.owner.upstream)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "host")}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        fields = {k: v for k, v in answer.getheaders() if k.lower() not in ("content-length", "connection")}
        self._answer(answer.status, fields, answer.read())
        connection.close()

    def _answer(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
