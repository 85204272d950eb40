# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A proxy between the provider and a server that breaks requests by a schedule.

Each sending request takes the next fault of the schedule; when it is used up, all goes well. Reading requests
have a schedule of their own.
"""

from __future__ import annotations

import http.client
import json
import select
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Ends of the paths that take samples and labels.
SENDING = ("/data", "/labels")
#: Seconds after which a silent request is let go, should the sender not hang up.
HOLD = 30.0
HTML = b"<html><head><title>Bad gateway</title></head><body>nginx</body></html>"


class Fault(StrEnum):
    """What happens to one request."""

    NONE = "none"
    #: The connection breaks before the server sees the request.
    RESET_BEFORE = "reset before"
    #: The server handles the request, its answer is lost.
    RESET_AFTER = "reset after"
    #: The server handles the request, its answer breaks off.
    TRUNCATED = "truncated"
    #: No answer in time; the request never reached the server.
    SILENT = "silent"
    #: No answer in time; the server has handled the request.
    SILENT_AFTER = "silent after"
    #: No answer in time; the server handles the request later, while the sender waits.
    LATE = "late"
    ERROR_500 = "500"
    ERROR_500_AFTER = "500 after"
    ERROR_502 = "502"
    ERROR_503 = "503"
    ERROR_503_AFTER = "503 after"
    ERROR_504_AFTER = "504 after"
    TOO_MANY = "429"
    HTML_PAGE = "200 with a page"
    HTML_PAGE_AFTER = "200 with a page after"
    #: A good answer without its Date.
    NO_DATE = "no date"
    #: A good answer whose Date is a minute late.
    OLD_DATE = "old date"
    #: A good answer; meanwhile the server's clock goes on to the end of its minute.
    MINUTE_BORDER = "minute border"


#: Faults that cost real time, because the sender has to time out.
SLOW = (Fault.SILENT, Fault.SILENT_AFTER, Fault.LATE)


@dataclass
class Request:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def sends(self) -> bool:
        """Whether it sends samples or labels."""
        return self.path.endswith(SENDING)

    def sample_ids(self) -> list[str]:
        """Ids in the body."""
        return [row["_dc_sample_id"] for row in json.loads(self.body)]


@dataclass
class FaultProxy:
    """The proxy; a context manager.

    :param target: URL of the server behind.
    """

    target: str
    #: Body size, bytes, above which the proxy answers 413 as nginx does.
    max_body: int | None = None
    on_minute_border: Callable[[], None] = lambda: None
    schedule: deque[Fault] = field(default_factory=deque)
    read_schedule: deque[Fault] = field(default_factory=deque)
    #: Sending requests that arrived here, oldest first, with what was done to each.
    seen: list[tuple[Request, Fault]] = field(default_factory=list)
    _late: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        parts = urlsplit(self.target)
        assert parts.hostname is not None
        self._address = (parts.hostname, parts.port or 80)
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def plan(self, faults: Iterable[Fault] = (), reads: Iterable[Fault] = ()) -> None:
        """Set the schedules anew and forget what was seen."""
        with self._lock:
            self.schedule, self.read_schedule = deque(faults), deque(reads)
            self.seen, self._late = [], []
            self.max_body = None

    def deliver_late(self) -> None:
        """Hand over the requests that the sender has given up on."""
        with self._lock:
            late, self._late = self._late, []
        for request in late:
            self.forward(request)

    def forward(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Let the server handle a request."""
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        try:
            connection.request(request.method, request.path, request.body or None, request.headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def will_be_silent(self, path: str) -> bool:
        """Whether the next request to this path gets no answer."""
        with self._lock:
            queue = self._queue(path)
            return bool(queue) and queue[0] in SLOW

    def _queue(self, path: str) -> deque[Fault]:
        return self.schedule if path.endswith(SENDING) else self.read_schedule

    def _fault_for(self, request: Request) -> Fault:
        with self._lock:
            queue = self._queue(request.path)
            fault = queue.popleft() if queue else Fault.NONE
            if request.sends:
                self.seen.append((request, fault))
            return fault


class _Handler(BaseHTTPRequestHandler):
    owner: FaultProxy
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait 40 ms for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # quiet
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "host")}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        owner = self.owner
        if owner.max_body is not None and length > owner.max_body:
            return self._answer(413, [("Content-Type", "text/html")], HTML)
        fault = owner._fault_for(request)
        if fault is Fault.RESET_BEFORE:
            return self._drop()
        if fault in (Fault.SILENT, Fault.LATE):
            if fault is Fault.LATE:
                with owner._lock:
                    owner._late.append(request)
            return self._be_silent()
        before = {
            Fault.ERROR_500: (500, b"Internal Server Error"),
            Fault.ERROR_502: (502, HTML),
            Fault.ERROR_503: (503, HTML),
            Fault.TOO_MANY: (429, HTML),
            Fault.HTML_PAGE: (200, HTML),
        }
        if fault in before:
            status, body = before[fault]
            return self._answer(status, [("Content-Type", "text/html")], body)
        if fault is Fault.MINUTE_BORDER:
            owner.on_minute_border()
        answer = owner.forward(request)
        after = {
            Fault.ERROR_500_AFTER: (500, b"Internal Server Error"),
            Fault.ERROR_503_AFTER: (503, HTML),
            Fault.ERROR_504_AFTER: (504, HTML),
            Fault.HTML_PAGE_AFTER: (200, HTML),
        }
        if fault in after:
            status, body = after[fault]
            return self._answer(status, [("Content-Type", "text/html")], body)
        if fault is Fault.RESET_AFTER:
            return self._drop()
        if fault is Fault.SILENT_AFTER:
            return self._be_silent()
        if fault is Fault.TRUNCATED:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
            return self._drop()
        status, fields, body = answer
        if fault is Fault.NO_DATE:
            fields = [(name, value) for name, value in fields if name.lower() != "date"]
        if fault is Fault.OLD_DATE:
            fields = [(name, _earlier(value) if name.lower() == "date" else value) for name, value in fields]
        return self._answer(status, fields, body)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _answer(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in fields:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True

    def _be_silent(self) -> None:
        select.select([self.connection], [], [], HOLD)  # until the sender hangs up
        self.close_connection = True


def _earlier(date: str) -> str:
    return format_datetime(parsedate_to_datetime(date) - timedelta(seconds=60), usegmt=True)
